"""Gives an identity's credentials to the library, which asks again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from slipway_sync.stores.base import SourceError
from slipway_sync.stores.credentials import Identity, TemporaryCredentials

_Shape = TypeVar("_Shape")


class Provider(Generic[_Shape]):
    """What a client of the library calls before a request.

    Attributes:
        failure: Why the last call gave nothing; the library's own error would quote it whole.
    """

    def __init__(self, identity: Identity, shape: Callable[[TemporaryCredentials], _Shape]) -> None:
        self._identity = identity
        self._shape = shape
        self.failure: SourceError | None = None

    async def __call__(self) -> _Shape:
        """Return credentials in the library's shape."""
        try:
            granted = await self._identity.granted()
        except SourceError as error:
            self.failure = error
            raise
        self.failure = None
        return self._shape(granted)


def provider(
    identity: Identity | None, shape: Callable[[TemporaryCredentials], _Shape]
) -> Provider[_Shape] | None:
    """Return the provider of an identity, if there is one."""
    return None if identity is None else Provider(identity, shape)
