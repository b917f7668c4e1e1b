"""`slipway-sync`: the command line."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import structlog
import typer
from structlog.typing import EventDict, Processor
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

_LEVELS: Final = ("debug", "info", "warning", "error")
_USUAL: Final = """\b
  [dim]# write the index of exports that a web server shall offer[/dim]
  slipway-sync index /srv/models/digits
  [dim]# see which versions lie on a mounted volume, and what is wrong with them[/dim]
  slipway-sync watch --mount=/models --path=digits
  [dim]# download one version, and verify it[/dim]
  slipway-sync fetch --source=s3://models/digits --directory=3 --version=3 --revision=… --destination=/models/digits
"""

app = typer.Typer(
    name="slipway-sync",
    help=f"{_USUAL}\nDownload one version of a model to a volume and verify it.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 - a callback of the command line
    if asked:
        sys.stdout.write(f"slipway-sync {metadata.version('slipway-sync')}\n")
        raise typer.Exit


def _log_from(level: str) -> str:
    if level not in _LEVELS:
        raise typer.BadParameter(f"must be one of {', '.join(_LEVELS)}")
    _configure_log(level)
    return level


@app.callback()
def _commands(
    _version: Annotated[  # noqa: FBT002 - a flag of the command line
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
    _log_level: Annotated[
        str,
        typer.Option(
            "--log-level",
            help=f"Least important lines to log: {', '.join(_LEVELS)}.",
            callback=_log_from,
        ),
    ] = "info",
) -> None:
    pass


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
    _configure_log("info")
    try:
        code = app(prog_name="slipway-sync", standalone_mode=False)
    except TyperException as error:
        sys.stderr.write(f"slipway-sync: {_usage(error)}\n")
        code = ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort):
        code = 128 + signal.SIGINT
    sys.stdout.flush()
    sys.stderr.flush()
    # The threads of the object store library may still answer to a loop that is gone. Met by them,
    # an interpreter that is being taken down aborts, and another exit code would be reported.
    os._exit(int(code or 0))


def _configure_log(level: str) -> None:
    """Log to stdout: text on a terminal, otherwise one JSON object a line."""
    render: list[Processor] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _event_first,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    if sys.stdout.isatty():
        render = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.dev.ConsoleRenderer(timestamp_key="time"),
        ]
    structlog.configure(
        processors=render,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )


def _usage(error: TyperException) -> str:
    """What is wrong with the command line, and where help is."""
    message = error.format_message().rstrip(".")
    context: Any = getattr(error, "ctx", None)
    option: str | None = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        message = f"there is no option {option}"
        known = [name for param in context.command.params for name in param.opts] if context else []
        if near := get_close_matches(option, known, 1, 0.5):
            return f"{message}: did you mean {near[0]}?"
    if message.endswith("?") or context is None:
        return message
    return f"{message}: see {context.command_path} --help"


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
