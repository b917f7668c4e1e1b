"""Which files of a sync under way are whole, for the run after a crash.

A line is written when a file's content is on the disk. From time to time the directories and then
the journal follow it there: after a kill every line holds, after a power failure those up to the
last of these points; a line whose file is missing is not believed, nor is any file that does not
have its hash.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from slipway_sync.agent.volume.filesystem import FileSystem, is_regular
from slipway_sync.exports import ObjectInfo

_PERIOD = 5.0
"""Seconds of work that a power failure may cost, beside the file under way."""

Key = tuple[str, int, str]
"""Path, size and ETag: what makes a file of a listing the one that was brought."""


class Journal:
    """The journal of one partial directory. Its methods may be called from several threads."""

    def __init__(
        self, path: Path, files: Path, operations: FileSystem, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._files = files
        self._operations = operations
        self._clock = clock
        self._last = clock()
        self._dirty: set[Path] = set()
        self._lock = threading.Lock()

    def read(self) -> dict[Key, bytes]:
        """Return the SHA-256 of the files that were noted and still have their size."""
        found: dict[Key, bytes] = {}
        try:
            lines = self._path.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return found
        for line in lines:
            try:
                entry = json.loads(line)
                key = (str(entry["path"]), int(entry["size"]), str(entry["etag"]))
                found[key] = bytes.fromhex(entry["sha256"])
            except (ValueError, KeyError, TypeError):
                continue  # The line that was being written when the run was killed.
        return {key: sha for key, sha in found.items() if is_regular(self._files / key[0], key[1])}

    def changed(self, directories: Iterable[Path]) -> None:
        """Say that directories got new entries."""
        with self._lock:
            self._dirty.update(directories)

    def note(self, item: ObjectInfo, sha256: bytes) -> None:
        """Write down that a file is whole and on the disk."""
        entry = {"path": item.path, "size": item.size, "etag": item.etag, "sha256": sha256.hex()}
        with self._lock:
            self._operations.append(self._path, f"\n{json.dumps(entry)}\n".encode())
            self._dirty.add((self._files / item.path).parent)
            if self._clock() - self._last >= _PERIOD:
                self._checkpoint()

    def _checkpoint(self) -> None:
        for directory in sorted(self._dirty):
            self._operations.fsync_directory(directory)
        self._dirty.clear()
        fsync_file(self._operations, self._path)
        self._operations.fsync_directory(self._path.parent)
        self._last = self._clock()


def fsync_file(operations: FileSystem, path: Path) -> None:
    """Bring a file's content to the disk."""
    with path.open("rb") as file:
        operations.fsync(file.fileno())
