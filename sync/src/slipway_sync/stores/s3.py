"""Exports in a bucket of AWS S3 or a compatible store: s3://bucket/prefix."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
import obstore.store
from obstore.exceptions import BaseError, PreconditionError

from slipway_sync.exports import Listing, ObjectInfo, hostile_key, printable
from slipway_sync.stores.base import (
    ObjectReplacedError,
    SourceError,
    StoreOptions,
    checked_directory,
)
from slipway_sync.stores.errors import invalid_key, of_way
from slipway_sync.stores.gate import Pass, shared

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig, S3Config

_FOREIGN = (BaseError, OSError, ValueError)
"""Everything that the library documents to raise."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", re.ASCII)
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_CHUNK = 1 << 20
_MAX_OBJECTS = 200_000
_MAX_HEADS = 8
_DIRECTORIES = frozenset({"assets", "assets.extra", "variables"})
"""Names that are directories in every export: an empty object of that name is a folder's marker."""

_CLIENT: ClientConfig = {
    "allow_http": True,
    "connect_timeout": timedelta(seconds=5),
    # A stalled connection ends here; a slow one may take as long as `timeout` for one request.
    "read_timeout": timedelta(seconds=20),
    "timeout": timedelta(minutes=5),
}
_RETRY: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=3),
        "base": 2,
    },
}
_environment_lock = threading.Lock()


class S3Store:
    """Version directories below a prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str, client: obstore.store.S3Store, way: Pass) -> None:
        """Use a client of the bucket; `prefix` is "" or ends with `/`, `way` is the client's own."""
        self._prefix = prefix
        self._client = client
        self._way = way
        self._uri = f"s3://{bucket}/{prefix}".rstrip("/")

    async def children(self) -> tuple[str, ...]:
        """Name the version directories and their siblings (see Store)."""
        try:
            found = await obstore.list_with_delimiter_async(self._client, self._prefix or None)
        except _FOREIGN as error:
            key = invalid_key(error)
            if key is not None:
                raise SourceError(
                    "InvalidSource",
                    f"{self._uri} holds the key {printable(key)}, which is no path: remove it",
                ) from error
            raise self._error(error, self._uri) from error
        return tuple(sorted(path[len(self._prefix) :] for path in found["common_prefixes"]))

    async def listing(self, directory: str) -> Listing:
        """List one version (see Store)."""
        prefix = f"{self._prefix}{checked_directory(directory)}/"
        objects: list[ObjectInfo] = []
        try:
            async for page in obstore.list(self._client, prefix, chunk_size=1000):
                objects.extend(_info(meta, prefix) for meta in page)
                if len(objects) > _MAX_OBJECTS:
                    raise SourceError(
                        "InvalidSource",
                        f"{self._uri}/{directory} holds more than {_MAX_OBJECTS} objects",
                    )
        except _FOREIGN as error:
            key = invalid_key(error)
            if key is None:
                raise self._error(error, f"{self._uri}/{directory}") from error
            # The library lists nothing where one key is hostile. That key alone is then the
            # listing: the proof rejects it by name, and its revision changes when it is gone.
            relative = key.removeprefix(prefix)
            return (ObjectInfo(relative, 0, "", datetime.fromtimestamp(0, UTC)),)
        markers = await self._markers(prefix, objects)
        return tuple(
            sorted(
                (item for item in objects if item.path not in markers), key=lambda item: item.path
            )
        )

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
            return bytes(await result.bytes_async())
        except _FOREIGN as error:
            raise self._error(error, f"{self._uri}/{directory}/{printable(path)}") from error

    async def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        """Yield bytes of one listed object (see Store)."""
        options: GetOptions = {"range": (start, start + length)}
        if item.etag:
            options["if_match"] = f'"{item.etag}"'
        where = f"{self._uri}/{directory}/{printable(item.path)}"
        received = 0
        try:
            result = await obstore.get_async(
                self._client, self._key(directory, item.path), options=options
            )
            # Not every store knows If-Match.
            if result.meta["size"] != item.size or _etag(result.meta["e_tag"]) != item.etag:
                raise ObjectReplacedError(item.path)
            async for chunk in result.stream(min_chunk_size=_CHUNK):
                received += len(chunk)
                yield bytes(chunk)
        except (PreconditionError, FileNotFoundError) as error:
            raise ObjectReplacedError(item.path) from error
        except _FOREIGN as error:
            raise self._error(error, where) from error
        if received != length:
            raise SourceError(
                "Unavailable", f"{where}: the store sent {received} of {length} bytes"
            )

    def _error(self, error: Exception, where: str) -> SourceError:
        return of_way(error, where, self._way)

    def _key(self, directory: str, path: str) -> str:
        found = hostile_key([path])
        if found is not None:
            raise SourceError("InvalidSource", f"the key {printable(path)} {found[1]}")
        return f"{self._prefix}{checked_directory(directory)}/{path}"

    async def _markers(self, prefix: str, objects: list[ObjectInfo]) -> frozenset[str]:
        """Find the empty objects that only mark a folder.

        Such a key ends with `/`, which the library hides; asking for it without the `/` tells.
        """
        limit = asyncio.Semaphore(_MAX_HEADS)

        async def is_marker(path: str) -> bool:
            if path in _DIRECTORIES or path == "":
                return True
            async with limit:
                try:
                    await obstore.head_async(self._client, f"{prefix}{path}")
                except FileNotFoundError:
                    return True
                except _FOREIGN as error:
                    raise self._error(error, f"{self._uri}: {printable(path)}") from error
            return False

        empty = [item.path for item in objects if item.size == 0]
        answers = await asyncio.gather(*(is_marker(path) for path in empty))
        return frozenset(path for path, marker in zip(empty, answers, strict=True) if marker)


def open_s3(uri: str, options: StoreOptions) -> S3Store:
    """Open `s3://bucket/prefix`; no request is made.

    Raises:
        SourceError: The URI or an option cannot be.
    """
    bucket, _, path = uri.removeprefix("s3://").partition("/")
    prefix = path.strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise _invalid(f"{uri}: write s3://BUCKET/PATH")
    if prefix and hostile_key([prefix]) is not None:
        raise _invalid(f"{printable(uri)}: the path {(hostile_key([prefix]) or ('', ''))[1]}")
    config = _config(bucket, options)
    way = shared().issue(options.addresses)
    client_options: ClientConfig = {**_CLIENT, "proxy_url": way.url}
    if options.ca_bundle is not None:
        client_options["root_certificate"] = options.ca_bundle
    try:
        with _no_aws_environment():
            client = obstore.store.S3Store(
                bucket, config=config, client_options=client_options, retry_config=_RETRY
            )
    except _FOREIGN as error:
        what = "the CA bundle holds no certificate" if options.ca_bundle is not None else "refused"
        raise _invalid(f"{uri}: {what}") from error
    return S3Store(bucket, f"{prefix}/" if prefix else "", client, way)


def _config(bucket: str, options: StoreOptions) -> S3Config:
    credentials = {name: value.strip() for name, value in options.credentials.items()}
    config: S3Config = {
        "region": options.region
        or credentials.get("AWS_REGION")
        or credentials.get("AWS_DEFAULT_REGION")
        or "us-east-1",
        "virtual_hosted_style_request": options.addressing == "virtual",
    }
    if options.addressing not in {"path", "virtual"}:
        raise _invalid(f"addressing is {printable(options.addressing)}: write path or virtual")
    if options.endpoint:
        config["endpoint"] = _endpoint(bucket, options)
    given = [name for name in _CREDENTIALS if credentials.get(name)]
    if not given:
        config["skip_signature"] = True
    elif len(given) < len(_CREDENTIALS):
        missing = next(name for name in _CREDENTIALS if name not in given)
        raise _invalid(f"the credentials hold {given[0]} but no {missing}")
    else:
        config["access_key_id"] = credentials["AWS_ACCESS_KEY_ID"]
        config["secret_access_key"] = credentials["AWS_SECRET_ACCESS_KEY"]
        if credentials.get("AWS_SESSION_TOKEN"):
            config["session_token"] = credentials["AWS_SESSION_TOKEN"]
    return config


def _endpoint(bucket: str, options: StoreOptions) -> str:
    try:
        parts = urlsplit(options.endpoint)
        valid = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        valid = False
    if not valid or parts.username or parts.password or parts.query or parts.fragment:
        raise _invalid("the endpoint is no http(s)://HOST[:PORT] URL without credentials")
    host = parts.netloc
    if options.addressing == "virtual" and not host.startswith(f"{bucket}."):
        host = f"{bucket}.{host}"  # The library wants the bucket in the endpoint.
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


@contextmanager
def _no_aws_environment() -> Iterator[None]:
    """Hide AWS_* variables of this process while a client is made.

    The library's builder reads all of them, credentials and endpoints and `skip_signature` alike,
    beside what it is given, and has no switch for that. It reads them at no other time.
    """
    with _environment_lock:
        hidden = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        for name in hidden:
            del os.environ[name]
        try:
            yield
        finally:
            os.environ.update(hidden)


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


def _invalid(message: str) -> SourceError:
    return SourceError("InvalidSource", message)
