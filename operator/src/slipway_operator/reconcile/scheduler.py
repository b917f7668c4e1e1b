"""When to work on which Model.

Events, polls and requeues all end here. A Model is worked on by one task at a time; wake-ups that
come meanwhile lead to one more run, not to many. Failures are retried with growing delays.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from heapq import heapify, heappop, heappush
from typing import Final, Self

import structlog

from slipway_operator.api.resource import ModelResource

FIRST_RETRY: Final = timedelta(seconds=1)
LAST_RETRY: Final = timedelta(minutes=2)

_MOST_STALE: Final = 64
"""Entries of the queue that no longer hold, and are too few to be worth a pass over all keys."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One Model; another one that is made under its name later has another uid, and so nothing of it."""

    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, model: ModelResource) -> Self:
        """The key of a Model."""
        return cls(model.namespace, model.name, model.uid)


Work = Callable[[Key], Awaitable[timedelta | None]]
"""Works on a Model; returns when to do so again, None for not before something happens."""


def retry_delay(failures: int) -> timedelta:
    """Delay after so many failures in a row.

    >>> [int(retry_delay(n).total_seconds()) for n in (1, 2, 3, 20)]
    [1, 2, 4, 120]
    """
    doublings: int = 2 ** min(failures - 1, 16)
    return min(LAST_RETRY, FIRST_RETRY * doublings)


class Scheduler:
    """Runs the work of many keys, each at its time, some at once."""

    def __init__(self, name: str, work: Work, *, concurrency: int | None = 8) -> None:
        """Work so much at once.

        Args:
            name: Name of the schedule in log lines.
            work: Works on one key.
            concurrency: Keys at a time; None where the work bounds itself.
        """
        self._name = name
        self._work = work
        self._slots = nullcontext() if concurrency is None else asyncio.Semaphore(concurrency)
        self._due: dict[Key, float] = {}
        # Every key that is due and not worked on stands here, at its time; entries that no longer hold, too.
        self._queue: list[tuple[float, Key]] = []
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._begun: dict[Key, float] = {}
        self._ended: float | None = None
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    @property
    def keys(self) -> frozenset[Key]:
        """Everything that is waiting or being worked on."""
        return frozenset(self._due) | frozenset(self._running)

    def wake(self, key: Key, after: timedelta = timedelta(0)) -> None:
        """Work on a key by then at the latest."""
        due = asyncio.get_running_loop().time() + after.total_seconds()
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heappush(self._queue, (due, key))
            if len(self._queue) > 2 * len(self._due) + _MOST_STALE:
                self._tidy()
            self._changed.set()

    def _tidy(self) -> None:
        """Drop entries that no longer hold; what is worked on gets its own again when that ends."""
        self._queue = [(due, key) for key, due in self._due.items() if key not in self._running]
        heapify(self._queue)

    def waits(self, key: Key) -> bool:
        """Whether work on a key is due at some time."""
        return key in self._due

    def stalled(self, limit: timedelta) -> bool:
        """Whether work has waited, or run, for longer than `limit` and none has ended meanwhile."""
        if self._ended is None:
            return False
        before = asyncio.get_running_loop().time() - limit.total_seconds()
        oldest = min([*self._due.values(), *self._begun.values()], default=float("inf"))
        return max(oldest, self._ended) < before

    def forget(self, key: Key) -> None:
        """Drop what is due for a key; work that runs goes on."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    async def run(self) -> None:
        """Work until cancelled; running work is cancelled then, too."""
        loop = asyncio.get_running_loop()
        self._ended = loop.time()
        try:
            while True:
                self._changed.clear()
                now = loop.time()
                while self._queue and self._queue[0][0] <= now:
                    due, key = heappop(self._queue)
                    if self._due.get(key) == due and key not in self._running:
                        del self._due[key]
                        self._begun[key] = now
                        self._running[key] = asyncio.create_task(self._one(key))
                timeout = self._queue[0][0] - now if self._queue else None
                # Not wait_for: on Python 3.11 it drops a cancellation that comes as it ends.
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._changed.wait()
        finally:
            self._ended = None
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, key: Key) -> None:
        again: timedelta | None
        try:
            async with self._slots:
                again = await self._work(key)
            self._failures.pop(key, None)
        except Exception as error:  # noqa: BLE001 (one Model's failure must not stop the others)
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            again = retry_delay(failures)
            _log.warning(
                "work failed, retrying",
                work=self._name,
                namespace=key.namespace,
                model=key.name,
                error=str(error) or type(error).__name__,
                delay=again.total_seconds(),
                exc_info=failures > 1,
            )
        finally:
            self._running.pop(key, None)
            self._begun.pop(key, None)
            self._ended = asyncio.get_running_loop().time()
            if (due := self._due.get(key)) is not None:
                heappush(self._queue, (due, key))
            self._changed.set()
        if again is not None:
            self.wake(key, again)
