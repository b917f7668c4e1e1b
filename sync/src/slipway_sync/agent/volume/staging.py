"""The directory in which a version comes together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from slipway_sync.agent.errors import volume_errors
from slipway_sync.agent.volume.filesystem import (
    FileSystem,
    files_below,
    make_directories,
    remove_tree,
    write_all,
)
from slipway_sync.agent.volume.journal import Journal, Key
from slipway_sync.agent.volume.layout import FILES, JOURNAL, LOCK, is_besides
from slipway_sync.exports import ObjectInfo


class StagingDirectory:
    """A version under way, for the process whose turn it is to write."""

    def __init__(
        self,
        path: Path,
        operations: FileSystem,
        clock: Callable[[], float],
        *,
        kept: bool,
    ) -> None:
        """Take up a directory.

        Args:
            path: The directory, which is there.
            operations: How it is changed.
            clock: Returns seconds that never go back.
            kept: Whether other versions may share its files later: they become read-only.
        """
        self.files = path / FILES
        self._path = path
        self._operations = operations
        self._kept = kept
        self._journal = Journal(path / JOURNAL, self.files, operations, clock)

    def verified_files(self) -> dict[Key, bytes]:
        """Return the SHA-256 of files that an earlier run finished, by (path, size, ETag).

        They have to be hashed again before they are believed.
        """
        return self._journal.read()

    def note_verified(self, item: ObjectInfo, sha256: bytes) -> None:
        """Write down that a file is whole and sealed."""
        with volume_errors(item.path):
            self._journal.note(item, sha256)

    def create(self, path: str) -> int:
        """Create an empty file, with its directories, and return its descriptor.

        A file that is there is replaced, never written: other versions may share it.
        """
        with volume_errors(path):
            return self._operations.create(self._room_for(path))

    def write(self, descriptor: int, data: bytes | memoryview, at: int) -> None:
        """Write bytes at a position of a file that `create` opened; raises OSError."""
        write_all(self._operations, descriptor, data, at)

    def splice(self, pipe: int, descriptor: int, count: int, at: int) -> int:
        """Move up to `count` bytes from a pipe to a position of such a file; raises OSError."""
        return self._operations.splice(pipe, descriptor, count, at)

    def seal(self, descriptor: int) -> None:
        """Bring a whole file to the disk: nobody writes it from now on; raises OSError."""
        if self._kept:
            self._operations.make_read_only(descriptor)
        self._operations.fsync(descriptor)

    def link(self, source: Path, path: str) -> None:
        """Take over a file of another version as it is; raises OSError."""
        self._operations.link(source, self._room_for(path))

    def keep_only(self, paths: frozenset[str]) -> None:
        """Remove all files but these; the others would only take up room until they come again."""
        with volume_errors():
            for path, _ in list(files_below(self.files)):
                if path not in paths and not is_besides(path):
                    self._operations.unlink(self.files / path)

    def finish(self) -> None:
        """Bring every directory to the disk; on a kept volume add what servers lock; raises OSError."""
        if self._kept and not (self.files / LOCK).exists():
            os.close(self._operations.open_lock(self.files / LOCK))
        for directory, _, _ in os.walk(self.files, topdown=False):
            self._operations.fsync_directory(Path(directory))

    def discard(self) -> None:
        """Remove what is left of the directory."""
        remove_tree(self._operations, self._path)

    def _room_for(self, path: str) -> Path:
        """Make the directories of a file, and see to it that there is none of its name."""
        target = self.files / path
        self._journal.changed(make_directories(self._operations, target.parent))
        try:
            self._operations.unlink(target)
        except FileNotFoundError:
            pass
        except IsADirectoryError:  # Somebody's, in a version that is being mended.
            remove_tree(self._operations, target)
        return target
