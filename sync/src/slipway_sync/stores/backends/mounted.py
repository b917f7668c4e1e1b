"""Exports on a mounted volume that somebody else writes to: pvc://claim/path.

Every path is walked from the mount down, one name after the other, and no link is followed on the
way: whatever lies in the volume, nothing outside the directory is read. What is neither a file nor a
directory is listed by its kind, so that the proof can name it, and is never opened.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from slipway_sync.exports import Listing, ObjectInfo, Proof, Verdict, printable
from slipway_sync.stores.base import (
    MOST_CHILDREN,
    ObjectReplacedError,
    Pages,
    SourceError,
    checked_directory,
    paged,
)

_CHUNK = 1 << 20
_MAX_OBJECTS = 200_000
_MAX_PATH_BYTES = 1024
_VERSION = re.compile(r"[0-9]{1,255}", re.ASCII)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class MountedStore:
    """Version directories at a path of a mounted volume."""

    def __init__(self, mount: Path, path: str = "") -> None:
        """Read below `mount`/`path`; `path` is relative and may be empty."""
        self._mount = mount
        self._steps = tuple(step for step in path.split("/") if step)
        self._where = printable("/".join(self._steps)) if self._steps else "the volume"

    async def children(self) -> tuple[str, ...]:
        """Name the directories that could be versions (see Store)."""
        return (await asyncio.to_thread(self._entries))[0]

    async def entries(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Name the directories that could be versions, and what bears such a name but is none."""
        return await asyncio.to_thread(self._entries)

    async def listing(self, directory: str) -> Listing:
        """List one version (see Store); an object that is no file has a kind for its ETag."""
        return await asyncio.to_thread(self._listing, checked_directory(directory))

    async def pages(self, directory: str) -> Pages:
        """List one version page by page (see Store)."""
        async for page in paged(await self.listing(directory)):
            yield page

    async def folders(self, directory: str, empty: Sequence[str]) -> frozenset[str]:  # noqa: ARG002
        """Return nothing: an empty file is a file (see Store)."""
        return frozenset()

    async def read(
        self, directory: str, path: str, *, start: int = 0, length: int | None = None
    ) -> bytes:
        """Read bytes of one file (see Store)."""

        def read() -> bytes:
            with self.opened(directory, path) as file:
                file.seek(start)
                return file.read(-1 if length is None else length)

        return await asyncio.to_thread(read)

    async def ranged(self, directory: str, item: ObjectInfo) -> bool:  # noqa: ARG002
        """Say that it is so (see Store)."""
        return True

    async def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        """Yield bytes of one listed file (see Store)."""
        try:
            file = await asyncio.to_thread(self._open, directory, item.path)
        except SourceError as error:
            if error.reason == "NotFound":
                raise ObjectReplacedError(item.path) from error
            raise
        with file:
            end = start + length
            while start < end:
                with self._translated(item.path):
                    chunk = await asyncio.to_thread(
                        os.pread, file.fileno(), min(_CHUNK, end - start), start
                    )
                if not chunk or not unchanged(file, item):
                    raise ObjectReplacedError(item.path)
                start += len(chunk)
                yield chunk

    @contextmanager
    def opened(self, directory: str, path: str) -> Iterator[BinaryIO]:
        """Open one file of a version for reading.

        Raises:
            SourceError: It is not there, may not be read, or is no file.
        """
        with self._open(directory, path) as file, self._translated(path):
            yield file

    def _open(self, directory: str, path: str) -> BinaryIO:
        *steps, name = path.split("/")
        with self._translated(path):
            descriptor = self._descend((*self._steps, checked_directory(directory), *steps))
            try:
                # Asked first: to open a device can be more than to look at it.
                _require_file(os.stat(name, dir_fd=descriptor, follow_symlinks=False))
                file = os.open(name, _FILE, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            try:
                _require_file(os.fstat(file))
            except BaseException:
                os.close(file)
                raise
            return os.fdopen(file, "rb", buffering=0)

    def _descend(self, steps: tuple[str, ...]) -> int:
        """Open a directory below the mount without following a link; the caller closes it."""
        current = os.open(self._mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for step in steps:
            if step in ("", ".", ".."):
                os.close(current)
                raise SourceError(
                    "InvalidSource", f"{printable(step)!r} is not a valid path segment"
                )
            try:
                following = os.open(step, _DIRECTORY, dir_fd=current)
            finally:
                os.close(current)
            current = following
        return current

    def _entries(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        directories: list[str] = []
        others: list[str] = []
        with self._translated(""):
            descriptor = self._descend(self._steps)
            try:
                with os.scandir(descriptor) as found:
                    for entry in found:
                        if not _VERSION.fullmatch(entry.name):
                            continue
                        is_directory = entry.is_dir(follow_symlinks=False)
                        (directories if is_directory else others).append(entry.name)
                        if len(directories) + len(others) > MOST_CHILDREN:
                            raise SourceError(
                                "InvalidSource",
                                f"{self._where} contains more than {MOST_CHILDREN} entries with integer names",
                            )
            finally:
                os.close(descriptor)
        return tuple(sorted(directories)), tuple(sorted(others))

    def _listing(self, directory: str) -> Listing:
        with self._translated(""):
            os.close(self._descend(self._steps))
        objects: list[ObjectInfo] = []
        with self._translated(directory):
            for item in self._walk(directory):
                objects.append(item)
                if len(objects) > _MAX_OBJECTS:
                    raise SourceError(
                        "InvalidSource", f"{directory} contains more than {_MAX_OBJECTS} files"
                    )
        return tuple(sorted(objects, key=lambda item: item.path))

    def _walk(self, directory: str) -> Iterator[ObjectInfo]:
        """Yield everything below a version that is no directory; what vanishes is left out."""
        prefixes = [""]
        while prefixes:
            prefix = prefixes.pop()
            steps = (*self._steps, directory, *prefix.split("/")[:-1])
            try:
                descriptor = self._descend(steps)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        path = prefix + entry.name
                        try:
                            found = entry.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            continue
                        deeper = len(os.fsencode(path)) <= _MAX_PATH_BYTES
                        if stat.S_ISDIR(found.st_mode) and deeper:
                            prefixes.append(f"{path}/")
                        else:
                            yield _info(path, found)
            finally:
                os.close(descriptor)

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        where = f"{self._where}: {printable(path)}" if path else self._where
        try:
            yield
        except FileNotFoundError as error:
            raise SourceError("NotFound", f"{where} does not exist in the volume") from error
        except PermissionError as error:
            raise SourceError(
                "AccessDenied",
                f"{where} may not be read by user {os.getuid()}: let every user read the volume's "
                "files and enter its directories",
            ) from error
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise SourceError(
                    "InvalidSource",
                    f"{where} is not a directory, or its path contains a symbolic link: links are not "
                    "followed",
                ) from error
            name = errno.errorcode.get(error.errno or 0, "unknown error")
            raise SourceError("Unavailable", f"{where} cannot be read: {name}") from error


def unchanged(file: BinaryIO, item: ObjectInfo) -> bool:
    """Whether an open file is still the one that was listed."""
    return _info(item.path, os.fstat(file.fileno())).etag == item.etag


def not_a_file(listing: Listing) -> Proof | None:
    """Reject a version that holds something else than files; None when it does not."""
    kinds = set(_KINDS.values())
    for item in listing:
        if item.etag in kinds:
            return Proof(
                Verdict.REJECTED,
                "NotAFile",
                f"{printable(item.path)} is {item.etag}: a version on a volume is served in place "
                "lies and may hold files and directories only; put a copy of the file there",
                item.path,
            )
    return None


def _require_file(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SourceError("InvalidSource", "it was a file when it was listed and no longer is")


def _info(path: str, found: os.stat_result) -> ObjectInfo:
    modified = datetime.fromtimestamp(max(0, min(found.st_mtime, 253402300799)), UTC)
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is not None:
        return ObjectInfo(path, 0, kind, modified)
    # No inode number: several nodes read one volume, and not every file system gives them the same.
    return ObjectInfo(path, found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}", modified)
