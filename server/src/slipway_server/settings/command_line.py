"""The command line, in TensorFlow's grammar: what arguments say, and what help says.

The grammar is `--name=value`, and for booleans `--name` alone as well. An argument that is no known flag is reported
and the server goes on; a value that does not fit its flag's type ends it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import metadata
from typing import Final

from slipway_server.settings.flag import Flag, Support, Value
from slipway_server.settings.flags import CLASSIC, FLAGS
from slipway_server.settings.own_flags import OWN

_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+", re.ASCII)
_MARKS: Final = {
    Support.MEANINGLESS: "Accepted for compatibility; has no effect.",
}
_REFERENCE_HEAD: Final = """# Flags of the model server

A flag is written `--name=value`; for a boolean, `--name` alone means true. Unknown arguments are reported
and ignored; a value that does not match its flag's type ends the server with exit code 255. Flags without effect are
accepted, with a warning in the log at startup.

This page is the output of `slipway-server --help=markdown`.
"""
_GROUPS: Final = (("TensorFlow Serving's flags", CLASSIC), ("Further flags", OWN))
_USUAL: Final = (
    (
        "one model, over gRPC and REST",
        "--port=8500 --rest_api_port=8501 --model_name=digits --model_base_path=/models/digits",
    ),
    (
        "several models, from a file that is read again every minute",
        "--rest_api_port=8501 --model_config_file=/models/models.config --model_config_file_poll_wait_seconds=60",
    ),
    (
        "with requests put together into batches",
        "--rest_api_port=8501 --model_name=digits --model_base_path=/models/digits --enable_batching",
    ),
)
RECORD_CHECKS: Final = "record-checks"
CLASSIC_PROGRAM: Final = "tensorflow_model_server"
_COMMANDS: Final = (
    (
        "how an export answers, written down for the server to check (record-checks --help)",
        "record-checks models/digits/3 --requests=requests.jsonl",
    ),
)
"""Only where the server has its own name."""
_HELP: Final = {
    "--help": "text",
    "-h": "text",
    "--help=markdown": "markdown",
    "--help=completion": "completion",
}
_INT32: Final = (-(2**31), 2**31 - 1)
_INT64: Final = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A command line.

    Attributes:
        values: every flag's value, given or default.
        given: the names of flags that were given.
        unknown: arguments that are no flag.
        help: `text`, `markdown` or `completion` when that was asked for.
        malformed: sentences about values that do not fit; not empty means the server must not start.
    """

    values: dict[str, Value]
    given: frozenset[str]
    unknown: tuple[str, ...]
    malformed: tuple[str, ...]
    help: str = ""


def version() -> str:
    """Return which release this is: the version of the installed package."""
    return metadata.version("slipway-server")


_BY_NAME: Final = {flag.name: flag for flag in FLAGS}


def parse(arguments: Sequence[str]) -> Parsed:
    """Read a command line, without the program's name.

    >>> parse(["--port=1", "--enable_batching", "x"]).unknown
    ('x',)
    """
    values: dict[str, Value] = {flag.name: flag.default for flag in FLAGS}
    given: set[str] = set()
    unknown: list[str] = []
    malformed: list[str] = []
    wants_help = ""
    for position, argument in enumerate(arguments):
        if argument == "--":
            unknown.extend(arguments[position + 1 :])
            break
        if argument in _HELP:
            wants_help = _HELP[argument]
            continue
        name, equals, text = argument.removeprefix("--").partition("=")
        flag = _BY_NAME.get(name) if argument.startswith("--") else None
        if flag is not None and not equals:
            text = "true" if isinstance(flag.default, bool) else flag.bare
        if flag is None or not (equals or text):
            unknown.append(argument)
            continue
        value = _value(flag, text)
        if value is None:
            malformed.append(f"Couldn't interpret value {text} for flag {flag.name}.")
            continue
        values[flag.name] = value
        given.add(flag.name)
    return Parsed(values, frozenset(given), tuple(unknown), tuple(malformed), wants_help)


def _value(flag: Flag, text: str) -> Value | None:
    match flag.default:
        case bool():
            return {"true": True, "false": False}.get(text)
        case int():
            low, high = _INT64 if flag.wide else _INT32
            number = (
                int(text)
                if _INTEGER.fullmatch(text) and len(text) <= len(str(_INT64[0])) + 1
                else None
            )
            return number if number is not None and low <= number <= high else None
        case float():
            try:
                return float(text)
            except ValueError:
                return None
        case _:
            return text


def usage(program: str) -> str:
    """Return the help text."""
    lines = [f"usage: {program}"]
    for what, arguments in _USUAL + (_COMMANDS if program != CLASSIC_PROGRAM else ()):
        lines += [f"  # {what}", f"  {program} {arguments}"]
    for title, flags in _GROUPS:
        lines.append(f"{title}:")
        lines += [_usage_line(flag) for flag in flags]
    return "\n".join(lines) + "\n"


def _usage_line(flag: Flag) -> str:
    default = f'"{flag.default}"' if isinstance(flag.default, str) else str(flag.default).lower()
    return f"\t--{flag.name}={default}".ljust(56) + f"\t{_kind(flag)}\t{flag.usage}"


def completion(program: str) -> str:
    """Return what bash evaluates to complete flags; of booleans alone, of others up to the value."""
    words = " ".join(
        f"--{flag.name}" if isinstance(flag.default, bool) else f"--{flag.name}=" for flag in FLAGS
    )
    return f"complete -o default -o nospace -W '--help --version {words}' {program}\n"


def similar(argument: str) -> str:
    """Return the flag that an unknown argument may have meant, or an empty string.

    >>> similar("--prot=8500"), similar("--model-name=m"), similar("x")
    ('--port', '--model_name', '')
    """
    if not argument.startswith("-"):
        return ""
    name = argument.lstrip("-").partition("=")[0].replace("-", "_")
    near = get_close_matches(name, _BY_NAME, 1, 0.7)
    return f"--{near[0]}" if near else ""


def reference() -> str:
    """Return the reference page of all flags, in Markdown; it is the same on every machine."""
    parts = [_REFERENCE_HEAD]
    for title, flags in _GROUPS:
        parts.append(
            f"## {title}\n\n| Flag | Type | Default | Meaning |\n| --- | --- | --- | --- |"
        )
        parts.extend(_row(flag) for flag in flags)
        parts.append("")
    return "\n".join(parts)


def _row(flag: Flag) -> str:
    default = flag.by_machine or (f"`{str(flag.default).lower()}`" if flag.default != "" else "")
    mark = "" if flag.support is Support.WORKS else f" *{_MARKS[flag.support]}*"
    return f"| `--{flag.name}` | {_kind(flag)} | {default} | {flag.usage}{mark} |"


def _kind(flag: Flag) -> str:
    return {
        bool: "bool",
        int: "int64" if flag.wide else "int32",
        float: "float",
        str: "string",
    }[type(flag.default)]


def without_effect(given: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Return (name, sentence) of the given flags that do nothing here, or nothing without another one."""
    found = [
        (flag.name, f"--{flag.name} {flag.support.value}")
        for flag in FLAGS
        if flag.name in given and flag.support is not Support.WORKS
    ]
    if _PER_MODEL_BATCHING in given and "enable_batching" not in given:
        found.append(
            (
                _PER_MODEL_BATCHING,
                f"--{_PER_MODEL_BATCHING} has no effect without --enable_batching",
            )
        )
    return tuple(found)


_PER_MODEL_BATCHING: Final = "enable_per_model_batching_parameters"
