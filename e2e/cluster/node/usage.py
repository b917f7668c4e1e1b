"""Who uses the node: a process that works with it is not to have it taken away by another one."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cluster import proc
from cluster.errors import ClusterError

LOCKS = Path("/proc/locks")

_held: dict[Path, IO[str]] = {}
"""This process's own hold on each node: one, however many objects stand for the node."""


def hold(state: Path) -> None:
    """Marks the node as used by this process, until the process ends or takes the node down."""
    if state not in _held:
        file = _lock_file(state).open("w")
        fcntl.flock(file, fcntl.LOCK_SH)
        _held[state] = file


def release(state: Path) -> None:
    """Takes this process's mark away."""
    file = _held.pop(state, None)
    if file is not None:
        file.close()


@contextmanager
def alone(state: Path, *, force: bool = False) -> Iterator[None]:
    """For what would pull the node from under others; ends this process's own mark.

    Args:
        state: the node's state folder.
        force: do it whoever uses the node.

    Raises:
        ClusterError: another process uses the node; says which.
    """
    release(state)
    path = _lock_file(state)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not force:
                users = ", ".join(_described(pid) for pid in _holders(path))
                raise ClusterError(
                    f"another process uses the local cluster: {users or 'just now'}; let it end "
                    "first, or end it (`python -m cluster down --force` goes ahead all the same)"
                ) from error
        yield


def lock_holders(locks: str, inode: int) -> tuple[int, ...]:
    """The pids that hold a lock on a file.

    Args:
        locks: the text of /proc/locks, lines `N: FLOCK ADVISORY READ PID MAJOR:MINOR:INODE 0 EOF`;
            those that wait have `->` after the number.
        inode: the file's number.
    """
    words = (line.split() for line in locks.splitlines())
    return tuple(
        int(line[4])
        for line in words
        if line[1:2] == ["FLOCK"] and line[5].rpartition(":")[2] == str(inode)
    )


def _holders(path: Path) -> tuple[int, ...]:
    return lock_holders(LOCKS.read_text(), path.stat().st_ino)


def _described(pid: int) -> str:
    for process in proc.processes():
        if process.stat.pid == pid:
            return f"pid {pid} ({' '.join(map(os.path.basename, process.arguments))[:60]})"
    return f"pid {pid}"


def _lock_file(state: Path) -> Path:
    state.parent.mkdir(parents=True, exist_ok=True)
    return state.parent / f"{state.name}.users"
