"""Trying again what may pass: a few times, with growing, jittered pauses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from slipway_sync.stores import SourceError

TRIES = 3
FIRST_PAUSE = 1.0

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again.

    Attributes:
        sleep: Waits for some seconds.
        random: Returns a number in [0, 1).
        tries: How often something is tried in all. The store's client tries each request some
            times by itself, and the kubelet starts a failed sync again, so a few are enough.
        first: The first pause in seconds; each further one is twice as long.
    """

    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]
    tries: int = TRIES
    first: float = FIRST_PAUSE

    async def retried(self, operation: Callable[[], Awaitable[_Result]]) -> _Result:
        """Run an operation again while its source is unavailable.

        Raises:
            SourceError: That of the last try.
        """
        for attempt in range(1, self.tries + 1):
            try:
                return await operation()
            except SourceError as error:
                if error.reason != "Unavailable" or attempt == self.tries:
                    raise
            await self.after(attempt)
        raise AssertionError("tries is at least 1")

    async def after(self, attempt: int) -> None:
        """Wait as long as befits a number of failed attempts, 1 or more."""
        await self.sleep(self.first * 2 ** (attempt - 1) * (0.5 + self.random()))
