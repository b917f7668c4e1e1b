"""Object stores: where exports come from. Foreign exceptions end here, as SourceError."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from slipway_sync.exports import printable
from slipway_sync.stores.addresses import AddressPolicy
from slipway_sync.stores.azure import open_azure
from slipway_sync.stores.base import ObjectReplacedError, SourceError, Store, StoreOptions
from slipway_sync.stores.gcs import open_gcs
from slipway_sync.stores.local import LocalStore
from slipway_sync.stores.objects import ObjectStore
from slipway_sync.stores.proving import prove
from slipway_sync.stores.s3 import open_s3

__all__ = [
    "AddressPolicy",
    "LocalStore",
    "ObjectReplacedError",
    "ObjectStore",
    "SourceError",
    "Store",
    "StoreOptions",
    "open_store",
    "prove",
]


_OPENERS = {"s3": open_s3, "gs": open_gcs, "az": open_azure}


def open_store(uri: str, options: StoreOptions) -> Store:
    """Open the directory above a model's versions; no request is made yet.

    Args:
        uri: `s3://bucket/path`, `gs://bucket/path`, `az://container/path` or `file:///path`.
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
        f"{printable(uri)} is no source: write s3://BUCKET/PATH, gs://BUCKET/PATH, "
        "az://CONTAINER/PATH or file:///PATH",
    )
