"""`slipway-server`, also called `tensorflow_model_server`."""

import os
import sys
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import cast

from slipway_server.app.process import EXIT_FAILED, EXIT_OK, Process
from slipway_server.errors import ServingError
from slipway_server.settings import command_line
from slipway_server.settings.server import settings


def main() -> None:
    """Run the server and end the process with its exit code."""
    # Arguments need not be text, and are printed when they are no flags.
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    code = run(sys.argv)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything was stopped in order. What is left are threads inside TensorFlow and loads that may never end; waiting
    # for them would only let the kubelet kill the process.
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run the server and return its exit code."""
    program = Path(arguments[0]).name if arguments else "slipway-server"
    parsed = command_line.parse(arguments[1:])
    if parsed.help:
        markdown = parsed.help == "markdown"
        sys.stdout.write(command_line.reference() if markdown else command_line.usage(program))
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
        sys.stdout.write("".join(f"unknown argument: {argument}\n" for argument in parsed.unknown))
        sys.stdout.write(command_line.usage(program))
        sys.stdout.flush()
    try:
        chosen = settings(parsed.values, cpus=os.cpu_count() or 1, given=parsed.given)
    except ServingError as error:
        sys.stdout.write(f"Failed to start server. Error: {error}\n")
        return EXIT_FAILED
    # TensorFlow's own warnings repeat, for every bad request, what its caller is told anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if chosen.xla_cpu:
        # Read once, when TensorFlow is imported; a session alone can ask for XLA on GPUs only.
        xla_flags = os.environ.get("TF_XLA_FLAGS", "")
        os.environ["TF_XLA_FLAGS"] = f"{xla_flags} --tf_xla_cpu_global_jit".strip()
    return Process(chosen, command_line.without_effect(parsed.given)).run()


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
