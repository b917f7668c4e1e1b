"""Whether a file on the volume is what it should be: size, SHA-256, and the checksum of each tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from slipway_sync.agent.errors import SyncError, volume_errors
from slipway_sync.exports import (
    ChecksumError,
    ExitCode,
    ObjectInfo,
    ShardChecker,
    TensorEntry,
    printable,
    wrong_digest,
)

_CHUNK = 256 << 10
"""Stays in the processor's cache between the checksum and the hash."""


class FileCheck:
    """Reads one file from its start, as far as it has come, and judges it when it is whole.

    A large file is read while its later parts are still on their way: what was just written is read
    from memory, and its end costs no more time than that of a small one.
    """

    def __init__(self, path: Path, item: ObjectInfo, tensors: Iterable[TensorEntry]) -> None:
        """Check the file at `path` against what was listed and what the index says; nothing is read yet."""
        self._path = path
        self._item = item
        self._hasher = hashlib.sha256()
        self._checker = ShardChecker(tensors)
        self._damage: ChecksumError | None = None
        self._file: FileIO | None = None
        self._size = 0

    def read(self, end: int) -> None:
        """Read on up to a position; a damage that is found waits for `finish`.

        Raises:
            SyncError: The volume cannot be read.
        """
        with volume_errors(self._item.path):
            if self._file is None:
                self._file = FileIO(self._path)
            while self._size < end and (chunk := self._file.read(min(_CHUNK, end - self._size))):
                self._size += len(chunk)
                self._hasher.update(chunk)
                self._feed(chunk)

    def finish(self, seal: Callable[[int], None] | None = None) -> bytes:
        """Read the rest; return the SHA-256 of the whole.

        Args:
            seal: Brings the file behind a descriptor to the disk.

        Raises:
            SyncError: The file is wrong, or the volume cannot be used.
        """
        item = self._item
        # One byte more than there may be: what is too long is not read to its end.
        self.read(max(item.size, self._size) + 1)
        with volume_errors(item.path):
            if seal is not None and self._file is not None:
                seal(self._file.fileno())
        self.close()
        if self._size != item.size:
            found = f"{self._size}" if self._size < item.size else "more"
            raise self._rejected(
                "WrongSize",
                f"{printable(item.path)} has {found} bytes on the volume, the source listed {item.size}",
            )
        try:
            if self._damage is not None:
                raise self._damage
            self._checker.finish()
        except ChecksumError as error:
            message = f"{printable(item.path)} is corrupt: {error}"
            raise self._rejected("CorruptShard", message) from error
        digest = self._hasher.hexdigest()
        # A store that has it for an ETag may speak of a file that has just been replaced.
        if item.sha256 == item.etag and item.sha256 not in {"", digest}:
            raise self._rejected(
                "WrongChecksum",
                f"{printable(item.path)} does not match the source: its SHA-256 is "
                f"{digest}, not {item.sha256}",
            )
        if item.sha256 and digest != item.sha256:
            wrong = wrong_digest(item.path, digest, item.sha256)
            raise self._rejected(wrong.reason, wrong.message)
        return self._hasher.digest()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _feed(self, chunk: bytes) -> None:
        if self._damage is None:
            try:
                self._checker.feed(chunk)
            except ChecksumError as error:
                self._damage = error

    def _rejected(self, reason: str, message: str) -> SyncError:
        return SyncError(ExitCode.REJECTED, message, reason=reason, path=self._item.path)
