"""Limits concurrent polls, so that no store can hold up the Models of another one.

Each store gets at most PER_STORE polls at a time, first come, first served, and all stores together at
most TOTAL. A poll that has waited for its store for SLOW_AFTER seconds no longer counts towards TOTAL:
it costs nothing but a task, and the limit of its store still holds.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from slipway_operator.api.source import Source

T = TypeVar("T")

PER_STORE: Final = 16
"""Most concurrent polls of one store."""
TOTAL: Final = 32
"""Most concurrent polls of all stores, those of slow stores excepted."""
SLOW_AFTER: Final = 3.0
"""Seconds after which a poll no longer counts towards TOTAL."""


def store_of(source: Source) -> str:
    """The endpoint or bucket that answers the requests of a source.

    >>> lane_of(Source(uri="s3://models/a/b"))
    's3://models'
    >>> lane_of(Source(uri="s3://models/a/b", endpoint="http://minio:9000"))
    'http://minio:9000'
    """
    if source.endpoint:
        return source.endpoint
    scheme, _, rest = source.uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


class PollLimits:
    """Runs polls, bounded by store and in total."""

    def __init__(
        self, *, per_store: int = PER_STORE, total: int = TOTAL, slow_after: float = SLOW_AFTER
    ) -> None:
        self._per_store = per_store
        self._slow_after = slow_after
        self._total = asyncio.Semaphore(total)
        self._stores: dict[str, tuple[asyncio.Semaphore, int]] = {}

    async def run(self, store: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run work when its store has a free slot; cancelling this cancels the work."""
        async with self._slot(store):
            await self._total.acquire()
            held = True
            # A task, because its slot of the total is released while it goes on.
            task = asyncio.create_task(work())
            try:
                await asyncio.wait({task}, timeout=self._slow_after)
                self._total.release()
                held = False
                return await task
            finally:
                if held:
                    self._total.release()
                if not task.done():
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def _slot(self, name: str) -> AsyncIterator[None]:
        """Hold one of the slots of a store; a store without users is dropped."""
        slots, users = self._stores.get(name, (asyncio.Semaphore(self._per_store), 0))
        self._stores[name] = (slots, users + 1)
        try:
            async with slots:
                yield
        finally:
            slots, users = self._stores[name]
            if users > 1:
                self._stores[name] = (slots, users - 1)
            else:
                del self._stores[name]
