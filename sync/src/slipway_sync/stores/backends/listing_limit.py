"""An end to what a store would make last for ever: the library asks for page after page by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from slipway_sync.stores.base import SourceError
from slipway_sync.stores.egress.token import ProxyToken

MOST_BYTES: Final = 32 << 20
"""Of all pages that are held together: some hundred thousand names."""
_LOOK: Final = 0.1

_Result = TypeVar("_Result")


async def within_limit(
    asking: Awaitable[_Result],
    where: str,
    seconds: float,
    egress: ProxyToken,
    most: int | None = None,
) -> _Result:
    """Wait for what may take any number of requests, and give it up when that are too many.

    Args:
        asking: What the library gathers.
        where: The source, as the sentence's subject.
        seconds: How long a store may take that answers; one that does not is the library's to judge.
        egress: Of the client.
        most: Bytes that may come, where all pages are held: those of other requests of this
            client count, too.

    Raises:
        SourceError: It does not end.
    """
    task = asyncio.ensure_future(asking)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    before = egress.received
    try:
        while not (await asyncio.wait({task}, timeout=min(_LOOK, seconds)))[0]:
            came = egress.received - before
            if (came and loop.time() > deadline) or (most is not None and came > most):
                raise SourceError("Unavailable", f"{where}: its listing does not end in time")
        return task.result()
    finally:
        task.cancel()
