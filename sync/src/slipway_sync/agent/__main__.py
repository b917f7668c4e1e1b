"""`slipway-sync`: the command line."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import structlog
import typer
from structlog.typing import EventDict
from typer.exceptions import TyperException

from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.exit import check_version, log_outcome
from slipway_sync.agent.fetch.credentials import CredentialSource, IdentityKind, opened
from slipway_sync.agent.fetch.fetch import FetchRequest, Runtime, fetch
from slipway_sync.agent.fetch.reuse import store_name
from slipway_sync.agent.inplace.commands import verify_command, watch_command
from slipway_sync.agent.inplace.index_document import index_command
from slipway_sync.agent.progress import line
from slipway_sync.agent.requirements import PublicKeyFile, Tags, requirements
from slipway_sync.agent.retry import FIRST_PAUSE, TRIES, RetryPolicy
from slipway_sync.exports import ExitCode, SyncOutcome
from slipway_sync.stores import (
    AddressPolicy,
    Patience,
    StoreOptions,
)

_PATIENCE = Patience()

app = typer.Typer(
    name="slipway-sync",
    help="Download one version of a model to a volume and verify it.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Keep each command one of its own."""


@app.command("fetch")
def fetch_command(
    source: Annotated[str, typer.Option(help="URI of the base path.")],
    directory: Annotated[str, typer.Option(help="Directory of the version in the source.")],
    version: Annotated[int, typer.Option(min=0, help="Version number.")],
    revision: Annotated[str, typer.Option(help="Expected revision, 64 hex digits.")],
    destination: Annotated[
        Path, typer.Option(help="Directory to create the version's directory in.")
    ],
    endpoint: Annotated[str, typer.Option(help="Endpoint URL of the store.")] = "",
    region: Annotated[str, typer.Option(help="S3 region.")] = "",
    addressing: Annotated[str, typer.Option(help="S3 addressing style: path or virtual.")] = "path",
    credentials: Annotated[
        Path | None,
        typer.Option(help="Directory with credentials in files such as AWS_ACCESS_KEY_ID."),
    ] = None,
    identity: Annotated[
        IdentityKind, typer.Option(help="Cloud identity to use instead of --credentials.")
    ] = IdentityKind.NONE,
    identity_token: Annotated[
        Path | None, typer.Option(help="File with the token of the ServiceAccount.")
    ] = None,
    identity_setting: Annotated[
        list[str] | None,
        typer.Option(help="Setting NAME=VALUE of the cloud identity; may be repeated."),
    ] = None,
    ca_bundle: Annotated[
        Path | None, typer.Option(help="PEM file with additional CA certificates.")
    ] = None,
    proxy: Annotated[str, typer.Option(help="HTTP proxy for the source: http://HOST[:PORT].")] = "",
    no_proxy: Annotated[
        list[str] | None,
        typer.Option(help="Host, .suffix or network to reach without the proxy; may be repeated."),
    ] = None,
    allow_network: Annotated[
        list[str] | None,
        typer.Option(
            help="Allow sources in this network, even if loopback or link-local; may be repeated."
        ),
    ] = None,
    completion_marker: Annotated[str, typer.Option(help="Object that must exist.")] = "",
    tag: Tags = None,
    public_key: PublicKeyFile = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Concurrent requests.")] = 8,
    stall_timeout: Annotated[
        float, typer.Option(min=0.1, help="Timeout in seconds without any data received.")
    ] = _PATIENCE.stall,
    request_timeout: Annotated[
        float, typer.Option(min=0.1, help="Timeout in seconds of one request of up to 16 MiB.")
    ] = _PATIENCE.request,
    tries: Annotated[
        int, typer.Option(min=1, max=100, help="Attempts without progress before the sync fails.")
    ] = TRIES,
    first_pause: Annotated[
        float,
        typer.Option(
            min=0.0, help="Initial retry delay in seconds; doubled for each further retry."
        ),
    ] = FIRST_PAUSE,
    cache: Annotated[  # noqa: FBT002 - a flag of the command line
        bool,
        typer.Option("--cache", help="The destination is a persistent, shared cache volume."),
    ] = False,
    keep: Annotated[
        Path | None, typer.Option(help="With --cache: JSON file that lists the versions to keep.")
    ] = None,
    termination_log: Annotated[
        Path | None, typer.Option(help="File to write the outcome to, as a JSON object.")
    ] = None,
) -> None:
    """Download one version from its source to the destination: completely and verified, or not at all."""
    log = structlog.get_logger()
    moved = 0

    def report(numbers: dict[str, int]) -> None:
        nonlocal moved
        moved = numbers["bytes"]
        log.info("progress", **line(numbers))

    def log_event(event: str, sentence: str) -> None:
        log.info(event, message=sentence)

    try:
        request = FetchRequest(
            directory=directory,
            version=version,
            revision=revision,
            destination=destination,
            requirements=requirements(completion_marker, tag, public_key),
            concurrency=concurrency,
            kept=cache,
            keep=keep,
            origin=store_name(source, endpoint),
        )
        check_version(directory, version, revision)
        options = StoreOptions(
            endpoint=endpoint,
            region=region,
            addressing=addressing,
            ca_bundle=_ca_bundle(ca_bundle),
            proxy=proxy,
            no_proxy=tuple(no_proxy or ()),
            addresses=_addresses(allow_network or ()),
            patience=Patience(
                stall=stall_timeout,
                request=request_timeout,
                retries=min(tries, _PATIENCE.retries),
                pause=min(first_pause, _PATIENCE.pause),
            ),
        )
        retry = RetryPolicy(asyncio.sleep, random.random, tries, first_pause)
        runtime = Runtime(report, time.monotonic, retry, log_event)
        credential_source = CredentialSource(
            credentials, identity, identity_token, identity_setting or ()
        )
        outcome = asyncio.run(_run(request, source, options, credential_source, runtime))
        code = ExitCode.SYNCED
    except SyncError as error:
        code = error.code
        outcome = SyncOutcome(error.reason, str(error), error.object, "", revision, moved)
    log_outcome(code, outcome, termination_log)
    raise typer.Exit(code)


app.command("verify")(verify_command)
app.command("watch")(watch_command)
app.command("index")(index_command)


def main() -> NoReturn:
    """Run the command line and exit with one of ExitCode."""
    signal.signal(signal.SIGTERM, _stop)
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _event_first,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    try:
        code = app(prog_name="slipway-sync", standalone_mode=False)
    except TyperException as error:
        sys.stderr.write(f"slipway-sync: {error}\n")
        code = ExitCode.USAGE
    sys.stdout.flush()
    sys.stderr.flush()
    # The threads of the object store library may still answer to a loop that is gone. Met by them,
    # an interpreter that is being taken down aborts, and another exit code would be reported.
    os._exit(int(code or 0))


def _event_first(_logger: object, _method: str, line: EventDict) -> EventDict:
    return {"event": line.pop("event"), **line}


async def _run(
    request: FetchRequest,
    source: str,
    options: StoreOptions,
    credential_source: CredentialSource,
    runtime: Runtime,
) -> SyncOutcome:
    return await fetch(request, opened(source, options, credential_source, os.environ), runtime)


def _ca_bundle(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise SyncError(ExitCode.USAGE, f"--ca-bundle {path} cannot be read") from error


def _addresses(networks: Sequence[str]) -> AddressPolicy:
    try:
        return AddressPolicy.allowing(networks)
    except ValueError as error:
        raise SyncError(ExitCode.USAGE, f"--allow-network: {error}") from error


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Stop at once: the volume is right at every moment, there is nothing to tidy up."""
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
