"""Deletes the objects of a version from a bucket, folder markers too, which the library cannot name."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import urlsplit

import obstore

from slipway_sync.stores.base import SourceError, Store

if TYPE_CHECKING:
    from obstore.store import ObjectStore as ObstoreClient
    from obstore.store import S3Store

    from slipway_sync.stores.egress.token import ProxyToken

_BATCH = 1000
"""As many as one request of S3 takes."""
_SIGNED_FOR = timedelta(minutes=1)
_TIMEOUT = 30.0
_GONE = frozenset({200, 202, 204, 404})
_DENIED = frozenset({401, 403})


@runtime_checkable
class ErasableStore(Store, Protocol):
    """A store that exports can be deleted from."""

    async def delete(self, directory: str, paths: Sequence[str]) -> None:
        """Delete objects of one version, in this order; one that is gone already is no error.

        Raises:
            SourceError: The rest was not deleted.
        """

    async def delete_folders(self, directory: str) -> None:
        """Delete the empty objects, or empty directories, that only mark a version's folders.

        Raises:
            SourceError: Some are left.
        """


class FolderEraser(Protocol):
    """Deletes the object whose key is a folder's name with a `/` at its end."""

    async def __call__(self, key: str) -> None:
        """Delete it; `key` has no `/` at its end."""


async def erase(client: ObstoreClient, keys: Sequence[str]) -> None:
    """Delete objects by key, batch after batch; those that are not there are no error."""
    for first in range(0, len(keys), _BATCH):
        batch = list(keys[first : first + _BATCH])
        try:
            await obstore.delete_async(client, batch)
        except FileNotFoundError:
            # Some were gone: where one request deletes one object, go on with the others.
            await _one_by_one(client, batch)


async def _one_by_one(client: ObstoreClient, keys: Sequence[str]) -> None:
    for key in keys:
        try:
            await obstore.delete_async(client, key)
        except FileNotFoundError:
            continue


@dataclass(frozen=True, slots=True)
class SignedEraser:
    """Deletes folder markers of S3 with a signed URL.

    The library takes the `/` off the end of every key. A client whose endpoint is the folder itself
    signs the URL with the `/`; the request then goes through the egress proxy like all others.

    Attributes:
        client_at: Makes a client, and its token, to which the empty key is this folder's.
    """

    client_at: Callable[[str], tuple[S3Store, ProxyToken]]

    async def __call__(self, key: str) -> None:
        """Delete `key/`."""
        client, egress = self.client_at(key)
        url = await obstore.sign_async(client, "DELETE", "", _SIGNED_FOR)
        status = await asyncio.to_thread(_request, "DELETE", url, egress)
        if status in _DENIED:
            raise SourceError("AccessDenied", f"the folder {key}/ may not be deleted")
        if status not in _GONE:
            raise SourceError("Unavailable", f"the folder {key}/ was not deleted: HTTP {status}")


@dataclass(frozen=True, slots=True)
class PlainEraser:
    """Deletes folder markers of Google Cloud Storage.

    There, too, the library takes the `/` off: a client whose bucket is the folder adds it again.

    Attributes:
        client_at: Makes a client, and its token, to which the empty key is this folder's.
    """

    client_at: Callable[[str], tuple[ObstoreClient, ProxyToken]]

    async def __call__(self, key: str) -> None:
        """Delete `key/`."""
        client, _egress = self.client_at(key)
        with contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(client, "")


def _request(method: str, url: str, egress: ProxyToken) -> int:
    """Return the status of a request that goes through the egress proxy.

    Raises:
        OSError: No answer came.
    """
    gate = urlsplit(egress.url)
    connection = http.client.HTTPConnection(gate.hostname or "", gate.port, timeout=_TIMEOUT)
    owner = base64.b64encode(f"{gate.username}:{gate.password}".encode()).decode()
    headers = {"Content-Length": "0", "Proxy-Authorization": f"Basic {owner}"}
    try:
        connection.request(method, url, headers=headers)
        with connection.getresponse() as answer:
            return answer.status
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {type(error).__name__}") from error
    finally:
        connection.close()
