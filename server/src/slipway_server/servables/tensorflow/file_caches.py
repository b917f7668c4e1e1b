"""Lets the kernel forget files that nobody will read again: their pages count as this container's memory."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def forget_files(directory: Path) -> None:
    """Drop all files under a directory from the page cache. What cannot be dropped stays; that is no error."""
    for path in _files(directory):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _files(directory: Path) -> Iterator[str]:
    for folder, _, names in os.walk(directory):
        for name in names:
            yield os.path.join(folder, name)  # noqa: PTH118 - a Path for each file would be made for nothing
