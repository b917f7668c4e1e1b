"""Exports in a directory of this machine: file:///path."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from slipway_sync.exports import Listing, ObjectInfo, hostile_key, printable
from slipway_sync.stores.base import (
    PAGE,
    ObjectReplacedError,
    Pages,
    SourceError,
    checked_directory,
)
from slipway_sync.stores.inspection.listing_summary import listed

_CHUNK = 1 << 20


class LocalStore:
    """Version directories below a local path.

    Links to files are followed, links to directories inside a version are not (they may form
    loops); what is neither a file nor a directory is left out.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def children(self) -> tuple[str, ...]:
        """Name the version directories and their siblings (see Store)."""
        return await asyncio.to_thread(self._children)

    async def listing(self, directory: str) -> Listing:
        """List one version (see Store)."""
        return await listed(self, directory, printable(str(self._root / directory)))

    async def pages(self, directory: str) -> Pages:
        """List one version page by page, in order (see Store)."""
        base = self._root / checked_directory(directory)
        found = _walk(base, "")

        def page() -> list[ObjectInfo]:
            with _translated(self._root):
                self._root.stat()
                return list(islice(found, PAGE))

        while items := await asyncio.to_thread(page):
            yield items

    async def folders(self, directory: str, empty: Sequence[str]) -> frozenset[str]:  # noqa: ARG002
        """Return nothing: an empty file is a file (see Store)."""
        return frozenset()

    async def read(
        self, directory: str, path: str, *, start: int = 0, length: int | None = None
    ) -> bytes:
        """Read bytes of one object (see Store)."""
        return await asyncio.to_thread(
            self._read, self._root / checked_directory(directory) / path, start, length
        )

    async def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        """Yield bytes of one listed object (see Store)."""
        path = self._root / checked_directory(directory) / item.path
        try:
            with _translated(path):
                descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_NONBLOCK)
        except SourceError as error:
            if error.reason == "NotFound":
                raise ObjectReplacedError(item.path) from error
            raise
        try:
            end = start + length
            while start < end:
                with _translated(path):
                    chunk = await asyncio.to_thread(
                        os.pread, descriptor, min(_CHUNK, end - start), start
                    )
                    found = os.fstat(descriptor)
                if _etag(found) != item.etag or not chunk:
                    raise ObjectReplacedError(item.path)
                start += len(chunk)
                yield chunk
        finally:
            os.close(descriptor)

    async def delete(self, directory: str, paths: Sequence[str]) -> None:
        """Delete files of one version (see ErasableStore)."""
        await asyncio.to_thread(self._delete, checked_directory(directory), paths)

    async def delete_folders(self, directory: str) -> None:
        """Delete the empty directories of one version, and its own (see ErasableStore)."""
        await asyncio.to_thread(self._delete_folders, checked_directory(directory))

    def _delete(self, directory: str, paths: Sequence[str]) -> None:
        for path in paths:
            found = hostile_key([path])
            if found is not None:
                raise SourceError("InvalidSource", f"the name {printable(path)} {found[1]}")
            where = self._root / directory / path
            with _translated(where, "deleted"):
                where.unlink(missing_ok=True)

    def _delete_folders(self, directory: str) -> None:
        base = self._root / directory
        with _translated(base, "deleted"):
            for folder, _, _ in os.walk(base, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError as error:
                    if error.errno not in {errno.ENOTEMPTY, errno.ENOENT}:
                        raise

    async def ranged(self, directory: str, item: ObjectInfo) -> bool:  # noqa: ARG002
        """Say that it is so (see Store)."""
        return True

    def _children(self) -> tuple[str, ...]:
        with _translated(self._root), os.scandir(self._root) as found:
            return tuple(sorted(entry.name for entry in found if entry.is_dir()))

    @staticmethod
    def _read(path: Path, start: int, length: int | None) -> bytes:
        with _translated(path), path.open("rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)


def _walk(directory: Path, prefix: str) -> Iterator[ObjectInfo]:
    """Yield every file below a directory, sorted; what vanishes while it is walked is left out."""
    try:
        with os.scandir(directory) as entries:
            # With its slash a directory sorts among the files as its content does.
            names = sorted(
                f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in entries
            )
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.endswith("/"):
            yield from _walk(directory / name, prefix + name)
            continue
        try:
            found = (directory / name).stat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode):
            modified = datetime.fromtimestamp(found.st_mtime, UTC)
            yield ObjectInfo(prefix + name, found.st_size, _etag(found), modified)


def _etag(found: os.stat_result) -> str:
    """Changes when a file is written or another takes its place."""
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"


@contextmanager
def _translated(path: Path, how: str = "read") -> Iterator[None]:
    where = printable(str(path))
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise SourceError("NotFound", f"{where} does not exist") from error
    except PermissionError as error:
        raise SourceError("AccessDenied", f"{where} may not be {how} by this process") from error
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "unknown error")
        raise SourceError("Unavailable", f"{where} cannot be {how}: {name}") from error
