"""A store whose credentials end while a sync runs, and are replaced.

The kubelet writes a changed Secret into running pods, and identities are granted anew. A request that
is refused is tried again with what is there then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from slipway_sync.exports import Listing, ObjectInfo
from slipway_sync.stores import RangeTransfer, RangeTransferStore, Sink, SourceError, Store
from slipway_sync.stores.base import Pages

_TIMES = 4
"""How often one request is tried, each time with other credentials."""

_Result = TypeVar("_Result")


class RenewedStore:
    """A Store that is opened again when its credentials are refused and there are others."""

    def __init__(self, store: Store, renew: Callable[[], Store | None]) -> None:
        """Begin with a store.

        Args:
            store: Open, with the credentials of now.
            renew: Opens it with other credentials; None when there are none. Called in a thread,
                never twice at once.
        """
        self._store = store
        self._renew = renew
        self._lock = asyncio.Lock()

    async def children(self) -> tuple[str, ...]:
        """Name the version directories (see Store)."""
        return await self._run(lambda store: store.children())

    async def listing(self, directory: str) -> Listing:
        """List one version (see Store)."""
        return await self._run(lambda store: store.listing(directory))

    async def pages(self, directory: str) -> Pages:
        """List one version page by page (see Store)."""
        for left in reversed(range(_TIMES)):
            used, begun = self._store, False
            try:
                async for page in used.pages(directory):
                    begun = True
                    yield page
            except SourceError as error:
                if begun or not left or not await self._renewed(used, error):
                    raise
            else:
                return

    async def folders(self, directory: str, empty: Sequence[str]) -> frozenset[str]:
        """Tell folders from empty files (see Store)."""
        return await self._run(lambda store: store.folders(directory, empty))

    async def read(
        self, directory: str, path: str, *, start: int = 0, length: int | None = None
    ) -> bytes:
        """Read bytes of one object (see Store)."""
        return await self._run(
            lambda store: store.read(directory, path, start=start, length=length)
        )

    async def ranged(self, directory: str, item: ObjectInfo) -> bool:
        """Say whether parts can be had (see Store)."""
        return await self._run(lambda store: store.ranged(directory, item))

    def range_transfer(
        self, directory: str, item: ObjectInfo, sink: Sink, *, start: int, length: int
    ) -> RangeTransfer | None:
        """Bring bytes of one object into a file (see RangeTransferStore): what is refused ends in `stream`."""
        if not isinstance(self._store, RangeTransferStore):
            return None
        return self._store.range_transfer(directory, item, sink, start=start, length=length)

    async def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        """Yield bytes of one object (see Store)."""
        for left in reversed(range(_TIMES)):
            used, sent = self._store, 0
            try:
                async for chunk in used.stream(directory, item, start=start, length=length):
                    sent += len(chunk)
                    yield chunk
            except SourceError as error:
                if sent or not left or not await self._renewed(used, error):
                    raise
            else:
                return

    async def _run(self, operation: Callable[[Store], Awaitable[_Result]]) -> _Result:
        for left in reversed(range(_TIMES)):
            used = self._store
            try:
                return await operation(used)
            except SourceError as error:
                if not left or not await self._renewed(used, error):
                    raise
        raise AssertionError("there is more than one try")

    async def _renewed(self, used: Store, error: SourceError) -> bool:
        """Whether trying again makes sense: another request may have renewed already."""
        if error.reason != "AccessDenied":
            return False
        async with self._lock:
            if self._store is used:
                made = await asyncio.to_thread(self._renew)
                if made is None:
                    return False
                self._store = made
        return True
