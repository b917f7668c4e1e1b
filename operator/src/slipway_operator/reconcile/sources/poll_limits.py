"""Bounds what polls at once, so that no store can hold up the Models of another one.

Each store is a lane of its own. A lane takes so many polls at a time, first come, first served; together
they take so many as well, but one that has waited for its store for some seconds counts no longer: it
costs nothing but a task, and its lane is what bounds it then.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from slipway_operator.api.source import Source

T = TypeVar("T")

WIDTH: Final = 16
"""Polls of one store at a time."""
TOTAL: Final = 32
"""Polls at a time that do not just wait for their store."""
PATIENCE: Final = 3.0
"""Seconds after which a poll just waits for its store."""


def lane_of(source: Source) -> str:
    """Who answers the requests of a source.

    >>> lane_of(Source(uri="s3://models/a/b"))
    's3://models'
    >>> lane_of(Source(uri="s3://models/a/b", endpoint="http://minio:9000"))
    'http://minio:9000'
    """
    if source.endpoint:
        return source.endpoint
    scheme, _, rest = source.uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


class Lanes:
    """Runs work, each piece in its lane."""

    def __init__(
        self, *, width: int = WIDTH, total: int = TOTAL, patience: float = PATIENCE
    ) -> None:
        self._width = width
        self._patience = patience
        self._total = asyncio.Semaphore(total)
        self._lanes: dict[str, tuple[asyncio.Semaphore, int]] = {}

    async def run(self, lane: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run work in a lane; cancelling this cancels it."""
        async with self._lane(lane):
            await self._total.acquire()
            held = True
            # A task, for its place is given away while it goes on.
            task = asyncio.create_task(work())
            try:
                await asyncio.wait({task}, timeout=self._patience)
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
    async def _lane(self, name: str) -> AsyncIterator[None]:
        """A place in a lane; a lane that nobody is in is forgotten."""
        slots, users = self._lanes.get(name, (asyncio.Semaphore(self._width), 0))
        self._lanes[name] = (slots, users + 1)
        try:
            async with slots:
                yield
        finally:
            slots, users = self._lanes[name]
            if users > 1:
                self._lanes[name] = (slots, users - 1)
            else:
                del self._lanes[name]
