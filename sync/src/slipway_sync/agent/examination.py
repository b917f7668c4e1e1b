"""Examines an export that lies on a file system: graphs of any size are mapped, not read."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO, Final

from slipway_sync.agent.errors import SyncError
from slipway_sync.exports import (
    ExitCode,
    Listing,
    ListingSummary,
    Proof,
    ProofReason,
    Requirements,
    Verdict,
    examine,
    reads,
)

_UNLIMITED: Final = 1 << 62


def examine_files(
    found: Listing | ListingSummary,
    requirements: Requirements,
    opened: Callable[[str], AbstractContextManager[BinaryIO]],
) -> tuple[Proof, dict[str, bytes | memoryview]]:
    """Return what the export comes to, with the contents of the files that were needed for it.

    Args:
        found: All of its files.
        requirements: What is asked of it.
        opened: Opens a file of it by its path.

    Raises:
        OSError: A file cannot be read.
    """
    contents: dict[str, bytes | memoryview] = {}
    for path in reads(found, requirements, limit=_UNLIMITED):
        with opened(path) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        contents[path] = memoryview(mapped)
    return examine(found, contents, requirements, limit=_UNLIMITED), contents


def require_complete(proof: Proof | None) -> None:
    """Let a complete export pass.

    Raises:
        SyncError: It is another one now, or never becomes complete.
    """
    if proof is None or proof.verdict is Verdict.COMPLETE:
        return
    if proof.reason == ProofReason.MOVED:
        raise SyncError(ExitCode.REVISION_MOVED, proof.message, path=proof.object)
    raise SyncError(ExitCode.REJECTED, proof.message, reason=proof.reason, path=proof.object)
