"""Exports in an object store, whoever's it is: what the library's clients have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import obstore
from obstore.exceptions import PreconditionError

from slipway_sync.exports import Listing, ObjectInfo, hostile_key, printable
from slipway_sync.stores.backends.bucket import Provider
from slipway_sync.stores.backends.deletion import FolderEraser, erase
from slipway_sync.stores.backends.zero_copy import RangeTransfer, ZeroCopy
from slipway_sync.stores.base import (
    PAGE,
    HostileKeyError,
    ObjectReplacedError,
    Pages,
    Patience,
    Sink,
    SourceError,
    WrongAnswerError,
    checked_directory,
    counted,
)
from slipway_sync.stores.egress.clients import FOREIGN, checked_prefix
from slipway_sync.stores.egress.token import ProxyToken
from slipway_sync.stores.errors import broke_off, egress_error, invalid_key, is_beyond_the_end
from slipway_sync.stores.inspection.listing_summary import listed

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore as ObstoreClient

_Result = TypeVar("_Result")
_MOST_BYTES: Final = 32 << 20
"""Of all pages that are held together: some hundred thousand names."""
_LOOK: Final = 0.1
"""Seconds between two looks at what a listing has brought."""
_CHUNK = 1 << 20
_MAX_HEADS = 8
_DIRECTORIES = frozenset({"", "assets", "assets.extra", "variables"})
"""Names that are directories in every export: an empty object of that name is a folder's marker."""


class ObjectStore:
    """Version directories below a prefix of a bucket or container."""

    def __init__(
        self,
        uri: str,
        prefix: str,
        client: ObstoreClient,
        egress: ProxyToken,
        *,
        folders: FolderEraser | None = None,
        signed: bool = True,
        credential_provider: Provider[Any] | None = None,
        direct: ZeroCopy | None = None,
        bulk: Callable[[], tuple[ObstoreClient, ProxyToken]] | None = None,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        """Use a client of the bucket.

        Args:
            uri: What sentences call it.
            prefix: "" or ends with `/`.
            client: Of the library.
            egress: The client's own token.
            folders: Deletes the markers of folders; None where that cannot be done.
            signed: Whether requests are signed.
            credential_provider: What gives the client its credentials, if anything does.
            direct: A faster way to the content of objects, where there is one.
            bulk: Makes the client that streams content, where another one is faster.
            patience: How long to wait for listings.
        """
        self._prefix = prefix
        self._client = client
        self._egress = egress
        self._folders = folders
        self._signed = signed
        self._credential_provider = credential_provider
        self._zero_copy = direct
        self._bulk = bulk
        self._patience = patience
        self._uri = uri.rstrip("/")

    def at(self, uri: str) -> ObjectStore:
        """Return the store of another folder of this bucket, with the same client.

        Raises:
            SourceError: The folder's path could lead elsewhere.
        """
        scheme, _, rest = uri.partition("://")
        bucket, _, path = rest.partition("/")
        prefix = checked_prefix(uri, path)
        return ObjectStore(
            f"{scheme}://{bucket}/{prefix}",
            prefix,
            self._client,
            self._egress,
            folders=self._folders,
            signed=self._signed,
            credential_provider=self._credential_provider,
            direct=self._zero_copy,
            bulk=self._bulk,
            patience=self._patience,
        )

    async def children(self) -> tuple[str, ...]:
        """Name the version directories and their siblings (see Store)."""
        try:
            found = await _within_limit(
                obstore.list_with_delimiter_async(self._client, self._prefix or None),
                self._uri,
                self._patience.request,
                self._egress,
                _MOST_BYTES,
            )
        except FOREIGN as error:
            key = invalid_key(error)
            if key is not None:
                raise SourceError(
                    "InvalidSource",
                    f"{self._uri} holds the key {printable(key)}, which is not a valid path: remove it",
                ) from error
            raise self._error(error, self._uri) from error
        names = sorted(path[len(self._prefix) :] for path in found["common_prefixes"])
        return counted(tuple(names), self._uri)

    async def listing(self, directory: str) -> Listing:
        """List one version (see Store)."""
        return await listed(self, directory, f"{self._uri}/{directory}")

    async def pages(self, directory: str) -> Pages:
        """List one version page by page (see Store)."""
        prefix = f"{self._prefix}{checked_directory(directory)}/"
        where = f"{self._uri}/{directory}"
        try:
            pages = aiter(obstore.list(self._client, prefix, chunk_size=PAGE))
            # A page may be empty, and say that there are more: those the library asks for by itself.
            while (
                page := await _within_limit(
                    anext(pages, None), where, self._patience.request, self._egress
                )
            ) is not None:
                found = (_info(meta, prefix) for meta in page)
                yield [item for item in found if item.size or item.path not in _DIRECTORIES]
        except FOREIGN as error:
            key = invalid_key(error)
            if key is None:
                raise self._error(error, where) from error
            # The library lists nothing where one key is hostile.
            raise HostileKeyError(key.removeprefix(prefix)) from error

    async def folders(self, directory: str, empty: Sequence[str]) -> frozenset[str]:
        """Find the empty objects that only mark a folder (see Store).

        Such a key ends with `/`, which the library hides; asking for it without the `/` tells.
        """
        limit = asyncio.Semaphore(_MAX_HEADS)

        async def is_folder(path: str) -> bool:
            if hostile_key([path]) is not None:
                return False  # Nobody follows it, so nobody asks for it.
            async with limit:
                try:
                    await obstore.head_async(self._client, f"{self._prefix}{directory}/{path}")
                except FileNotFoundError:
                    return True
                except FOREIGN as error:
                    raise self._error(error, f"{self._uri}: {printable(path)}") from error
            return False

        answers = await asyncio.gather(*map(is_folder, empty))
        return frozenset(path for path, marker in zip(empty, answers, strict=True) if marker)

    async def read(
        self, directory: str, path: str, *, start: int = 0, length: int | None = None
    ) -> bytes:
        """Read bytes of one object (see Store)."""
        if length == 0:
            return b""
        key = self._key(directory, path)
        options: GetOptions = {}
        if length is not None:
            options["range"] = (start, start + length)
        elif start:
            options["range"] = {"offset": start}
        try:
            result = await obstore.get_async(self._client, key, options=options)
            return await _beginning(result, length)
        except FOREIGN as error:
            if is_beyond_the_end(error):
                return b""
            found = self._error(error, f"{self._uri}/{directory}/{printable(path)}")
            found.path = path
            raise found from error

    async def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        """Yield bytes of one listed object (see Store)."""
        options: GetOptions = {"range": (start, start + length)}
        if item.etag:
            options["if_match"] = f'"{item.etag}"'
        where = f"{self._uri}/{directory}/{printable(item.path)}"
        client, egress = (self._client, self._egress) if self._bulk is None else self._bulk()
        received = 0
        begun = False
        try:
            result = await obstore.get_async(
                client, self._key(directory, item.path), options=options
            )
            # Not every store knows If-Match.
            if result.meta["size"] != item.size or _etag(result.meta["e_tag"]) != item.etag:
                raise ObjectReplacedError(item.path)
            begun = True
            async for chunk in result.stream(min_chunk_size=_CHUNK):
                received += len(chunk)
                if received > length:
                    break
                yield bytes(chunk)
        except (PreconditionError, FileNotFoundError) as error:
            raise ObjectReplacedError(item.path) from error
        except FOREIGN as error:
            if is_beyond_the_end(error):
                raise ObjectReplacedError(item.path) from error
            found = self._error(error, where, egress)
            if begun and broke_off(error):
                raise WrongAnswerError("Truncated", str(found)) from error
            raise found from error
        if received != length:
            sent = f"{received} of" if received < length else "more than"
            raise WrongAnswerError(
                "WrongSize",
                f"{where}: the store sent {sent} the {length} bytes that it was asked for",
                trusted=received < length,
            )

    def range_transfer(
        self, directory: str, item: ObjectInfo, sink: Sink, *, start: int, length: int
    ) -> RangeTransfer | None:
        """Bring bytes of one listed object into a file (see RangeTransferStore)."""
        if self._zero_copy is None or not self._zero_copy.open:
            return None
        key = self._key(directory, item.path)
        return RangeTransfer(self._zero_copy, key, item, sink, start=start, length=length)

    async def delete(self, directory: str, paths: Sequence[str]) -> None:
        """Delete objects of one version (see ErasableStore)."""
        if not self._signed:
            # The library would look for an identity of the machine.
            raise SourceError(
                "AccessDenied", f"{self._uri}/{directory}: nothing is deleted without credentials"
            )
        keys = [self._key(directory, path) for path in paths]
        try:
            await erase(self._client, keys)
        except FOREIGN as error:
            raise self._error(error, f"{self._uri}/{directory}: deleting") from error

    async def delete_folders(self, directory: str) -> None:
        """Delete the markers of one version's folders, the innermost first (see ErasableStore)."""
        if self._folders is None:
            return
        prefix = f"{self._prefix}{checked_directory(directory)}/"
        empty: set[str] = set()
        where = f"{self._uri}/{directory}: deleting its folders"
        try:
            async for page in obstore.list(self._client, prefix, chunk_size=1000):
                empty |= {_info(meta, prefix).path for meta in page if meta["size"] == 0}
            markers = empty & _DIRECTORIES
            markers |= await self.folders(directory, sorted(empty - _DIRECTORIES))
            for path in sorted(markers, reverse=True):
                await self._folders(f"{prefix}{path}".rstrip("/"))
        except FOREIGN as error:
            raise self._error(error, where) from error

    async def ranged(self, directory: str, item: ObjectInfo) -> bool:  # noqa: ARG002
        """Say that it is so (see Store)."""
        return True

    def _error(self, error: Exception, where: str, egress: ProxyToken | None = None) -> SourceError:
        if (
            self._credential_provider is not None
            and (failure := self._credential_provider.failure) is not None
        ):
            return SourceError(failure.reason, f"{where}: {failure}")
        return egress_error(error, where, egress or self._egress)

    def _key(self, directory: str, path: str) -> str:
        found = hostile_key([path])
        if found is not None:
            raise SourceError("InvalidSource", f"the key {printable(path)} {found[1]}")
        return f"{self._prefix}{checked_directory(directory)}/{path}"


async def _within_limit(
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
        egress: The client's token, which counts the bytes that came.
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


async def _beginning(result: GetResult, length: int | None) -> bytes:
    """Return what was sent, as far as it is of use: some more than `length` is as wrong as all of it.

    Piece by piece: to take it at once, the library would reserve whatever the answer announces.
    """
    pieces: list[bytes] = []
    received = 0
    async for chunk in result.stream(min_chunk_size=_CHUNK):
        pieces.append(bytes(chunk))
        received += len(chunk)
        if length is not None and received > length:
            break
    return b"".join(pieces)


def _info(meta: Any, prefix: str) -> ObjectInfo:
    path: str = meta["path"]
    return ObjectInfo(
        path=path[len(prefix) :] if path.startswith(prefix) else "",
        size=meta["size"],
        etag=_etag(meta["e_tag"]),
        modified=meta["last_modified"],
    )


def _etag(tag: str | None) -> str:
    return (tag or "").removeprefix("W/").strip('"')
