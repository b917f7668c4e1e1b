"""Object stores: where exports come from. Foreign exceptions end here, as SourceError."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from slipway_sync.exports import printable
from slipway_sync.stores.addresses import AddressPolicy
from slipway_sync.stores.base import ObjectReplacedError, SourceError, Store, StoreOptions
from slipway_sync.stores.local import LocalStore
from slipway_sync.stores.proving import prove
from slipway_sync.stores.s3 import S3Store, open_s3

__all__ = [
    "AddressPolicy",
    "LocalStore",
    "ObjectReplacedError",
    "S3Store",
    "SourceError",
    "Store",
    "StoreOptions",
    "open_store",
    "prove",
]


def open_store(uri: str, options: StoreOptions) -> Store:
    """Open the directory above a model's versions; no request is made yet.

    Args:
        uri: `s3://bucket/path` or `file:///path`.
        options: How it is reached. The process's environment has no say.

    Raises:
        SourceError: The URI or an option cannot be.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "s3":
        return open_s3(uri, options)
    if separator and scheme == "file" and rest.startswith("/") and "\0" not in rest:
        return LocalStore(Path(unquote(rest)))
    raise SourceError(
        "InvalidSource", f"{printable(uri)} is no source: write s3://BUCKET/PATH or file:///PATH"
    )
