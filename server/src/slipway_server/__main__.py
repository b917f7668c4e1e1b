"""`slipway-server`, also called `tensorflow_model_server`, under which name it has no command `record-checks`."""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from slipway_server import logs
from slipway_server.app.process import EXIT_FAILED, EXIT_OK, EXIT_REJECTED, Process
from slipway_server.errors import Code, ServingError
from slipway_server.servables.memory import memory_limit
from slipway_server.settings import command_line
from slipway_server.settings.environment import with_environment
from slipway_server.settings.server import Settings, settings
from slipway_server.tensorflow_library.lean_import import make_packages_known

if TYPE_CHECKING:
    from slipway_server.recording.options import Options

_BROKEN_PIPE: Final = 128 + 13
_INTERRUPTED: Final = 128 + 2


def main() -> None:
    """Run the server and end the process with its exit code."""
    # Arguments need not be text, and are printed when they are no flags.
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    try:
        code = run(sys.argv)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = _BROKEN_PIPE  # the reader has gone, as `head` does
    # Everything was stopped in order. What is left are threads inside TensorFlow and loads that may never end; waiting
    # for them would only let the kubelet kill the process.
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run the server and return its exit code."""
    program = Path(arguments[0]).name if arguments else "slipway-server"
    if arguments[1:2] == [command_line.RECORD_CHECKS] and program != command_line.CLASSIC_PROGRAM:
        return record(arguments[2:], program)
    parsed = command_line.parse(arguments[1:])
    if parsed.help:
        sys.stdout.write(_help(parsed.help, program))
        return EXIT_OK
    if parsed.malformed:
        sys.stdout.write(
            "".join(sentence + "\n" for sentence in parsed.malformed) + command_line.usage(program)
        )
        return EXIT_FAILED
    if parsed.values["version"]:
        sys.stdout.write(version_text())
        return EXIT_OK
    if parsed.unknown:
        say_unknown(parsed.unknown, program)
    parsed = with_environment(parsed, os.environ)
    try:
        chosen = settings(
            parsed.values, cpus=os.cpu_count() or 1, memory=memory_limit(), given=parsed.given
        )
    except ServingError as error:
        sys.stdout.write(f"Failed to start server. Error: {error}\n")
        return EXIT_FAILED
    landlock_version = 0
    if chosen.landlock:
        try:
            landlock_version = restrict_files(chosen)
        except ServingError as error:
            sys.stdout.write(f"Failed to start server. Error: {error}\n")
            return EXIT_FAILED
    tell_tensorflow(chosen)
    notes = command_line.without_effect(parsed.given)
    return Process(chosen, notes, landlock_version).run()


def tell_tensorflow(chosen: Settings) -> None:
    """Set the environment variables that TensorFlow reads once, when it is imported."""
    # TensorFlow's own warnings repeat, for every bad request, what its caller is told anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if chosen.log_level == "debug" else "2")
    if chosen.xla_cpu:
        # A session alone can ask for XLA on GPUs only.
        xla_flags = os.environ.get("TF_XLA_FLAGS", "")
        os.environ["TF_XLA_FLAGS"] = f"{xla_flags} --tf_xla_cpu_global_jit".strip()


def record(arguments: Sequence[str], program: str) -> int:
    """Run `record-checks` and return its exit code."""
    from slipway_server.recording.errors import RefusedError  # noqa: PLC0415 - a server needs none of it
    from slipway_server.recording.options import read_options, usage  # noqa: PLC0415 - likewise

    try:
        options = read_options(arguments)
        if options.help:
            sys.stdout.write(usage(program))
            return EXIT_OK
        said = _recorded(options)
    except ServingError as error:
        sys.stderr.write(f"{program} {command_line.RECORD_CHECKS}: {error.message}\n")
        return EXIT_REJECTED if isinstance(error, RefusedError) else EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write(f"{program} {command_line.RECORD_CHECKS}: interrupted\n")
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, a traceback would not help
        sys.stderr.write(
            f"{program} {command_line.RECORD_CHECKS}: {type(error).__name__}: {error}\n"
        )
        return EXIT_FAILED
    sys.stdout.write(said)
    return EXIT_OK


def _recorded(options: "Options") -> str:
    flags = (*options.server, f"--model_base_path={options.export}", "--checks=false")
    parsed = command_line.parse(flags)
    chosen = settings(
        parsed.values, cpus=os.cpu_count() or 1, memory=memory_limit(), given=parsed.given
    )
    tell_tensorflow(chosen)
    logs.configure(chosen.log_level if "log_level" in parsed.given else "error")
    try:
        make_packages_known()
    except ModuleNotFoundError as error:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "TensorFlow is not installed: pip install 'slipway-server[cpu]'",
        ) from error
    from slipway_server.recording.command import record_checks  # noqa: PLC0415 - imports TensorFlow

    return record_checks(options, chosen)


def _help(form: str, program: str) -> str:
    match form:
        case "markdown":
            return command_line.reference()
        case "completion":
            return command_line.completion(program)
        case _:
            return command_line.usage(program)


def say_unknown(arguments: Sequence[str], program: str) -> None:
    """Report arguments that are no flag, in TensorFlow's words, and on stderr what they may have meant."""
    sys.stdout.write("".join(f"unknown argument: {argument}\n" for argument in arguments))
    sys.stdout.write(command_line.usage(program))
    sys.stdout.flush()
    for argument in arguments:
        if meant := command_line.similar(argument):
            sys.stderr.write(f"{program}: there is no flag {argument}: did you mean {meant}?\n")


def restrict_files(chosen: Settings) -> int:
    """Apply `--landlock` and return its version; before the first thread, as each has restrictions of its own.

    Raises:
        ServingError: it cannot be applied.
    """
    from slipway_server.app import landlock  # noqa: PLC0415 - only where it is asked for
    from slipway_server.app.landlock_paths import Installation, rules  # noqa: PLC0415 - likewise

    found = Installation(
        prefixes=tuple(
            dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix))
        ),
        package=str(Path(__file__).parents[1]),
        keras=str(Path(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json").expanduser()),
        devices=tuple(str(path) for path in Path("/dev").glob("nvidia*")),
    )
    if chosen.termination_log:
        with suppress(OSError):  # reported when something is to be written there
            Path(chosen.termination_log).touch()  # rules are for files that exist
    # Libraries ask for its name when they are imported, and Python finds it by writing there.
    with suppress(FileNotFoundError):
        tempfile.gettempdir()
    return landlock.restrict(rules(chosen, found))


def version_text() -> str:
    """Return the two lines of `--version`."""
    return f"TensorFlow ModelServer: slipway-server {command_line.version()}\nTensorFlow Library: {_tensorflow()}\n"


def _tensorflow() -> str:
    for distribution in ("tensorflow", "tensorflow-cpu"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "none"


if __name__ == "__main__":
    main()
