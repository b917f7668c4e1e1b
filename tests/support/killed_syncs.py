"""Syncs that are killed for real: a process of its own starts them and outlives them.

Reads a line of JSON for each sync from its standard input and answers with one word: `killed` or `ended`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typing_extensions import override

from slipway_sync.agent.volume.filesystem import FileSystem


class Killed(FileSystem):
    """Kills this process before one of the operations."""

    def __init__(self, at: int) -> None:
        self._left = at
        self._lock = threading.Lock()

    @override
    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found
        with self._lock:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
        return found


class Starter:
    """The process that starts syncs and sees them die."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def sync(self, **order: Any) -> str:
        """Run one sync; `at` is the operation before which it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order, default=str) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def starter() -> Iterator[Starter]:
    """Start the process; it ends with its standard input."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield Starter(process)


def _sync(order: dict[str, Any]) -> None:
    from kept_volumes import KeptVolume

    world = KeptVolume(Path(order["home"]), kept=order["kept"])
    world.place = Path(order["place"])
    world.now = order["now"]
    keep = {"keep": Path(order["keep"])} if order["keep"] else {}
    world.sync(order["version"], Killed(order["at"]), concurrency=4, **keep)


def _serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                _sync(json.loads(line))
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write("killed\n" if killed else "ended\n")
        sys.stdout.flush()


if __name__ == "__main__":
    import kept_volumes  # noqa: F401 - once, not in each child

    _serve()
