"""Threads for looks at base paths: as many as there are looks that do not end, and one."""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class LookThreads:
    """Runs tasks, each on a thread that is free, or on a new one. A task must not raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[_Thread] = []

    def run(self, task: Callable[[], None], patience: float | None) -> bool:
        """Run a task and wait until it has ended, for up to `patience` seconds; return whether it has."""
        with self._lock:
            thread = self._free.pop() if self._free else None
        return (thread or _Thread(self._release)).begin(task).wait(patience)

    def stop(self) -> None:
        """End the threads that are free; the others are left to their tasks."""
        with self._lock:
            for thread in self._free:
                thread.end()
            self._free.clear()

    def _release(self, thread: "_Thread") -> None:
        with self._lock:
            self._free.append(thread)


class _Thread:
    def __init__(self, release: Callable[["_Thread"], None]) -> None:
        self._release = release
        self._tasks: SimpleQueue[tuple[Callable[[], None], threading.Event] | None] = SimpleQueue()
        threading.Thread(target=self._run, name="source-look", daemon=True).start()

    def begin(self, task: Callable[[], None]) -> threading.Event:
        ended = threading.Event()
        self._tasks.put((task, ended))
        return ended

    def end(self) -> None:
        self._tasks.put(None)

    def _run(self) -> None:
        while (item := self._tasks.get()) is not None:
            task, ended = item
            task()
            # Free before anybody hears of the end: else the next task would get another thread.
            self._release(self)
            ended.set()
