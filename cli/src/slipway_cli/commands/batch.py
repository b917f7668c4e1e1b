"""`slipway batch`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slipway_cli.commands import options
from slipway_cli.errors import CliError, ExitCode, UsageError
from slipway_cli.output import note

if TYPE_CHECKING:
    from slipway_cli.batch.ledger import Ledger
    from slipway_cli.serving.address import ModelAddress
    from slipway_cli.serving.client import Connection
    from slipway_cli.serving.signature import Signature

_COMMIT_SECONDS = 1.0


def batch_command(
    model: Annotated[str, typer.Argument(help="Name of the model.", metavar="MODEL")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Files with rows, globs of them, or objects (s3://, gs://, az://, https://).",
            metavar="INPUT...",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FILE|URI",
            help="Where the answers go: JSON lines, in the order of the rows.",
            rich_help_panel=options.OUTPUT,
        ),
    ],
    errors: Annotated[
        str,
        typer.Option(
            "--errors",
            metavar="FILE|URI",
            help="Where rows without an answer go, each with its error; default: beside --to, ….errors.jsonl.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Begin anew, and replace what is there.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    with_instances: Annotated[
        bool,
        typer.Option(
            "--with-instances",
            help="Repeat each instance beside its answer.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    record_format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="jsonl|csv|tfrecord",
            help="Format of the rows; default: by the names of the files, which may end in .gz.",
            rich_help_panel=options.INPUT,
        ),
    ] = "",
    input_name: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="NAME",
            help="Input that the records of TFRecord files are for, where the signature has several.",
            rich_help_panel=options.INPUT,
        ),
    ] = "",
    rows: Annotated[
        int,
        typer.Option(
            "--rows-per-request",
            metavar="N",
            min=1,
            help="Rows sent together.",
            rich_help_panel=options.PACE,
        ),
    ] = 32,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            metavar="N",
            min=1,
            max=256,
            help="Requests at a time; fewer while the server says that it has no room.",
            rich_help_panel=options.PACE,
        ),
    ] = 8,
    patience: Annotated[
        float,
        typer.Option(
            "--retry-for",
            metavar="SECONDS",
            min=0,
            help="How long a request that nobody answers is repeated before the batch ends.",
            rich_help_panel=options.PACE,
        ),
    ] = 300.0,
    server: options.Server = options.DEFAULT_SERVER,
    version: options.Version = None,
    label: options.Label = "",
    signature: options.SignatureName = "",
    header: options.Headers = None,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 60.0,
    endpoint: options.Endpoint = "",
    region: options.Region = "",
) -> None:
    """Ask for every row of some files; the same command goes on after an interruption."""
    from slipway_cli.batch.inputs import fingerprint, input_files
    from slipway_cli.batch.ledger import Ledger
    from slipway_cli.batch.objects import ObjectAccess
    from slipway_cli.batch.pipeline import Asker, Pace
    from slipway_cli.batch.records import formats_of, read_rows
    from slipway_cli.batch.target import put_in_place, target
    from slipway_cli.serving.address import model_at
    from slipway_cli.serving.client import Connection, open_client
    from slipway_cli.serving.instances import Question

    access = ObjectAccess(endpoint, region)
    where = target(to, errors)
    asked = model_at(server, model, version, label)
    files = input_files(inputs, access)
    formats = formats_of(files, record_format)
    connection = Connection(timeout, options.headers(header), ca_file)
    pace = Pace(rows, concurrency, patience)
    with Ledger(where.work, where.work_errors) as ledger:
        begun = None if overwrite else ledger.begun()
        address, key, wanted = _pinned(asked, begun, connection, signature)
        job = {
            "model": model,
            "version": address.version,
            "label": label,
            "signature": key,
            "content of the input files": fingerprint(files),
            "--format": record_format,
            "--input": input_name,
            "--with-instances": with_instances,
        }
        ledger.open(job, overwrite=overwrite)
        if begun is not None and not ledger.progress.finished:
            note(f"{to}: going on after row {ledger.progress.rows}")
        total = sum(file.size for file in files)
        if not ledger.progress.finished:
            found = read_rows(files, formats, wanted, input_name)
            done = ledger.progress.rows
            left = (row for row in found if row.number > done)
            with open_client(address, connection) as client:
                asker = Asker(
                    lambda instances: client.predict(Question(instances), key).predictions or (),
                    pace,
                    time.monotonic,
                    with_instances=with_instances,
                )
                _run(left, asker, pace, ledger, total)
        put_in_place(where, ledger, access)
        progress = ledger.progress
    failed = f", {progress.failed} of them failed: {where.errors}" if progress.failed else ""
    note(f"{to}: {progress.rows} rows{failed}")
    if progress.failed:
        raise typer.Exit(ExitCode.ROWS_FAILED)


def _pinned(
    asked: ModelAddress,
    begun: Mapping[str, Any] | None,
    connection: Connection,
    signature: str,
) -> tuple[ModelAddress, str, Signature]:
    """Choose the version that answers all rows: the one that has begun, or the one that answers now."""
    from slipway_cli.serving.address import ModelAddress
    from slipway_cli.serving.client import open_client
    from slipway_cli.serving.signature import chosen

    before = begun.get("version") if begun is not None else None
    goes_on = isinstance(before, int) and asked.version is None
    if goes_on:
        asked = ModelAddress(asked.server, asked.name, before)
    with open_client(asked, connection) as client:
        try:
            found, signatures = client.signatures()
        except UsageError:
            raise
        except CliError as error:
            if goes_on and error.code is ExitCode.REFUSED:
                raise CliError(
                    f"the batch was begun with version {before}, which is not served any more: begin anew with "
                    f"--overwrite ({error})"
                ) from error
            raise
    key, wanted = chosen(signatures, signature, str(asked))
    version = asked.version if asked.version is not None else found
    label = asked.label if version is None else ""
    return ModelAddress(asked.server, asked.name, version, label), key, wanted


def _run(left: Any, asker: Any, pace: Any, ledger: Ledger, total: int) -> None:
    """Ask, write and show; what is written is certain, however this ends."""
    from slipway_cli.batch.pipeline import in_order
    from slipway_cli.commands.bars import rows_bar

    committed = time.monotonic()
    with rows_bar(total, on_terminal=sys.stderr.isatty()) as report:
        try:
            for outcomes, position in in_order(left, asker, pace):
                ledger.append(outcomes)
                report(ledger.progress.rows, ledger.progress.failed, position)
                if time.monotonic() - committed >= _COMMIT_SECONDS:
                    ledger.commit()
                    committed = time.monotonic()
        except BaseException:
            ledger.commit()
            raise
        ledger.commit(finished=True)
