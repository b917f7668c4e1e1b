"""Credentials that somebody grants for a while, and their renewal in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from slipway_sync.stores.base import SourceError
from slipway_sync.stores.credentials import TemporaryCredentials

_MARGIN: Final = timedelta(minutes=5)
"""How long before their end credentials are renewed: a request that starts now outlives none."""
_SHORT: Final = 4
"""Credentials of a short life are renewed in its last quarter."""
_YOUNG: Final = timedelta(minutes=1)
"""Credentials granted just now are not asked for again when a store refuses them."""


class CachedIdentity:
    """Asks once for all requests, and again shortly before the end."""

    def __init__(
        self,
        exchange: Callable[[], Awaitable[TemporaryCredentials]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._lock = asyncio.Lock()
        self._held: TemporaryCredentials | None = None
        self._since = clock()

    async def granted(self) -> TemporaryCredentials:
        """Return what is held, or what is granted anew (see Identity)."""
        async with self._lock:
            now = self._clock()
            held = self._held
            if held is not None and (held.expires is None or now < self._due(held.expires)):
                return held
            try:
                self._held = await self._exchange()
            except SourceError as error:
                # Who grants may be away for a while; what is held is good until its end.
                if held is None or error.reason != "Unavailable" or self._ended(held, now):
                    raise
                return held
            self._since = self._clock()
            return self._held

    def refuse(self) -> bool:
        """Let go of what is held, unless it is so young that others would be refused as well."""
        if self._held is None or self._clock() - self._since < _YOUNG:
            return False
        self._held = None
        return True

    def _due(self, expires: datetime) -> datetime:
        return expires - min(_MARGIN, (expires - self._since) / _SHORT)

    @staticmethod
    def _ended(held: TemporaryCredentials, now: datetime) -> bool:
        return held.expires is not None and now >= held.expires
