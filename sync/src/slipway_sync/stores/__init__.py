"""Object stores: where exports come from. Foreign exceptions end here, as SourceError."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import unquote

from slipway_sync.exports import printable
from slipway_sync.stores.addresses import AddressPolicy
from slipway_sync.stores.backends import azure, gcs, http, s3
from slipway_sync.stores.backends.azure import open_azure
from slipway_sync.stores.backends.deletion import ErasableStore
from slipway_sync.stores.backends.gcs import open_gcs
from slipway_sync.stores.backends.http import HttpStore, open_http
from slipway_sync.stores.backends.local import LocalStore
from slipway_sync.stores.backends.mounted import MountedStore, not_a_file, unchanged
from slipway_sync.stores.backends.object_store import ObjectStore
from slipway_sync.stores.backends.s3 import open_s3
from slipway_sync.stores.base import (
    ObjectReplacedError,
    Patience,
    Pouring,
    PouringStore,
    Sink,
    SourceError,
    Store,
    StoreOptions,
    WrongAnswerError,
)
from slipway_sync.stores.egress.clients import PROXY_CREDENTIALS
from slipway_sync.stores.inspection.completeness import described, prove
from slipway_sync.stores.inspection.listing_summary import survey

__all__ = [
    "AddressPolicy",
    "ErasableStore",
    "HttpStore",
    "LocalStore",
    "MountedStore",
    "ObjectReplacedError",
    "ObjectStore",
    "Patience",
    "Pouring",
    "PouringStore",
    "Sink",
    "SourceError",
    "Store",
    "StoreOptions",
    "WrongAnswerError",
    "credential_names",
    "described",
    "missing_credentials",
    "not_a_file",
    "open_store",
    "prove",
    "survey",
    "unchanged",
]


_CREDENTIALS = {
    "s3": s3.CREDENTIALS,
    "gs": gcs.CREDENTIALS,
    "az": azure.CREDENTIALS,
    "http": http.CREDENTIALS,
    "https": http.CREDENTIALS,
}
_WAYS = {"s3": s3.WAYS, "gs": gcs.WAYS, "az": azure.WAYS, "http": http.WAYS, "https": http.WAYS}
_OPENERS: dict[str, Callable[[str, StoreOptions], Store]] = {
    "s3": open_s3,
    "gs": open_gcs,
    "az": open_azure,
    "http": open_http,
    "https": open_http,
}


def credential_names(uri: str) -> tuple[str, ...]:
    """Return the names of all credentials that a source of this kind, or its proxy, could use."""
    own = _CREDENTIALS.get(uri.partition("://")[0])
    return () if own is None else (*own, *PROXY_CREDENTIALS)


def missing_credentials(uri: str, given: Collection[str]) -> str | None:
    """Return what a Secret for a source has to hold, in words, when it does not."""
    scheme = uri.partition("://")[0]
    ways = _WAYS.get(scheme, ())
    if not ways or any(set(way) <= set(given) for way in ways):
        return None
    if set(PROXY_CREDENTIALS) <= set(given) and not set(_CREDENTIALS[scheme]) & set(given):
        return None  # A public source, behind a proxy that asks who comes.
    return ", or ".join(" and ".join(way) for way in ways)


def open_store(uri: str, options: StoreOptions) -> Store:
    """Open the directory above a model's versions; no request is made yet.

    Args:
        uri: `s3://bucket/path`, `gs://bucket/path`, `az://container/path`, `http(s)://host/path`
            or `file:///path`.
        options: How it is reached. The process's environment has no say.

    Raises:
        SourceError: The URI or an option cannot be.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme in _OPENERS:
        return _OPENERS[scheme](uri, options)
    if separator and scheme == "file" and rest.startswith("/") and "\0" not in rest:
        return LocalStore(Path(unquote(rest)))
    raise SourceError(
        "InvalidSource",
        f"{printable(uri)} is not a valid source: write s3://BUCKET/PATH, gs://BUCKET/PATH, "
        "az://CONTAINER/PATH, http(s)://HOST/PATH or file:///PATH",
    )
