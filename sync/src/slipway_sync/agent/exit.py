"""How the commands that bring or prove one version begin and end."""

from __future__ import annotations

import sys
from pathlib import Path

import structlog

from slipway_sync.agent.errors import SyncError
from slipway_sync.exports import ExitCode, SyncOutcome, version_directories

_HEX = frozenset("0123456789abcdef")


def check_version(directory: str, version: int, revision: str) -> None:
    """Check that what names one version belongs together.

    Raises:
        SyncError: It does not.
    """
    if len(revision) != 64 or not set(revision) <= _HEX:  # noqa: PLR2004
        raise SyncError(ExitCode.USAGE, "--revision must be 64 hex digits")
    found, _ = version_directories([directory])
    if not found or found[0].number != version:
        raise SyncError(
            ExitCode.USAGE, f"--directory {directory!r} does not match --version {version}"
        )


def log_outcome(code: ExitCode, outcome: SyncOutcome, termination_log: Path | None) -> None:
    """Say how it ended, in the log and in the termination log."""
    structlog.get_logger().info(
        "synced" if code is ExitCode.SYNCED else "failed",
        reason=outcome.reason,
        message=outcome.message,
        object=outcome.object,
        digest=outcome.digest,
    )
    if termination_log is None:
        return
    try:
        termination_log.write_text(outcome.render())
    except OSError as error:
        sys.stderr.write(f"slipway-sync: --termination-log cannot be written: {error}\n")
