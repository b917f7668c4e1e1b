"""The command line of `record-checks`, in the grammar of the server's flags, most of which it takes as well. Pure.

Unlike the server, it refuses what it does not know: nobody's manifest has it among its arguments.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from slipway_server.errors import invalid_argument
from slipway_server.recording.tolerances import Tolerances
from slipway_server.settings import command_line

_TOLERANCES: Final = frozenset({"tolerance", "relative_tolerance"})
_TEXTS: Final = frozenset({"requests", "out", "without_output"}) | _TOLERANCES
_SWITCHES: Final = frozenset({"force", "update_sha256sums"})
_NOT_TAKEN: Final = frozenset(
    {
        "model_name", "model_base_path", "model_config_file", "model_platform", "source_directory", "landlock",
        "version",
    }
)  # fmt: skip
_HELP: Final = frozenset({"--help", "-h"})


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for.

    Attributes:
        export: the directory of a version.
        requests: the file with the requests; empty for the export's own warm-up requests.
        out: the file to write; empty for the place where the server looks.
        force: replace a file that is there.
        update_manifest: write the digest of the checks into the export's SHA256SUMS.
        left_out: outputs that are not recorded.
        server: the server's flags that were given.
        help: nothing else counts.
    """

    export: str = ""
    requests: str = ""
    out: str = ""
    force: bool = False
    update_manifest: bool = False
    tolerances: Tolerances = field(default_factory=Tolerances)
    left_out: frozenset[str] = frozenset()
    server: tuple[str, ...] = ()
    help: bool = False


def read_options(arguments: Sequence[str]) -> Options:
    """Read the arguments behind the command's name.

    Raises:
        ServingError: INVALID_ARGUMENT, with the argument that is wrong.

    >>> read_options(["models/sum/3", "--tolerance=y=0.5", "--force"]).tolerances.absolute
    {'y': 0.5}
    """
    if _HELP.intersection(arguments):
        return Options(help=True)
    texts: dict[str, str] = {}
    switches: dict[str, bool] = {}
    numbers: dict[str, dict[str, float]] = {name: {} for name in _TOLERANCES}
    left_out: set[str] = set()
    exports: list[str] = []
    server: list[str] = []
    for argument in arguments:
        if not argument.startswith("-"):
            exports.append(argument)
            continue
        name, equals, text = argument.removeprefix("--").partition("=")
        own = name.replace("-", "_")
        if own in _SWITCHES:
            switches[own] = _switch(argument, text if equals else "true")
        elif own not in _TEXTS:
            server.append(_server_flag(argument, name))
        elif not text:
            raise invalid_argument(f"--{own} needs a value: --{own}=VALUE")
        elif own in _TOLERANCES:
            output, number = _tolerance(argument, text)
            numbers[own][output] = number
        elif own == "without_output":
            left_out.add(text)
        else:
            texts[own] = text
    named = Tolerances(numbers["tolerance"], numbers["relative_tolerance"])
    if both := sorted(left_out & named.outputs):
        raise invalid_argument(f'Output "{both[0]}" is left out, and cannot have a tolerance')
    return Options(
        export=_only(exports),
        requests=texts.get("requests", ""),
        out=texts.get("out", ""),
        force=switches.get("force", False),
        update_manifest=switches.get("update_sha256sums", False),
        tolerances=named,
        left_out=frozenset(left_out),
        server=tuple(server),
    )


def _only(exports: Sequence[str]) -> str:
    if len(exports) == 1 and exports[0]:
        return exports[0]
    what = f"{len(exports)} directories" if exports else "no directory"
    hint = "; a value follows its option behind =" if exports else ""
    raise invalid_argument(
        f"Name the directory of one version, such as models/sum/3, not {what}{hint}"
    )


def _switch(argument: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise invalid_argument(f"{argument} must be true or false")
    return text == "true"


def _tolerance(argument: str, text: str) -> tuple[str, float]:
    output, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise invalid_argument(
            f"{argument} must be a number from 0 on, or OUTPUT=NUMBER for one output"
        )
    return output, value


def _server_flag(argument: str, name: str) -> str:
    parsed = command_line.parse([argument])
    if parsed.malformed:
        raise invalid_argument(parsed.malformed[0])
    if name in _NOT_TAKEN:
        raise invalid_argument(
            f"--{name} is no option of {command_line.RECORD_CHECKS}, which loads one directory"
        )
    if parsed.unknown or parsed.help or not name:
        near = get_close_matches(
            name.lstrip("-").replace("-", "_"), sorted(_TEXTS | _SWITCHES), 1, 0.7
        )
        meant = f"--{near[0]}" if near else command_line.similar(argument)
        hint = (
            f": did you mean {meant}?"
            if meant
            else f" (--help lists what {command_line.RECORD_CHECKS} takes)"
        )
        raise invalid_argument(f"There is no option {argument}{hint}")
    return argument


def usage(program: str) -> str:
    """Return the help text of the command."""
    return _USAGE.replace("PROGRAM", f"{program} {command_line.RECORD_CHECKS}")


_USAGE: Final = """usage: PROGRAM EXPORT_DIR [--requests=FILE] [options]
  # the answers to the export's warm-up requests
  PROGRAM models/digits/3
  # the answers to requests as the REST API takes them, one a line
  PROGRAM models/digits/3 --requests=requests.jsonl
  # scores may differ by 0.01, and what is random is left out
  PROGRAM models/digits/3 --tolerance=scores=0.01 --without_output=sample
Loads an export as the server does, runs each request twice and writes the answers to
EXPORT_DIR/assets.extra/slipway_checks, which the server compares with before it serves the export.
Options:
\t--requests=FILE                   JSON lines as the REST API takes them, or TFRecords of PredictionLog
\t                                  (default: EXPORT_DIR/assets.extra/tf_serving_warmup_requests)
\t--tolerance=[OUTPUT=]NUMBER       how far a number may be off; without OUTPUT for all floating-point outputs
\t--relative_tolerance=[OUTPUT=]NUMBER
\t                                  likewise, as a share of the number
\t--without_output=OUTPUT           do not record this output; may be repeated
\t--out=FILE                        write to this file instead
\t--force                           replace a file that is there
\t--update_sha256sums               write the file's digest into EXPORT_DIR/SHA256SUMS
The server's flags about loading are taken as well, such as --saved_model_tags and --prefer_tflite_model.
"""
