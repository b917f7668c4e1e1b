"""Tells who keeps versions on a volume which of them are open.

The sync agent puts an empty file into each version that it keeps. As long as a version is loaded its file is locked,
shared; the agent removes no version whose lock somebody has. A directory without the file is loaded as ever.
"""

import fcntl
import os
import threading
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from slipway_server.core.managed_version import Loader

T = TypeVar("T")

LOCK_FILE: Final = ".slipway.lock"

_log: Final = structlog.get_logger("slipway_server.loader")


class DirectoryLockLoader(Generic[T]):
    """Locks what another loader loads until it is unloaded (`core.managed_version.Loader`)."""

    def __init__(self, loader: Loader[T]) -> None:
        self._loader = loader
        self._lock = threading.Lock()
        self._held: dict[int, int] = {}

    def load(self, model: str, version: int, path: str) -> T:
        """Load a version.

        Raises:
            ServingError: what the other loader said.
        """
        held = lock_directory(path)
        try:
            content = self._loader.load(model, version, path)
        except BaseException:
            _unlock(held)
            raise
        if held is not None:
            with self._lock:
                self._held[id(content)] = held
        return content

    def unload(self, content: T) -> None:
        """Release what `load` returned, and the lock with it."""
        with self._lock:
            held = self._held.pop(id(content), None)
        try:
            self._loader.unload(content)
        finally:
            _unlock(held)


def lock_directory(directory: str) -> int | None:
    """Lock a version's directory; the descriptor keeps the lock, None says that there is nothing to lock."""
    try:
        # A lock that is shared needs no permission to write: the volume is mounted read-only.
        descriptor = os.open(Path(directory, LOCK_FILE), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        # The agent tries the same lock and refuses such a volume: nothing is removed there.
        _log.warning("version not locked", path=directory, error=error.strerror)
        os.close(descriptor)
        return None
    return descriptor


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
