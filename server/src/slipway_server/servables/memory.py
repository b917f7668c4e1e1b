"""Memory: how much there is and is left, in the machine and in the container, and giving it back."""

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from slipway_server.storage.directories import walk

_CGROUPS: Final = Path("/sys/fs/cgroup")
_PROC: Final = Path("/proc")


def memory_limit(cgroups: Path = _CGROUPS, proc: Path = _PROC) -> int:
    """Return the bytes that this process can have: the least of the machine's and of the limits of its control groups.

    Returns:
        0 if nothing says how many.
    """
    groups = _text(proc / "self" / "cgroup")
    found = [_fields(_text(proc / "meminfo")).get("MemTotal:", 0) * 1024]
    for folder, name, group in (
        (cgroups, "memory.max", _own_group(groups)),
        (cgroups / "memory", "memory.limit_in_bytes", _own_group(groups, "memory")),
    ):
        # A container often sees its own group as the root, though it is told the path on the host.
        for above in (group, *group.parents):
            limit = _text(folder / above.relative_to("/") / name).strip()
            found.append(int(limit) if limit.isdecimal() else 0)
    return min((size for size in found if size), default=0)


def free_memory(cgroups: Path = _CGROUPS, proc: Path = _PROC) -> int:
    """Return the bytes that are free: the least that the machine and any control group above this process say."""
    group = _own_group(_text(proc / "self" / "cgroup"))
    found = [available(_text(proc / "meminfo"))]
    # In a container's own namespace the group is called `/` and its files lie at the root.
    for above in (group, *group.parents):
        folder = cgroups / above.relative_to("/")
        free = left_in_group(
            _text(folder / "memory.max"),
            _text(folder / "memory.current"),
            _text(folder / "memory.stat"),
        )
        if free is not None:
            found.append(free)
    return min(found)


def release_free_memory() -> None:
    """Give the kernel back what the C library keeps of freed memory; elsewhere than with glibc, do nothing."""
    if (trim := _malloc_trim()) is not None:
        trim(0)


def forget_files(directory: Path) -> None:
    """Drop all files under a directory from the page cache, which counts as this container's memory.

    What cannot be dropped stays; that is no error.
    """
    for entry in walk(str(directory)):
        with suppress(OSError):
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def available(meminfo: str) -> int:
    r"""Read the machine's available bytes from /proc/meminfo.

    >>> available("MemTotal: 8 kB\nMemAvailable:  4 kB\n")
    4096
    """
    return _fields(meminfo).get("MemAvailable:", 0) * 1024


def left_in_group(limit: str, current: str, stat: str) -> int | None:
    r"""Return the bytes left in a control group; None when it has no limit. What its file cache holds counts as left.

    >>> left_in_group("1000\n", "700\n", "anon 500\ninactive_file 150\n")
    450
    >>> left_in_group("max\n", "700\n", "")
    """
    if not limit.strip().isdecimal() or not current.strip().isdecimal():
        return None
    cache = _fields(stat).get("inactive_file", 0)
    return max(int(limit) - int(current) + cache, 0)


def _own_group(text: str, controller: str = "") -> PurePosixPath:
    """Return the group of version 2, or that of a controller of version 1."""
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(",") and path.startswith("/"):
            return PurePosixPath(path)
    return PurePosixPath("/")


def _fields(text: str) -> Mapping[str, int]:
    return dict(_pairs(text))


def _pairs(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdecimal():
            yield words[0], int(words[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
