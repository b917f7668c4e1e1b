"""Threads that compute answers, and the way back to the event loop."""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger(__name__)


class Workers:
    """A pool of at most `size` threads, started as they are needed."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        # Threads that are free and not yet meant for a task. Whoever submits takes one, so a task never counts on a
        # thread that another task has woken already. (When all threads are there, nobody asks.)
        self._free = 0

    def submit(self, task: Callable[[], None]) -> None:
        """Run a task on one of the threads."""
        self._tasks.put(task)
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            if self._threads >= self._size:
                return
            self._threads += 1
            number = self._threads
        try:
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()
        except RuntimeError as error:  # no more are allowed; those that are there must do
            _log.warning("Cannot start another thread for REST requests: %s", error)
            with self._lock:
                self._threads -= 1
                self._free -= 1  # the task is meant for none of those that will be free

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if task is None:
                return
            task()
            del task  # while this thread waits, nothing keeps the last request
            with self._lock:
                self._free += 1


class Mailbox:
    """Carries calls to an event loop's thread; many that arrive together wake it up once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._awake = False

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` soon on the loop's thread."""
        with self._lock:
            self._calls.append(call)
            if self._awake:
                return
            self._awake = True
        self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, deque()
            self._awake = False
        for call in calls:
            call()
