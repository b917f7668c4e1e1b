"""Who may write a kept volume, and which versions are in use there.

flock does both: a lock ends with the process that holds it, however it ends, and NFS 4 hands it on
between nodes.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway_sync.agent.errors import SyncError, volume_errors
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.agent.volume.filesystem import FileSystem, make_directories, write_all
from slipway_sync.agent.volume.layout import LOCK, Layout
from slipway_sync.exports import ExitCode, printable

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})
_PERIOD = 5.0
"""Seconds between two lines of a sync that waits."""
_PAUSE = 0.5
_HOLDER_BYTES = 512


class WriterLock:
    """The lock of the one sync that writes below a destination."""

    def __init__(self, layout: Layout, operations: FileSystem) -> None:
        """Open the lock file, which is made, with its directories, if it is not there."""
        self._path = layout.lock
        self._identity = layout.identity
        self._operations = operations
        self._descriptor = -1

    def close(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def taken(self) -> int:
        """Return the descriptor that holds the lock; who takes it closes it."""
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def attempt(self) -> bool:
        """Take the lock if nobody else has it.

        Raises:
            SyncError: The volume does not lock files, or cannot be written.
        """
        with volume_errors(), lock_errors():
            if self._descriptor < 0:
                for directory in make_directories(self._operations, self._path.parent):
                    self._operations.fsync_directory(directory)
                self._descriptor = self._operations.open_lock(self._path)
            if not self._operations.lock(self._descriptor, exclusive=True):
                return False
            if not _is_at(self._descriptor, self._path):
                # Somebody emptied the volume while we waited: this is no longer the file that counts.
                self.close()
                return False
        return True

    def sign(self, now: float) -> None:
        """Leave word of who has the lock, for those who wait."""
        holder = {"pod": socket.gethostname()[:100], "version": self._identity, "since": int(now)}
        with volume_errors():
            text = json.dumps(holder).ljust(_HOLDER_BYTES).encode()
            write_all(self._operations, self._descriptor, text, 0)

    def holder(self, now: float) -> str:
        """Say who has the lock, as far as that is known."""
        try:
            found = json.loads(os.pread(self._descriptor, _HOLDER_BYTES, 0))
            pod, version = printable(str(found["pod"])), printable(str(found["version"]))
            seconds = max(0, int(now) - int(found["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return "another pod writes to it"
        return f"pod {pod} writes version {version} to it, for {seconds} s now"


async def wait_for(
    lock: WriterLock,
    retry: RetryPolicy,
    clock: Callable[[], float],
    now: Callable[[], float],
    log: Callable[[str, str], None],
) -> bool:
    """Take the lock, as soon as it is free.

    Args:
        lock: The lock.
        retry: How to wait.
        clock: Seconds that never go back.
        now: Seconds of the Unix clock.
        log: Is given an event and a sentence now and then, while it lasts.

    Returns:
        Whether somebody else had it before.
    """
    said: float | None = None
    while not lock.attempt():
        if said is None or clock() - said >= _PERIOD:
            said = clock()
            log("waiting", f"waiting for the volume: {lock.holder(now())}")
        await retry.sleep(_PAUSE)
    lock.sign(now())
    return said is not None


@contextmanager
def in_use(version: Path, operations: FileSystem) -> Iterator[bool]:
    """Keep a version of a kept volume from being collected; false when it is on its way out.

    Raises:
        SyncError: The volume does not lock files.
    """
    try:
        descriptor = os.open(version / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        yield True  # There is nothing to lock, so nobody can be in the way.
        return
    try:
        with lock_errors():
            locked = operations.lock(descriptor, exclusive=False)
        yield locked
    finally:
        os.close(descriptor)


@contextmanager
def lock_errors() -> Iterator[None]:
    """Turn a file system's refusal to lock into a SyncError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise SyncError(
            ExitCode.VOLUME_ERROR,
            "the volume's file system does not support file locks "
            f"({os.strerror(error.errno or 0)}), which a cache volume needs: use one that does "
            "(for NFS, version 4), or remove serving.cache",
        ) from error


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
