"""Every operation that changes a volume, in one place.

What a sync leaves behind when it is killed, when the power goes, or when the disk is full depends on
the order of these calls and on nothing else; tests record that order, replay parts of it, and let
single calls fail.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NEW = ".new"
"""Ends the name of a file that is about to take another one's place."""
READ_ONLY = 0o444
_FILE_MODE = 0o644
_NO_DIRECTORY_FSYNC = frozenset({errno.EINVAL, errno.ENOTSUP})


class FileSystem:
    """The real operations. Each may raise OSError."""

    def make_directory(self, path: Path) -> None:
        """Make one directory, which must not be there."""
        os.mkdir(path)  # noqa: PTH102 - one system call, seen as such

    def create(self, path: Path) -> int:
        """Create a file that must not be there; return a descriptor to read and write it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.open(path, flags, _FILE_MODE)

    def open_lock(self, path: Path) -> int:
        """Open a lock file, create it if need be; return a descriptor to read and write it."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _FILE_MODE)

    def lock(self, descriptor: int, *, exclusive: bool) -> bool:
        """Lock an open file without waiting; False when somebody else's lock is in the way."""
        how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def pwrite(self, descriptor: int, data: memoryview | bytes, at: int) -> int:
        """Write bytes at a position; return how many were written."""
        return os.pwrite(descriptor, data, at)

    def splice(self, pipe: int, descriptor: int, count: int, at: int) -> int:
        """Move bytes from a pipe to a position; return how many were moved."""
        return os.splice(pipe, descriptor, count, offset_dst=at)

    def append(self, path: Path, data: bytes) -> None:
        """Add bytes to the end of a file, which is created if need be."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(path, flags, _FILE_MODE)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)

    def make_read_only(self, descriptor: int) -> None:
        """Take away everybody's permission to write a file."""
        os.fchmod(descriptor, READ_ONLY)

    def fsync(self, descriptor: int) -> None:
        """Bring an open file's content to the disk."""
        os.fsync(descriptor)

    def fsync_directory(self, path: Path) -> None:
        """Bring a directory's entries to the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems write entries at once and refuse the question.
            if error.errno not in _NO_DIRECTORY_FSYNC:
                raise
        finally:
            os.close(descriptor)

    def link(self, source: Path, target: Path) -> None:
        """Give a file, or a symbolic link itself, a second name."""
        os.link(source, target, follow_symlinks=False)

    def rename(self, source: Path, target: Path) -> None:
        """Move a name; a file that has the new name is replaced."""
        os.rename(source, target)  # noqa: PTH104 - one system call, seen as such

    def unlink(self, path: Path) -> None:
        """Remove a name that is no directory's."""
        os.unlink(path)  # noqa: PTH108 - one system call, seen as such

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        os.rmdir(path)  # noqa: PTH106 - one system call, seen as such

    def touch(self, path: Path, seconds: float) -> None:
        """Set a file's times, in seconds of the Unix clock."""
        os.utime(path, (seconds, seconds))


def make_directories(operations: FileSystem, path: Path) -> list[Path]:
    """Make a directory and those above it; return the directories that got a new entry."""
    changed: list[Path] = []
    try:
        operations.make_directory(path)
    except FileNotFoundError:
        changed = make_directories(operations, path.parent)
        with suppress(FileExistsError):  # Another sync makes the same ones.
            operations.make_directory(path)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        return changed
    return [*changed, path.parent]


def write_all(operations: FileSystem, descriptor: int, data: bytes | memoryview, at: int) -> None:
    """Write all of some bytes at a position."""
    view = memoryview(data)
    while view:
        written = operations.pwrite(descriptor, view, at)
        view = view[written:]
        at += written


def write_durably(operations: FileSystem, path: Path, data: bytes) -> None:
    """Put a whole file in the place of another: readers see the old one or the new one."""
    temporary = path.with_name(f"{path.name}{NEW}")
    with suppress(FileNotFoundError):
        operations.unlink(temporary)
    descriptor = operations.create(temporary)
    try:
        write_all(operations, descriptor, data, 0)
        operations.fsync(descriptor)
    finally:
        os.close(descriptor)
    operations.rename(temporary, path)
    operations.fsync_directory(path.parent)


def remove_tree(operations: FileSystem, top: Path) -> None:
    """Remove a directory with all that is in it, as far as the volume lets us.

    What cannot be removed stays and does no harm: it has a name that nobody reads.
    """
    with suppress(OSError):
        for directory, directories, names in os.walk(top, topdown=False):
            for name in names:
                operations.unlink(Path(directory, name))
            for name in directories:
                child = Path(directory, name)
                if child.is_symlink():
                    operations.unlink(child)
                else:
                    operations.remove_directory(child)
        operations.remove_directory(top)


def files_below(directory: Path, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield the relative path and the status of everything in a tree that is no directory."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(directory / entry.name, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)


def is_regular(path: Path, size: int) -> bool:
    """Tell whether a path is a file of a given size."""
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size
