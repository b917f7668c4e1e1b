"""The commands for exports that lie on a mounted volume and are served from there."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import Annotated

import structlog
import typer

from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.exit import check_version, log_outcome
from slipway_sync.agent.inplace.verify import VerifyRequest, verify
from slipway_sync.agent.inplace.watch import Look, Teller, Wanted, watch
from slipway_sync.agent.progress import line
from slipway_sync.agent.requirements import PublicKeyFile, Tags, requirements
from slipway_sync.exports import ExitCode, SyncOutcome
from slipway_sync.stores import MountedStore

_JITTER = 0.1

_Mount = Annotated[Path, typer.Option(help="Mount path of the volume.")]
_PathInside = Annotated[str, typer.Option("--path", help="Base path inside the volume.")]


def verify_command(
    mount: _Mount,
    directory: Annotated[str, typer.Option(help="Directory of the version.")],
    version: Annotated[int, typer.Option(min=0, help="Version number.")],
    revision: Annotated[str, typer.Option(help="Expected revision, 64 hex digits.")],
    path: _PathInside = "",
    completion_marker: Annotated[str, typer.Option(help="File that must exist.")] = "",
    tag: Tags = None,
    public_key: PublicKeyFile = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Files read concurrently.")] = 4,
    termination_log: Annotated[
        Path | None, typer.Option(help="File to write the outcome to, as a JSON object.")
    ] = None,
) -> None:
    """Verify one version in place on a mounted volume; nothing is copied."""
    log = structlog.get_logger()
    read = 0

    def report(numbers: dict[str, int]) -> None:
        nonlocal read
        read = numbers["bytes"]
        log.info("progress", **line(numbers))

    try:
        check_version(directory, version, revision)
        asked = requirements(completion_marker, tag, public_key)
        request = VerifyRequest(directory, version, revision, asked, concurrency)
        outcome = asyncio.run(verify(request, MountedStore(mount, path), report, time.monotonic))
        code = ExitCode.SYNCED
    except SyncError as error:
        code = error.code
        outcome = SyncOutcome(error.reason, str(error), error.object, "", revision, read)
    log_outcome(code, outcome, termination_log)
    raise typer.Exit(code)


def watch_command(
    mount: _Mount,
    path: _PathInside = "",
    poll_interval: Annotated[
        float, typer.Option(min=0.1, help="Polling interval in seconds.")
    ] = 30.0,
    settle: Annotated[
        float,
        typer.Option(min=0, help="Seconds for which an export's file listing must be unchanged."),
    ] = 5.0,
    complete: Annotated[
        int,
        typer.Option(
            min=1, help="Validate from the highest version down until this many are complete."
        ),
    ] = 32,
    only: Annotated[
        list[int] | None, typer.Option(help="Validate only this version; may be repeated.")
    ] = None,
    completion_marker: Annotated[str, typer.Option(help="File that must exist.")] = "",
    tag: Tags = None,
    public_key: PublicKeyFile = None,
) -> None:
    """Print the versions on a mounted volume as JSON lines, until terminated."""
    try:
        asked = requirements(completion_marker, tag, public_key)
    except SyncError as error:
        sys.stderr.write(f"slipway-sync: {error}\n")
        raise typer.Exit(error.code) from error
    wanted = Wanted(
        complete=complete,
        numbers=frozenset(only) if only else None,
        settle=settle,
        requirements=asked,
    )
    look = Look(MountedStore(mount, path), wanted, time.monotonic)

    def interval() -> float:
        return poll_interval * (1 + _JITTER * (2 * random.random() - 1))  # noqa: S311

    asyncio.run(watch(look, Teller(_write_line), interval))


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
