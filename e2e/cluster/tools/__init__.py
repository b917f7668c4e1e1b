"""The pinned programs of the local cluster: found in a folder or the cache, or built."""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from cluster import paths
from cluster.errors import ClusterError
from cluster.progress import note
from cluster.tools import catalog, golang
from cluster.tools.catalog import GROUPS, Group
from cluster.tools.golang import Go

__all__ = ["GROUPS", "find", "missing", "programs"]

GIVEN = "SLIPWAY_TOOLS"
"""Environment variable: a folder of ready-made programs, which are taken as they are."""

MODULES = Path(__file__).resolve().parent


def programs() -> tuple[str, ...]:
    """Every tool's name, in the order in which building them is quickest."""
    return tuple(name for group in GROUPS for name in group.programs)


def missing() -> tuple[str, ...]:
    """The tools that would have to be built, because they are nowhere yet."""
    return tuple(name for name in programs() if _given(name) is None and not _built(name).exists())


@cache
def find(name: str) -> Path:
    """The program's path; builds it if it is nowhere yet (seconds to minutes, with progress lines).

    Raises:
        ClusterError: there is no such tool, or it could not be built; with the end of the
            compiler's output.
    """
    group = catalog.group_of(name)
    given = _given(name)
    if given is not None:
        return given
    path = _built(name)
    if not path.exists():
        with _only_one_build():
            if not path.exists():
                _build(group, name, path)
    return path


def _given(name: str) -> Path | None:
    folder = os.environ.get(GIVEN)
    if not folder:
        return None
    path = Path(folder).resolve() / name
    return path if os.access(path, os.X_OK) else None


def _built(name: str) -> Path:
    """Where the program lies in the cache once it is built."""
    return paths.cache() / "tools" / _key(catalog.group_of(name)) / name


@cache
def _go() -> Go:
    return golang.find()


def _key(group: Group) -> str:
    folder = MODULES / group.name
    files = [(path.name, path.read_bytes()) for path in folder.iterdir() if path.is_file()]
    return catalog.key(group, files, _go().version)


@contextmanager
def _only_one_build() -> Iterator[None]:
    # One lock for all programs: two compilers at once only slow each other down.
    lock = paths.cache() / "tools" / "build.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("  waiting for another process that builds tools …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(group: Group, name: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{name}.{os.getpid()}")
    note(f"  build {name} …")
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [
                *(_go().program, "build", "-trimpath", "-buildvcs=false"),
                *("-ldflags", group.linker_flags),
                *("-o", str(draft), group.programs[name]),
            ],
            cwd=MODULES / group.name,
            env={**_go().environment(), "CGO_ENABLED": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = "\n".join(f"  | {line}" for line in done.stdout.splitlines()[-15:])
            raise ClusterError(f"building {name} failed ({done.returncode}):\n{said}")
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    note(f"  build {name}: {time.monotonic() - begun:.0f} s")
