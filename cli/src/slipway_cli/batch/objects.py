"""Objects of a store, for reading rows and writing answers: with the credentials that the environment has."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url
from typing_extensions import Buffer, override

from slipway_cli.errors import CliError, UnavailableError, UsageError

SCHEMES = ("s3", "gs", "az", "http", "https")


@dataclass(frozen=True, slots=True)
class ObjectAccess:
    """How a store is reached, beside the environment.

    Attributes:
        endpoint: URL of an S3-compatible store or an emulator, or "".
        region: S3 region, or "".
    """

    endpoint: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class ObjectItem:
    """An object.

    Attributes:
        key: Its whole name in the store.
        size: Bytes.
        revision: Its ETag, or when it was written.
    """

    key: str
    size: int
    revision: str


def key_of(uri: str) -> str:
    """Return the object's name in its bucket or on its host."""
    return uri.partition("://")[2].partition("/")[2]


def opened(uri: str, access: ObjectAccess) -> Any:
    """Open the bucket or host of a URI; no request is made yet.

    Raises:
        UsageError: It is of no kind that can be opened.
    """
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES or not parts.netloc or not key_of(uri):
        kinds = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise UsageError(
            f"{uri} is neither a path nor an object: write {kinds} with bucket and name"
        )
    config: dict[str, Any] = {}
    if parts.scheme in {"s3", "az"} and access.endpoint:
        config["endpoint"] = access.endpoint
    if parts.scheme == "s3" and access.region:
        config["region"] = access.region
    plain = access.endpoint.startswith("http://") or parts.scheme == "http"
    options: Any = {"allow_http": True} if plain else {}
    try:
        return from_url(f"{parts.scheme}://{parts.netloc}", client_options=options, **config)
    except (BaseError, ValueError) as error:
        raise UsageError(f"{uri} cannot be opened: {_first(error)}") from error


def head(store: Any, uri: str) -> ObjectItem:
    """Return one object.

    Raises:
        CliError: It is not there, or the store does not answer.
    """
    with _errors(uri):
        found = obstore.head(store, key_of(uri))
    return _item(found)


def listed(store: Any, uri: str, folder: str) -> Iterator[ObjectItem]:
    """Yield all objects below a folder.

    Raises:
        CliError: The store does not answer.
    """
    with _errors(uri):
        for page in obstore.list(store, folder or None):
            yield from (_item(item) for item in page)


def upload(uri: str, access: ObjectAccess, file: Path) -> None:
    """Write a file to an object: the whole of it appears at once.

    Raises:
        CliError: The store refuses it, or does not answer.
    """
    with _errors(uri):
        obstore.put(opened(uri, access), key_of(uri), file)


class ObjectReader(io.RawIOBase):
    """An object as a file that is read from its beginning to its end."""

    def __init__(self, store: Any, uri: str, key: str) -> None:
        self._uri = uri
        with _errors(uri):
            self._chunks = iter(obstore.get(store, key).stream(min_chunk_size=1 << 20))
        self._rest = memoryview(b"")

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, target: Buffer, /) -> int:
        room = memoryview(target).cast("B")
        with _errors(self._uri):
            while not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return 0
                self._rest = memoryview(bytes(chunk))
        length = min(len(room), len(self._rest))
        room[:length] = self._rest[:length]
        self._rest = self._rest[length:]
        return length


@contextmanager
def _errors(uri: str) -> Iterator[None]:
    """Turn what the store's library raises into one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"{uri} does not exist") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise CliError(
            f"{uri}: the store refuses the credentials; are they in the environment?"
        ) from error
    except (BaseError, OSError) as error:
        raise UnavailableError(f"{uri} cannot be reached: {_first(error)}") from error


def _item(found: Any) -> ObjectItem:
    revision = found.get("e_tag") or found["last_modified"].isoformat()
    return ObjectItem(found["path"], found["size"], revision)


def _first(error: BaseException) -> str:
    """The first sentence of an error; what follows is the library's own state."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
