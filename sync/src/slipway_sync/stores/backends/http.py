"""A static web server: http(s)://host/path, whose index.json says what there is."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, urlsplit

import obstore
import obstore.store
from obstore.exceptions import NotModifiedError, NotSupportedError

from slipway_sync.exports import Listing, ObjectInfo, hostile_key, printable
from slipway_sync.store_kinds import WEB
from slipway_sync.stores.backends import index_cache
from slipway_sync.stores.backends.index_cache import Known
from slipway_sync.stores.backends.index_document import (
    MAX_BYTES,
    NAME,
    Index,
    IndexDocumentError,
    parse_index,
)
from slipway_sync.stores.base import (
    ObjectReplacedError,
    Pages,
    Patience,
    SourceError,
    StoreOptions,
    WrongAnswerError,
    checked_directory,
    counted,
    paged,
)
from slipway_sync.stores.egress.clients import FOREIGN, checked_prefix, invalid, made, plain, retry
from slipway_sync.stores.egress.token import ProxyToken
from slipway_sync.stores.errors import broke_off, egress_error, is_beyond_the_end

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import HTTPStore as ObstoreClient

_CHUNK: Final = 1 << 20
_WHOLE_FILE_SECONDS: Final = 12 * 3600.0
"""For one file from a server that sends no parts; one that stalls is given up much sooner."""
_SMALL: Final = 1 << 20

_Clients = tuple["ObstoreClient", ProxyToken]


class _MakeClient(Protocol):
    def __call__(self, patience: Patience, *, tunnel: bool = False) -> _Clients: ...


_parsing = threading.Lock()
"""Large documents are parsed one at a time: each takes some hundred MiB for a moment."""
_reading = threading.BoundedSemaphore(4)
"""And so many are in memory at once."""
_WAIT_SECONDS: Final = 0.05


def open_http(uri: str, options: StoreOptions) -> HttpStore:
    """Open `http(s)://host[:port]/path`; no request is made.

    Raises:
        SourceError: The URI or an option cannot be.
    """
    where = _checked_uri(uri)
    if options.endpoint:
        raise invalid("an http(s) source takes no endpoint: its URI names the server")
    headers = _authorization(options.credentials)

    def client(patience: Patience, *, tunnel: bool = False) -> _Clients:
        given = replace(options, patience=patience)
        return made(
            where,
            given,
            lambda config: obstore.store.HTTPStore(
                where if tunnel else plain(where), client_options=config, retry_config=retry(given)
            ),
            {"default_headers": headers} if headers else None,
            origin=where,
            tunnel=tunnel,
        )

    return HttpStore(where, client, options.patience, _key(where, options))


class HttpStore:
    """Version directories below a URL, as the index document there tells.

    The document is taken once for `children` and the listings that follow; a listing that is asked for again takes it
    anew. The server sends it only when it has changed, if it knows ETags.
    """

    def __init__(
        self,
        uri: str,
        client: _MakeClient,
        patience: Patience,
        cache_key: str,
    ) -> None:
        """Use clients of the URL.

        Args:
            uri: Without a `/` at its end.
            client: Makes one.
            patience: Of all requests but those for a whole file.
            cache_key: Tells apart who may read what.
        """
        self._uri = uri
        self._make_client = client
        self._client, self._egress = client(patience)
        # Content in large parts: there the library's own TLS is faster.
        self._tunnels = uri.startswith("https://")
        self._others: dict[tuple[bool, bool], _Clients] = {}
        self._more_patience = replace(patience, request=_WHOLE_FILE_SECONDS)
        self._patience = patience
        self._key = cache_key
        self._index: Index | None = None
        self._told: set[str] = set()
        self._parts: bool | None = None

    async def children(self) -> tuple[str, ...]:
        """Name the directories of the index (see Store)."""
        self._index = await self._read_index()
        self._told = set()
        return counted(tuple(sorted(self._index.versions)), self._uri)

    async def listing(self, directory: str) -> Listing:
        """List one version (see Store)."""
        checked_directory(directory)
        if self._index is None or directory in self._told:
            self._index = await self._read_index()
            self._told = set()
        self._told.add(directory)
        return self._index.versions.get(directory, ())

    async def pages(self, directory: str) -> Pages:
        """List one version page by page (see Store)."""
        async for page in paged(await self.listing(directory)):
            yield page

    async def folders(self, directory: str, empty: Sequence[str]) -> frozenset[str]:  # noqa: ARG002
        """Return nothing: an empty file is a file (see Store)."""
        return frozenset()

    async def read(
        self, directory: str, path: str, *, start: int = 0, length: int | None = None
    ) -> bytes:
        """Read bytes of one object (see Store)."""
        if length == 0:
            return b""
        key = _path(directory, path)
        try:
            result, skip = await self._get(key, start, length)
            return await _taken(result, skip, length)
        except FOREIGN as error:
            raise self._error(error, self._where(directory, path)) from error

    async def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        """Yield bytes of one listed object (see Store)."""
        key = _path(directory, item.path)
        where = self._where(directory, item.path)
        whole = start == 0 and length == item.size
        received = 0
        begun = False
        try:
            result, skip = await self._get(key, start, None if whole else length, bulk=True)
            if result.meta["size"] != item.size:
                size = result.meta["size"]
                raise await self._mismatch(
                    directory, item, f"the file there has {size} bytes, not {item.size}"
                )
            begun = True
            async for chunk in _pieces(result, skip, length):
                received += len(chunk)
                yield chunk
        except FileNotFoundError as error:
            raise await self._mismatch(directory, item, "the server has no such file") from error
        except FOREIGN as error:
            if is_beyond_the_end(error):
                raise await self._mismatch(directory, item, "the file there is shorter") from error
            found = self._error(error, where)
            if begun and broke_off(error):
                raise WrongAnswerError("Truncated", str(found)) from error
            raise found from error
        if received != length:
            raise WrongAnswerError(
                "WrongSize", f"{where}: the server sent {received} of {length} bytes"
            )

    async def ranged(self, directory: str, item: ObjectInfo) -> bool:
        """Ask the server for a byte of an object, once (see Store)."""
        if self._parts is None and item.size:
            try:
                await self._get(_path(directory, item.path), 0, 1)
            except FOREIGN:
                return True  # The transfer meets the same error, and knows what to do.
        return self._parts is not False

    async def _get(
        self, key: str, start: int, length: int | None, *, bulk: bool = False
    ) -> tuple[GetResult, int]:
        """Ask for a part, or for the whole where the server sends no parts.

        Returns:
            The answer, and how many bytes of it come before the part.
        """
        if self._parts is not False and (start or length is not None):
            options: GetOptions = {
                "range": {"offset": start} if length is None else (start, start + length)
            }
            try:
                client, _ = self._client_for(bulk=bulk)
                result = await obstore.get_async(client, key, options=options)
            except NotSupportedError:
                self._parts = False
            else:
                self._parts = True
                return result, 0
        client, egress = self._client_for(bulk=bulk, whole=self._parts is False)
        if self._parts is False:
            egress.most = None
        return await obstore.get_async(client, key), start

    def _client_for(self, *, bulk: bool, whole: bool = False) -> _Clients:
        """Return the client for content: in large parts or small ones, of whole files however long or not."""
        kind = (bulk and self._tunnels, whole)
        if not any(kind):
            return self._client, self._egress
        if kind not in self._others:
            patience = self._more_patience if whole else self._patience
            self._others[kind] = self._make_client(patience, tunnel=kind[0])
        return self._others[kind]

    async def _mismatch(self, directory: str, item: ObjectInfo, what: str) -> Exception:
        """Return what it means that a file is not the listed one: has the index changed as well?"""
        index = await self._read_index()
        if item not in index.versions.get(directory, ()):
            return ObjectReplacedError(item.path)
        # The file may still come: an upload is under way, or one server of several lags behind.
        return WrongAnswerError(
            "ObjectDiffers",
            f"{self._where(directory, item.path)} does not match {NAME}: {what}",
        )

    async def _read_index(self) -> Index:
        where = f"{self._uri}/{NAME}"
        cache = index_cache.shared()
        known = cache.get(self._key)
        options: GetOptions = {"if_none_match": known.etag} if known is not None else {}
        try:
            result = await obstore.get_async(self._client, NAME, options=options)
            if result.meta["size"] > MAX_BYTES:
                raise invalid(f"{where} is longer than {MAX_BYTES >> 20} MiB")
            async with _room_for(result.meta["size"]):
                document = bytes(await result.bytes_async())
                index = await asyncio.to_thread(_parsed, document)
        except NotModifiedError:
            if known is not None:
                return known.index
            raise invalid(f"{where}: the server answers 304 to an unconditional request") from None
        except FileNotFoundError as error:
            raise SourceError(
                "NotFound", f"{where} does not exist: create it with `slipway-sync index`"
            ) from error
        except IndexDocumentError as error:
            raise invalid(f"{where}: {error}") from error
        except FOREIGN as error:
            raise self._error(error, where) from error
        if etag := result.meta["e_tag"]:
            cache.put(self._key, Known(etag, index))
        else:
            cache.drop(self._key)
        return index

    def _where(self, directory: str, path: str) -> str:
        return f"{self._uri}/{directory}/{printable(path)}"

    def _error(self, error: Exception, where: str) -> SourceError:
        ways = [self._egress, *(egress for _, egress in self._others.values())]
        egress = next((egress for egress in ways if egress.refusal or egress.denial), self._egress)
        return egress_error(error, where, egress)


def _checked_uri(uri: str) -> str:
    """Return the URL without a `/` at its end."""
    try:
        parts = urlsplit(uri)
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or "\\" in uri or any(character.isspace() for character in parts.netloc):
        raise invalid(f"{printable(uri)}: write http(s)://HOST[:PORT]/PATH")
    if "@" in parts.netloc:
        raise invalid(
            "an http(s) source must not contain a name and password: put HTTP_USERNAME and HTTP_PASSWORD "
            "into the Secret"
        )
    if parts.query or parts.fragment or uri.endswith(("?", "#")):
        raise invalid(
            "an http(s) source must not contain ? or #: it is the directory above the versions"
        )
    prefix = checked_prefix(uri, parts.path).rstrip("/")
    path = quote(prefix, safe="/%:@!$&'()*+,;=~")
    return f"{parts.scheme}://{parts.netloc}{f'/{path}' if path else ''}"


def _authorization(credentials: Mapping[str, str]) -> dict[str, str]:
    """Return the header that lets in. The library sends it to this very host and port alone."""
    given = {name: credentials.get(name, "").strip() for name in WEB.credentials}
    token, name, word = (given[key] for key in WEB.credentials)
    if token:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise invalid("HTTP_BEARER_TOKEN contains characters that are invalid in a token")
        return {"authorization": f"Bearer {token}"}
    if not name and not word:
        return {}
    if not name or not word:
        there, missing = WEB.credentials[1:] if name else WEB.credentials[:0:-1]
        raise invalid(f"the credentials hold {there} but no {missing}")
    if ":" in name:
        raise invalid("HTTP_USERNAME contains a colon, which HTTP does not allow")
    return {"authorization": f"Basic {b64encode(f'{name}:{word}'.encode()).decode()}"}


def _key(uri: str, options: StoreOptions) -> str:
    """Return what tells one reader's documents from another's, without a secret in it."""
    hasher = hashlib.sha256()
    parts = [uri, options.proxy, *(f"{k}={v}" for k, v in sorted(options.credentials.items()))]
    for part in (*(part.encode() for part in parts), options.ca_bundle or b""):
        hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.hexdigest()


def _path(directory: str, path: str) -> str:
    if (found := hostile_key([path])) is not None:
        raise SourceError("InvalidSource", f"the path {printable(path)} {found[1]}")
    return f"{checked_directory(directory)}/{path}"


@asynccontextmanager
async def _room_for(size: int) -> AsyncIterator[None]:
    """Wait until a document of some bytes may be in memory; event loops of all threads share the room."""
    if size <= _SMALL:
        yield
        return
    while not _reading.acquire(blocking=False):  # noqa: ASYNC110 - an Event is of one loop
        await asyncio.sleep(_WAIT_SECONDS)
    try:
        yield
    finally:
        _reading.release()


def _parsed(document: bytes) -> Index:
    if len(document) <= _SMALL:
        return parse_index(document)
    with _parsing:
        return parse_index(document)


async def _taken(result: GetResult, skip: int, length: int | None) -> bytes:
    if not skip and length is not None and result.meta["size"] <= length:
        # One byte more than there may be: an answer that is too long is not taken to its end.
        length += 1
    return b"".join([piece async for piece in _pieces(result, skip, length)])


async def _pieces(result: GetResult, skip: int, length: int | None) -> AsyncIterator[bytes]:
    """Yield what comes after some bytes, up to a length; the rest is not waited for."""
    left = result.meta["size"] if length is None else length
    async for chunk in result.stream(min_chunk_size=_CHUNK):
        piece = memoryview(chunk)[skip:][:left]
        skip -= min(skip, len(chunk))
        left -= len(piece)
        if piece:
            yield bytes(piece)
        if left <= 0:
            return
