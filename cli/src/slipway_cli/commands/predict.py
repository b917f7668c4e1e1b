"""`slipway predict`."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated

import typer

from slipway_cli.commands import options
from slipway_cli.errors import UsageError
from slipway_cli.output import (
    Format,
    as_json,
    note,
    outputs_table,
    predictions_table,
    resolved,
    write,
)

_INLINE = ("[", "{", '"')


def predict_command(
    model: Annotated[str, typer.Argument(help="Name of the model.", metavar="MODEL")],
    json_instances: Annotated[
        str,
        typer.Option(
            "--json-instances",
            "-j",
            metavar="FILE|-|JSON",
            help="File with instances in JSON, - for stdin, or the JSON itself: a list, one instance a line, or a "
            "request body with instances or inputs.",
            rich_help_panel=options.INPUT,
        ),
    ] = "",
    text_instances: Annotated[
        str,
        typer.Option(
            "--text-instances",
            metavar="FILE|-",
            help="File with one string a line, or - for stdin.",
            rich_help_panel=options.INPUT,
        ),
    ] = "",
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="A string; may be repeated.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            metavar="FILE",
            help="Image or other file, sent whole, as base64; may be repeated.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    input_name: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="NAME",
            help="Input that --text and --image are for, where the signature has several.",
            rich_help_panel=options.INPUT,
        ),
    ] = "",
    server: options.Server = options.DEFAULT_SERVER,
    version: options.Version = None,
    label: options.Label = "",
    signature: options.SignatureName = "",
    header: options.Headers = None,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 60.0,
    output: options.OutputFormat = None,
) -> None:
    """Send instances to a model and print its predictions."""
    # What --help does not need is imported when a prediction is made.
    from slipway_cli.serving.address import model_at
    from slipway_cli.serving.client import Connection, open_client
    from slipway_cli.serving.instances import Question, question

    given = [bool(json_instances), bool(text_instances), bool(text), bool(image)]
    if sum(given) != 1:
        raise UsageError(
            "give the instances in one of --json-instances, --text-instances, --text and --image"
        )
    address = model_at(server, model, version, label)
    if json_instances:
        if input_name:
            raise UsageError("--input is for --text and --image: JSON names its inputs itself")
        asked = question(*_json_text(json_instances))
    else:
        values = _values(text_instances, text or (), image or ())
        asked = Question([{input_name: value} if input_name else value for value in values])
    connection = Connection(timeout, options.headers(header), ca_file)
    with open_client(address, connection) as client:
        answer = client.predict(asked, signature)
    table = resolved(output) is Format.TABLE
    if answer.predictions is None:
        write(outputs_table(answer.outputs) if table else as_json({"outputs": answer.outputs}))
    elif table:
        write(predictions_table(answer.predictions))
    else:
        write(as_json({"predictions": answer.predictions}))
    if table and answer.version is not None and sys.stderr.isatty():
        note(f"version {answer.version} answered")


def _json_text(given: str) -> tuple[str, str]:
    """The JSON, and what to call it in a message."""
    if given.lstrip().startswith(_INLINE):
        return given, "--json-instances"
    return _read(given, "--json-instances")


def _values(
    file: str, texts: list[str] | tuple[str, ...], images: list[Path] | tuple[Path, ...]
) -> list[object]:
    if file:
        content, where = _read(file, "--text-instances")
        lines = content.splitlines()
        if not lines:
            raise UsageError(f"{where} is empty: write one string a line")
        return list(lines)
    if texts:
        return list(texts)
    return [{"b64": base64.b64encode(_bytes(path)).decode()} for path in images]


def _read(given: str, option: str) -> tuple[str, str]:
    where = "stdin" if given == "-" else given
    content = sys.stdin.buffer.read() if given == "-" else _bytes(Path(given), option)
    try:
        return content.decode("utf-8-sig"), where
    except UnicodeDecodeError as error:
        raise UsageError(f"{option}: {where} is not UTF-8 text (byte {error.start})") from error


def _bytes(path: Path, option: str = "--image") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{option}: {path} cannot be read: {error.strerror}") from error
