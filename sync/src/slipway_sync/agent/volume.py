"""The destination directory: what a sync leaves there, and in which order.

    DESTINATION/
        3/                                   a whole, verified version, or nothing
        .slipway-3.json                      what was verified in it
        .slipway-3-0123456789ab.partial/     a sync under way, or what a killed one left
            files/                           becomes 3/ by one rename
            journal.jsonl                    files that were whole and verified, for the next run

Names that are no numbers are invisible to readers of versions. Everything below `files` is on disk
before the rename, and the rename is on disk before the sync says so; a crash at any moment leaves
the old version, the new one, or none.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_sync.agent.errors import SyncError, volume_errors
from slipway_sync.exports import ExitCode, ObjectInfo

_PREFIX = ".slipway-"
_SUFFIX = ".partial"
_RESERVE = 16 << 20
_RESERVE_PER_FILE = 8192


@dataclass(frozen=True, slots=True)
class Verified:
    """A version that lies on the volume and was verified there.

    Attributes:
        revision: What it was synced from.
        digest: `sha256:…` of its content.
        bytes: Its size.
        files: How many files it has.
    """

    revision: str
    digest: str
    bytes: int
    files: int


class Partial:
    """The directory of a sync under way. It is locked as long as this object is open."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock = lock
        self.files = path / "files"
        self._journal = path / "journal.jsonl"

    def close(self) -> None:
        """Let go of the directory; it stays for the next run."""
        os.close(self._lock)

    def verified_files(self) -> dict[tuple[str, int, str], bytes]:
        """Return the SHA-256 of files that an earlier run finished, by (path, size, ETag).

        They have to be hashed again before they are believed.
        """
        found: dict[tuple[str, int, str], bytes] = {}
        try:
            lines = self._journal.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return found
        for line in lines:
            try:
                entry = json.loads(line)
                key = (str(entry["path"]), int(entry["size"]), str(entry["etag"]))
                found[key] = bytes.fromhex(entry["sha256"])
            except (ValueError, KeyError, TypeError):
                continue  # The line that was being written when the run was killed.
        return {key: value for key, value in found.items() if self._size(key[0]) == key[1]}

    def note_verified(self, item: ObjectInfo, sha256: bytes) -> None:
        """Write down that a file is whole."""
        entry = {
            "path": item.path,
            "size": item.size,
            "etag": item.etag,
            "sha256": sha256.hex(),
        }
        with volume_errors(item.path), self._journal.open("a") as journal:
            journal.write(f"\n{json.dumps(entry)}\n")

    def create(self, path: str) -> int:
        """Create an empty file, with its directories, and return its descriptor."""
        with volume_errors(path):
            target = self.files / path
            target.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            return os.open(target, flags, 0o644)

    def keep_only(self, paths: frozenset[str]) -> None:
        """Remove all files but these; the others would only take up room until they come again."""
        with volume_errors():
            for path, _ in list(_files(self.files)):
                if path not in paths:
                    (self.files / path).unlink()

    def _size(self, path: str) -> int:
        try:
            found = (self.files / path).lstat()
        except (OSError, ValueError):
            return -1
        return found.st_size if stat.S_ISREG(found.st_mode) else -1


class Volume:
    """One version's place in the destination directory."""

    def __init__(self, destination: Path, version: int, revision: str) -> None:
        """Sync into `destination`, which is made if it is not there."""
        self._destination = destination
        self._version = version
        self._revision = revision
        self._target = destination / str(version)
        self._record = destination / f"{_PREFIX}{version}.json"
        self._partial = destination / f"{_PREFIX}{version}-{revision[:12]}{_SUFFIX}"

    def verified(self) -> Verified | None:
        """Return what is there already, if it is this revision and was not touched since.

        Cheap: sizes and times of modification are compared, nothing is read.
        """
        try:
            record = json.loads(self._record.read_text())
            if record["revision"] != self._revision:
                return None
            if {path: tuple(entry) for path, entry in record["files"].items()} != _stats(
                self._target
            ):
                return None
            return Verified(
                record["revision"], record["digest"], record["bytes"], len(record["files"])
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def open_partial(self) -> Partial:
        """Make or take up the directory of this sync and remove what other runs left.

        Raises:
            SyncError: It cannot be written, or another process works in it.
        """
        with volume_errors():
            (self._partial / "files").mkdir(parents=True, exist_ok=True)
            lock = _locked(self._partial)
            if lock is None:
                raise SyncError(
                    ExitCode.VOLUME_ERROR,
                    f"another sync of version {self._version} is at work in the destination",
                )
        try:
            self.remove_leftovers(but=self._partial)
        except BaseException:
            os.close(lock)
            raise
        return Partial(self._partial, lock)

    def remove_leftovers(self, *, but: Path | None = None) -> None:
        """Remove the directories of syncs that no process holds."""
        with volume_errors():
            for path in self._destination.iterdir():
                name = path.name
                if not (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
                    continue
                if path == but:
                    continue
                lock = _locked(path)
                if lock is not None:
                    try:
                        shutil.rmtree(path, ignore_errors=True)
                    finally:
                        os.close(lock)

    def require_space(self, count: int, files: int) -> None:
        """Check that bytes and files yet to come have room.

        Raises:
            SyncError: They have not.
        """
        with volume_errors():
            found = os.statvfs(self._destination)
        free = found.f_bavail * found.f_frsize
        needed = count + _RESERVE_PER_FILE * files
        # A small reserve on volumes large enough to have one: other files grow meanwhile.
        reserve = min(_RESERVE, found.f_blocks * found.f_frsize // 100)
        if count and needed + reserve > free:
            raise SyncError(
                ExitCode.VOLUME_ERROR,
                f"the volume is too small: {_mib(needed)} are needed, {_mib(free)} are free",
            )

    def install(self, partial: Partial, verified: Verified) -> None:
        """Give the version its number: everything to disk, then one rename.

        Raises:
            SyncError: The volume cannot be written.
        """
        with volume_errors():
            for directory in _directories(partial.files):
                _fsync(directory)
            if self._target.is_symlink() or self._target.is_file():
                self._target.unlink()
            elif self._target.exists():
                aside = self._partial.with_name(f"{_PREFIX}{self._version}-old{_SUFFIX}")
                shutil.rmtree(aside, ignore_errors=True)
                self._target.rename(aside)
                _fsync(self._destination)
            record: dict[str, Any] = {
                "revision": verified.revision,
                "digest": verified.digest,
                "bytes": verified.bytes,
                "files": _stats(partial.files),
            }
            # The record goes first: alone it says nothing, and no version is without one.
            _write_durably(self._record, json.dumps(record))
            partial.files.rename(self._target)
            _fsync(self._destination)
            shutil.rmtree(self._partial, ignore_errors=True)
        self.remove_leftovers()


def _locked(directory: Path) -> int | None:
    """Lock a directory against other syncs; None when another one has it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _stats(directory: Path) -> Mapping[str, tuple[int, int]]:
    """Return size and time of modification (nanoseconds) of every file, by relative path."""
    return {path: (found.st_size, found.st_mtime_ns) for path, found in _files(directory)}


def _files(directory: Path, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(directory / entry.name, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)


def _directories(top: Path) -> Iterator[Path]:
    """Yield the directories of a tree, the inner ones first."""
    for path, _, _ in os.walk(top, topdown=False):
        yield Path(path)


def _write_durably(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _fsync(path.parent)


def _fsync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mib(count: int) -> str:
    return f"{-(-count // (1 << 20))} MiB"
