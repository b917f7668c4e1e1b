"""What the stores of clouds begin with: a bucket read from a URI, the library's clients, credentials for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Generic, TypeVar

from slipway_sync.exports import printable
from slipway_sync.store_kinds import StoreKind
from slipway_sync.stores.base import SourceError, StoreOptions
from slipway_sync.stores.credentials import Identity, TemporaryCredentials
from slipway_sync.stores.egress.clients import checked_prefix, invalid, made, plain
from slipway_sync.stores.egress.token import ProxyToken

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_Client = TypeVar("_Client")
_Shape = TypeVar("_Shape")


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a URI names: a bucket or container, and the prefix of its keys.

    Attributes:
        prefix: "" or ends with `/`.
    """

    kind: StoreKind
    name: str
    prefix: str

    @classmethod
    def read(cls, kind: StoreKind, uri: str, names: re.Pattern[str]) -> Bucket:
        """Read a URI of a kind whose buckets have such names.

        Raises:
            SourceError: It cannot be.
        """
        name, _, path = uri.removeprefix(kind.prefix).partition("/")
        if not names.fullmatch(name):
            raise invalid(f"{printable(uri)}: write {kind.example}")
        return cls(kind, name, checked_prefix(uri, path))

    @property
    def uri(self) -> str:
        """What sentences call it."""
        return f"{self.kind.prefix}{self.name}/{self.prefix}"


class Clients(Generic[_Client]):
    """Makes the clients of one source.

    Args:
        uri: What sentences call it.
        options: How it is reached.
        origin: URL of the store.
        token_hosts: Where the library fetches tokens by itself.
    """

    def __init__(
        self, uri: str, options: StoreOptions, origin: str, token_hosts: Container[str] = ()
    ) -> None:
        self._uri = uri
        self._options = options
        self._origin = origin
        self._token_hosts = token_hosts

    def make(
        self, build: Callable[[str, ClientConfig], _Client], *, tunnel: bool = False
    ) -> tuple[_Client, ProxyToken]:
        """Make a client and its token; `build` gets the URL that the library is to use (see `made`)."""
        url = self._origin if tunnel else plain(self._origin)
        return made(
            self._uri,
            self._options,
            partial(build, url),
            origin=self._origin,
            token_hosts=self._token_hosts,
            tunnel=tunnel,
        )

    def bulk(
        self, build: Callable[[str, ClientConfig], _Client]
    ) -> Callable[[], tuple[_Client, ProxyToken]] | None:
        """Return what makes the client for content in large parts, once; None where it would be no other."""
        if not self._origin.startswith("https://"):
            return None
        return cache(partial(self.make, build, tunnel=True))


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
