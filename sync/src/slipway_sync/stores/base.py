"""What a store is to the rest of Slipway, and the one error it raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from slipway_sync.exports import Listing, ObjectInfo, hostile_key, in_slices, printable
from slipway_sync.stores.addresses import AddressPolicy
from slipway_sync.stores.credentials import Identity

PAGE = 250
"""Objects that are handled at once: a millisecond or two of work."""

MOST_CHILDREN = 100_000
"""Folders of one source: each that could be a version takes memory at every poll."""

Reason = Literal["AccessDenied", "NotFound", "Unavailable", "InvalidSource"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store's client waits, and how often it asks again by itself.

    Attributes:
        connect: Seconds for a connection to come about.
        stall: Seconds in which at least one byte has to arrive.
        request: Seconds for one request with the whole of its answer.
        retries: How often the client repeats a request that met a 5xx or a broken connection.
        pause: Seconds before the first repetition; each further pause is twice as long, 3 s at most.
    """

    connect: float = 5.0
    stall: float = 20.0
    request: float = 300.0
    retries: int = 3
    pause: float = 0.2


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a store is reached. Nothing else is used: no environment, no instance metadata.

    Attributes:
        endpoint: URL of an S3-compatible store, "" for AWS; plain http is allowed.
        region: Region to sign for; "" takes the one in `credentials`, else us-east-1.
        addressing: `path` (endpoint/bucket) or `virtual` (bucket.endpoint).
        credentials: By the names that `credential_names` tells; empty means anonymous requests.
        identity: Grants the credentials, in their stead.
        ca_bundle: PEM certificates to trust beside the system's.
        proxy: `http://HOST[:PORT]` on the way, or "". PROXY_USERNAME and PROXY_PASSWORD in
            `credentials` are for it.
        no_proxy: Hosts, `.suffixes` and networks that are reached without it.
        addresses: Which addresses may be reached, at first and after every redirect.
        patience: How long the client waits.
    """

    endpoint: str = ""
    region: str = ""
    addressing: str = "path"
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    identity: Identity | None = field(default=None, repr=False)
    ca_bundle: bytes | None = field(default=None, repr=False)
    proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    addresses: AddressPolicy = field(default_factory=AddressPolicy)
    patience: Patience = field(default_factory=Patience)


class SourceError(Exception):
    """The source cannot be read; str() is a sentence without secrets and response bodies.

    Attributes:
        reason: `AccessDenied`, `NotFound`, `Unavailable` (trying again may help) or `InvalidSource`
            (the configuration or a key name is wrong).
        path: The object that was asked for, relative to the version's directory, or "".
    """

    def __init__(self, reason: Reason, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.path = path


class WrongAnswerError(SourceError):
    """The store answers about an object, but not with the bytes that were asked for; often it passes.

    Attributes:
        finding: `Truncated`, the body breaks off; `WrongSize`, it is whole, but too short or too
            long; or `ObjectDiffers`, it is not what an index beside it lists.
        trusted: Whether the bytes that came are those that were asked for.
    """

    def __init__(
        self,
        finding: Literal["Truncated", "WrongSize", "ObjectDiffers"],
        message: str,
        *,
        trusted: bool = True,
    ) -> None:
        super().__init__("Unavailable", message)
        self.finding = finding
        self.trusted = trusted


class ObjectReplacedError(Exception):
    """An object is no longer the one that was listed.

    Attributes:
        path: Relative to the version's directory.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"{printable(path)} was replaced or removed after it was listed")
        self.path = path


Pages = AsyncGenerator[Sequence[ObjectInfo], None]
"""The objects of a directory as they come."""


class HostileKeyError(Exception):
    """A listing holds a key that must not become a file, and nothing else of it can be told.

    Attributes:
        path: Relative to the version's directory.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"the key {printable(path)} is not a valid path")
        self.path = path


class Store(Protocol):
    """The directory above the versions of one model. Every method may raise SourceError."""

    async def children(self) -> tuple[str, ...]:
        """Return the names of the directories directly below the source, sorted."""

    async def listing(self, directory: str) -> Listing:
        """Return all objects below one child directory; empty when it is not there."""

    def pages(self, directory: str) -> Pages:
        """Yield all objects below one child directory as they come, in the store's own order.

        Empty objects that only mark a folder may be among them; `folders` tells.

        Raises:
            HostileKeyError: The store holds a key that its library cannot even name.
        """

    async def folders(self, directory: str, empty: Sequence[str]) -> frozenset[str]:
        """Return which of some empty objects only mark a folder and are no files."""

    async def read(
        self, directory: str, path: str, *, start: int = 0, length: int | None = None
    ) -> bytes:
        """Return bytes of one object, fewer than `length` where it ends before."""

    def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        """Yield exactly `length` bytes of an object in pieces of about a MiB.

        Raises:
            ObjectReplacedError: It is not the object that was listed any more.
            WrongAnswerError: The body is too short or too long.
        """

    async def ranged(self, directory: str, item: ObjectInfo) -> bool:
        """Whether parts of an object can be had by themselves; else it had better be one stream."""


class Sink(Protocol):
    """A file that takes bytes at their places. What it raises is no OSError and ends the transfer."""

    def write(self, data: memoryview, at: int, /) -> None:
        """Write all bytes at an offset."""

    def take(self, pipe: int, count: int, at: int, /) -> int:
        """Move up to `count` bytes from a pipe to an offset; return how many, at least 1."""


class RangeTransfer(Protocol):
    """One range of an object on its way into a sink."""

    @property
    def position(self) -> int:
        """Where the next byte goes: all before it are there."""

    def run(self) -> None:
        """Bring as much as comes without trouble. Blocks; raises only what the sink raises."""

    def cancel(self) -> None:
        """Let `run` return soon; to be called from another thread."""


@runtime_checkable
class RangeTransferStore(Protocol):
    """A store that knows a faster way to the content of objects than `stream`, for what works at once.

    What it does not bring, `stream` has to: that one says what is wrong.
    """

    def range_transfer(
        self, directory: str, item: ObjectInfo, sink: Sink, *, start: int, length: int
    ) -> RangeTransfer | None:
        """Return what brings these bytes of a listed object, or None where `stream` has to."""


async def paged(listing: Listing) -> Pages:
    """Yield a listing that is at hand in pages, for those who would have it so."""
    for page in in_slices(listing, PAGE):
        yield page
        await asyncio.sleep(0)  # Others have work, too.


def checked_directory(directory: str) -> str:
    """Return the name of a child directory, or raise SourceError when it could be anything else."""
    if "/" in directory or hostile_key([directory]) is not None:
        raise SourceError(
            "InvalidSource", f"{printable(directory)} is not the name of a version's directory"
        )
    return directory


def counted(children: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return the folders of a source, or raise SourceError when they are too many."""
    if len(children) > MOST_CHILDREN:
        raise SourceError("InvalidSource", f"{where} contains more than {MOST_CHILDREN} folders")
    return children
