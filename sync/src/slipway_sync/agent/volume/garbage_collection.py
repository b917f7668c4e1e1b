"""Removes old versions from a kept volume."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slipway_sync.agent.volume.filesystem import NEW, FileSystem, remove_tree
from slipway_sync.agent.volume.layout import (
    JOURNAL,
    LOCK,
    PREFIX,
    RECORD,
    gone_path,
    identity_of_partial,
    is_kept_version,
    is_leftover,
    record_path,
)
from slipway_sync.agent.volume.locks import lock_errors

GRACE = 600.0
"""Seconds for which a version stays after a sync last verified it: its server may be about to load."""

Keep = frozenset[str]


class KeepError(Exception):
    """The file that names the versions to keep does not say which; str() says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A directory on the volume.

    Attributes:
        name: Number and revision.
        used: When a sync last verified it or worked on it, in seconds of the Unix clock.
    """

    name: str
    used: float


def read_keep(path: Path) -> Keep:
    """Read the names of the version directories to keep: `{"keep": ["3-0123456789ab"]}`.

    Raises:
        KeepError: There is no such list.
    """
    try:
        names = json.loads(path.read_bytes())["keep"]
    except OSError as error:
        raise KeepError(os.strerror(error.errno or 0)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeepError('it is not of the form {"keep": ["3-0123456789ab"]}') from error
    if not isinstance(names, list) or not all(
        isinstance(name, str) and is_kept_version(name) for name in names
    ):
        raise KeepError("keep is not a list of names like 3-0123456789ab")
    return frozenset(names)


def old_versions(versions: Iterable[Seen], own: str, keep: Keep, now: float) -> list[str]:
    """Choose the versions that may go, if no server has them open: pure."""
    return sorted(
        seen.name
        for seen in versions
        if seen.name != own and seen.name not in keep and now - seen.used > GRACE
    )


def old_partials(partials: Iterable[Seen], own: str, keep: Keep, now: float) -> list[str]:
    """Choose the unfinished syncs that nobody will take up again: pure.

    One of the same number as ours was of a revision that is no longer there. Another one is taken
    up when its pod comes again, which it does within the grace time or when it is to be kept.
    """
    number = own.partition("-")[0]
    return sorted(
        seen.name
        for seen in partials
        if seen.name != own
        and seen.name not in keep
        and (seen.name.partition("-")[0] == number or now - seen.used > GRACE)
    )


class Collector:
    """Removes what is not needed below one destination. Only the writer may use it."""

    def __init__(
        self,
        destination: Path,
        own: str,
        operations: FileSystem,
        now: Callable[[], float],
        log: Callable[[str, str], None],
    ) -> None:
        """Collect around a sync of the version `own` (number and revision)."""
        self._destination = destination
        self._own = own
        self._operations = operations
        self._now = now
        self._log = log

    def tidy(self, keep: Keep) -> None:
        """Remove what killed syncs and removals left; raises OSError."""
        names = os.listdir(self._destination)  # noqa: PTH208 - names, not paths
        partials = [
            Seen(identity, _used(self._destination / name / JOURNAL, self._destination / name))
            for name in names
            if (identity := identity_of_partial(name))
        ]
        stay = {seen.name for seen in partials} - set(
            old_partials(partials, self._own, keep, self._now())
        )
        for name in names:
            if is_leftover(name) and identity_of_partial(name) not in stay:
                remove_tree(self._operations, self._destination / name)
            elif _is_orphan(self._destination, name):
                with suppress(OSError):
                    self._operations.unlink(self._destination / name)

    def collect(self, keep: Keep) -> list[str]:
        """Remove old versions, each with a line that says so; return their names; raises OSError."""
        versions = [
            Seen(name, _used(record_path(self._destination, name), self._destination / name))
            for name in os.listdir(self._destination)  # noqa: PTH208 - names, not paths
            if is_kept_version(name) and (self._destination / name).is_dir()
        ]
        removed = []
        for name in old_versions(versions, self._own, keep, self._now()):
            with self._not_open(name) as free:
                if free:
                    self._remove(name)
                    removed.append(name)
        return removed

    def _remove(self, name: str) -> None:
        gone = gone_path(self._destination, name)
        self._operations.rename(self._destination / name, gone)
        self._operations.fsync_directory(self._destination)
        remove_tree(self._operations, gone)
        with suppress(FileNotFoundError):
            self._operations.unlink(record_path(self._destination, name))
        self._log("collected", f"removed version {name} from the volume: nothing uses it")

    @contextmanager
    def _not_open(self, name: str) -> Iterator[bool]:
        """Tell whether no server holds a version; if so, none comes to hold it meanwhile."""
        try:
            descriptor = os.open(self._destination / name / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError as error:
            # Without the file no server can have locked it; one that is not ours to open stays.
            yield isinstance(error, FileNotFoundError)
            return
        try:
            with lock_errors():
                free = self._operations.lock(descriptor, exclusive=True)
            yield free
        finally:
            os.close(descriptor)


def _is_orphan(destination: Path, name: str) -> bool:
    """Tell whether a name is that of a record without its version, or of a half-written one."""
    version = name.removeprefix(PREFIX).removesuffix(NEW).removesuffix(RECORD)
    if not name.startswith(PREFIX) or not is_kept_version(version):
        return False
    return name.endswith(f"{RECORD}{NEW}") or (
        name.endswith(RECORD) and not (destination / version).exists()
    )


def _used(*paths: Path) -> float:
    """Return the time of the first of these paths that is there."""
    for path in paths:
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0
