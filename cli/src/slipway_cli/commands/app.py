"""`slipway`: its commands and their help."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from slipway_cli.commands.batch import batch_command
from slipway_cli.commands.predict import predict_command
from slipway_cli.commands.program import application, examples, show_version
from slipway_cli.commands.signatures import signatures_command
from slipway_cli.commands.verify import verify_command

ASK: Final = "Ask a model"
EXPORTS: Final = "Look at exports"

app = application(
    "slipway",
    examples(
        ("ask a model", "slipway predict digits --json-instances digits.json"),
        ("see what it can be asked", "slipway signatures http://localhost:8501/v1/models/digits"),
        ("check an export before or after its upload", "slipway verify s3://models/digits/3"),
        then="Ask TensorFlow models, and look at their exports; kubectl slipway follows and steers their rollouts.",
    ),
)


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    pass


app.command(
    "predict",
    rich_help_panel=ASK,
    short_help="Send instances to a model and print its predictions.",
    help=examples(
        ("instances from a file, over REST", "slipway predict digits -j digits.json"),
        (
            "over gRPC, one version, as a table",
            "slipway predict digits -j '[[0, 1]]' -s grpc://localhost:8500 --version 3 -o table",
        ),
        ("an image", "slipway predict classifier --image cat.jpg"),
        then="Send instances to a model and print its predictions.",
    ),
)(predict_command)
app.command(
    "batch",
    rich_help_panel=ASK,
    short_help="Ask for every row of some files.",
    help=examples(
        ("every line of a file", "slipway batch digits rows.jsonl --to answers.jsonl"),
        (
            "many files in an object store, over gRPC",
            "slipway batch digits 's3://data/rows/*.csv.gz' --to s3://data/answers.jsonl -s grpc://localhost:8500",
        ),
        (
            "more of the server at a time",
            "slipway batch digits rows.tfrecord --to answers.jsonl --rows-per-request 128 --concurrency 16",
        ),
        then="Ask for every row of some files: one answer each, in order. Interrupted, the same command goes on.",
    ),
)(batch_command)
app.command(
    "signatures",
    rich_help_panel=EXPORTS,
    short_help="Show what an export, or a model on a server, can be asked.",
    help=examples(
        ("an export in a directory", "slipway signatures models/digits/3"),
        (
            "an export in an object store, as JSON",
            "slipway signatures s3://models/digits/3 -o json",
        ),
        ("a model on a server", "slipway signatures http://localhost:8501/v1/models/digits"),
        then="Show the signatures of an export, or of a model on a server: inputs, outputs, types and shapes.",
    ),
)(signatures_command)
app.command(
    "verify",
    rich_help_panel=EXPORTS,
    short_help="Check whether an export is complete.",
    help=examples(
        ("the highest version of a model", "slipway verify s3://models/digits"),
        ("every byte of one version", "slipway verify models/digits/3 --checksums"),
        ("also who signed it", "slipway verify gs://models/digits/3 --public-key signer.pem"),
        then="Check whether an export is complete, by the checks of the operator and the sync agent.",
    ),
)(verify_command)
