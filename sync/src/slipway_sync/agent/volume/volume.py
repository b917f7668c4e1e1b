"""One version's place on a volume: what a sync does there, and in which order.

A version has its name only while all of it is verified. Everything below `files` is on disk before
the rename that gives the name, and the rename is on disk before the sync says so; a crash at any
moment leaves the old version, the new one, or none. What is found damaged loses its name first and
is repaired where it cannot be taken for a version. `layout.py` shows the names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slipway_sync.agent.errors import SyncError, volume_errors
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.agent.volume.filesystem import (
    FileSystem,
    make_directories,
    remove_tree,
    write_durably,
)
from slipway_sync.agent.volume.garbage_collection import Collector, Keep, KeepError, read_keep
from slipway_sync.agent.volume.journal import Journal, fsync_file
from slipway_sync.agent.volume.layout import FILES, JOURNAL, LOCK, Layout, gone_path, is_leftover
from slipway_sync.agent.volume.locks import WriterLock, in_use, lock_errors, wait_for
from slipway_sync.agent.volume.record import Record, read_record, versions_beside
from slipway_sync.agent.volume.staging import StagingDirectory
from slipway_sync.exports import ExitCode, Listing

__all__ = ["StagingDirectory", "Volume", "World"]

_MIB = 1 << 20
_RESERVE = 16 * _MIB
_RESERVE_PER_FILE = 8192


@dataclass(frozen=True, slots=True)
class World:
    """What the work on a volume takes from outside.

    Attributes:
        operations: How the volume is changed.
        clock: Returns seconds that never go back.
        now: Returns seconds of the Unix clock.
        log: Is given an event and a sentence for the log.
    """

    operations: FileSystem
    clock: Callable[[], float]
    now: Callable[[], float]
    log: Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to write, until it is closed.

    Attributes:
        lock: A descriptor whose lock says so.
        waited: Whether another writer was waited for.
    """

    lock: int
    waited: bool

    def close(self) -> None:
        """Let others write."""
        os.close(self.lock)


class Volume:
    """One version's place below a destination."""

    def __init__(self, layout: Layout, world: World, keep: Path | None = None) -> None:
        """Work below a destination, which is made if it is not there.

        Args:
            layout: Where the version lies.
            world: What is needed for it.
            keep: The file that names the versions to keep; None collects none.
        """
        self.layout = layout
        self._world = world
        self._operations = world.operations
        self._keep = keep

    def record(self) -> Record | None:
        """Return what was verified on the volume, if it is this revision; nothing is read of it."""
        found = read_record(self.layout.record)
        if found is None or found.revision != self.layout.revision:
            return None
        return found if self.layout.target.is_dir() else None

    @contextmanager
    def in_use(self) -> Iterator[bool]:
        """Keep the version from being collected; false when it is on its way out."""
        if not self.layout.kept:
            yield True
            return
        with suppress(OSError):
            # Somebody may have removed it by hand; without it no server could say what it uses.
            os.close(self._operations.open_lock(self.layout.target / LOCK))
        with in_use(self.layout.target, self._operations) as stays:
            self.refresh()
            yield stays

    def refresh(self) -> None:
        """Note that the version is in use now."""
        if self.layout.kept:
            # A volume that lets nobody set times lets the operator's list keep the version.
            with suppress(OSError):
                self._operations.touch(self.layout.record, self._world.now())

    async def acquire(self, retry: RetryPolicy) -> Turn:
        """Become the writer: on a kept volume the only one, else the only one of this revision.

        Raises:
            SyncError: The volume cannot be written or locked.
        """
        if not self.layout.kept:
            with volume_errors():
                return Turn(self._own_partial(), waited=False)
        lock = WriterLock(self.layout, self._operations)
        try:
            waited = await wait_for(
                lock, retry, self._world.clock, self._world.now, self._world.log
            )
            return Turn(lock.taken(), waited)
        finally:
            lock.close()

    def open_partial(self) -> StagingDirectory:
        """Make or take up the directory of this sync; for the writer only."""
        with volume_errors():
            changed = make_directories(self._operations, self.layout.partial / FILES)
            for directory in {*changed, self.layout.destination}:
                self._operations.fsync_directory(directory)
        return StagingDirectory(
            self.layout.partial, self._operations, self._world.clock, kept=self.layout.kept
        )

    def take_apart(self, record: Record, good: frozenset[str], listing: Listing) -> None:
        """Take its name from a damaged version and make it a sync under way that lacks some files.

        The directory itself stays what it is: pods that mounted it see the repaired files.

        Args:
            record: What was verified in it.
            good: Paths of the files that are still right.
            listing: Of the source.
        """
        partial = self.layout.partial
        with volume_errors():
            for directory in make_directories(self._operations, partial):
                # Else a power failure could lose the directory, and with it all that moves there.
                self._operations.fsync_directory(directory)
            remove_tree(self._operations, partial / FILES)
            with suppress(FileNotFoundError):
                self._operations.unlink(partial / JOURNAL)
            journal = Journal(
                partial / JOURNAL, self.layout.target, self._operations, self._world.clock
            )
            for item in listing:
                entry = record.files.get(item.path)
                if item.path in good and entry is not None and entry.etag == item.etag:
                    journal.note(item, bytes.fromhex(entry.sha256))
            if (partial / JOURNAL).exists():
                fsync_file(self._operations, partial / JOURNAL)
            self._operations.fsync_directory(partial)
            self._operations.rename(self.layout.target, partial / FILES)
            self._operations.fsync_directory(partial)
            self._operations.fsync_directory(self.layout.destination)

    def tidy(self, *, done: bool = False) -> None:
        """Remove what is not needed any more, before room is counted; for the writer only.

        Args:
            done: The version is there: what an earlier run left of its sync can go, too.
        """
        with volume_errors(), lock_errors():
            if not self.layout.kept:
                self._remove_leftovers()
                return
            keep = self._wanted()
            collector = Collector(
                self.layout.destination,
                self.layout.identity,
                self._operations,
                self._world.now,
                self._world.log,
            )
            collector.tidy(keep or frozenset())
            if keep is not None:
                collector.collect(keep)
            if done:
                remove_tree(self._operations, self.layout.partial)

    def tidy_if_free(self) -> None:
        """Do the same when the version is there, unless another sync writes."""
        if not self.layout.kept:
            self.tidy()
            return
        lock = WriterLock(self.layout, self._operations)
        try:
            if lock.attempt():
                self.tidy(done=True)
        except SyncError as error:
            # The version is there and right; that the volume cannot be tidied harms nobody now.
            self._world.log("keeping", f"nothing is removed from the volume: {error}")
        finally:
            lock.close()

    def require_space(self, count: int, files: int) -> None:
        """Check that bytes and files yet to come have room.

        Raises:
            SyncError: They have not.
        """
        with volume_errors():
            found = os.statvfs(self.layout.destination)
        free = found.f_bavail * found.f_frsize
        # A small reserve on volumes large enough to have one: other files grow meanwhile.
        reserve = min(_RESERVE, found.f_blocks * found.f_frsize // 100)
        needed = count + _RESERVE_PER_FILE * files + reserve
        if count and needed > free:
            raise SyncError(
                ExitCode.VOLUME_ERROR,
                f"the volume is too small: {-(-needed // _MIB)} MiB are needed, "
                f"{free // _MIB} MiB are free",
            )
        # (Some file systems have no fixed number of files and say 0.)
        if found.f_files and files > found.f_favail:
            raise SyncError(
                ExitCode.VOLUME_ERROR,
                f"the volume has room for {found.f_favail} more files, {files} are needed",
            )

    def install(self, partial: StagingDirectory, record: Record) -> None:
        """Give the version its name: everything to disk, then one rename.

        Raises:
            SyncError: The volume cannot be written.
        """
        target, destination = self.layout.target, self.layout.destination
        aside = gone_path(destination, self.layout.identity)
        with volume_errors():
            partial.finish()
            if target.is_symlink() or target.is_file():
                self._operations.unlink(target)
            elif target.exists():
                remove_tree(self._operations, aside)
                self._operations.rename(target, aside)
                self._operations.fsync_directory(destination)
            # The record goes first: alone it says nothing, and no version is without one.
            write_durably(self._operations, self.layout.record, record.render())
            self._operations.rename(partial.files, target)
            self._operations.fsync_directory(destination)
            self.refresh()
            partial.discard()
            remove_tree(self._operations, aside)

    def others(self) -> Iterator[tuple[Path, Record]]:
        """Yield the other versions of a kept volume, and what was verified in them."""
        if self.layout.kept:
            with volume_errors():
                yield from versions_beside(self.layout)

    def _wanted(self) -> Keep | None:
        """Return what is to be kept; None when that is not known."""
        if self._keep is None:
            return None
        try:
            return read_keep(self._keep)
        except KeepError as error:
            self._world.log(
                "keeping", f"no version is removed: {self._keep} is not usable: {error}"
            )
            return None

    def _own_partial(self) -> int:
        changed = make_directories(self._operations, self.layout.partial)
        for directory in changed:
            self._operations.fsync_directory(directory)
        lock = self._locked(self.layout.partial)
        if lock is None:
            raise SyncError(
                ExitCode.VOLUME_ERROR,
                f"another sync of version {self.layout.version} is running in the destination",
            )
        return lock

    def _locked(self, directory: Path) -> int | None:
        """Lock a directory against other syncs; None when another one has it."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            locked = self._operations.lock(descriptor, exclusive=True)
        except BaseException:
            os.close(descriptor)
            raise
        if not locked:
            os.close(descriptor)
            return None
        return descriptor

    def _remove_leftovers(self) -> None:
        """Remove the directories of syncs that no process holds, and of versions on their way out."""
        for path in self.layout.destination.iterdir():
            if not is_leftover(path.name):
                continue
            lock = self._locked(path)
            if lock is not None:
                try:
                    remove_tree(self._operations, path)
                finally:
                    os.close(lock)
