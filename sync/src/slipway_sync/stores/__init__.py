"""Object stores: where exports come from. Foreign exceptions end here, as SourceError."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import unquote

from slipway_sync.exports import printable
from slipway_sync.store_kinds import KINDS, kind_of
from slipway_sync.stores.addresses import AddressPolicy
from slipway_sync.stores.backends.deletion import ErasableStore
from slipway_sync.stores.backends.http import HttpStore
from slipway_sync.stores.backends.local import LocalStore
from slipway_sync.stores.backends.mounted import MountedStore, not_a_file, unchanged
from slipway_sync.stores.backends.object_store import ObjectStore
from slipway_sync.stores.base import (
    ObjectReplacedError,
    Patience,
    RangeTransfer,
    RangeTransferStore,
    Sink,
    SourceError,
    Store,
    StoreOptions,
    WrongAnswerError,
)
from slipway_sync.stores.egress.clients import PROXY_CREDENTIALS
from slipway_sync.stores.inspection.completeness import described, prove
from slipway_sync.stores.inspection.listing_summary import summarize

__all__ = [
    "AddressPolicy",
    "ErasableStore",
    "HttpStore",
    "LocalStore",
    "MountedStore",
    "ObjectReplacedError",
    "ObjectStore",
    "Patience",
    "RangeTransfer",
    "RangeTransferStore",
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
    "summarize",
    "unchanged",
]


def credential_names(uri: str) -> tuple[str, ...]:
    """Return the names of all credentials that a source of this kind, or its proxy, could use."""
    kind = kind_of(uri)
    return (*kind.credentials, *PROXY_CREDENTIALS) if kind is not None and kind.opener else ()


def missing_credentials(uri: str, given: Collection[str]) -> str | None:
    """Return what a Secret for a source has to hold, in words, when it does not."""
    kind = kind_of(uri)
    if kind is None or not kind.auth_methods:
        return None
    if any(set(method) <= set(given) for method in kind.auth_methods):
        return None
    if set(PROXY_CREDENTIALS) <= set(given) and not set(kind.credentials) & set(given):
        return None  # A public source, behind a proxy that asks who comes.
    return ", or ".join(" and ".join(method) for method in kind.auth_methods)


def open_store(uri: str, options: StoreOptions) -> Store:
    """Open the directory above a model's versions; no request is made yet.

    Args:
        uri: Of a kind that has an opener (see `store_kinds`), or `file:///path`.
        options: How it is reached. The process's environment has no say.

    Raises:
        SourceError: The URI or an option cannot be.
    """
    scheme, separator, rest = uri.partition("://")
    kind = kind_of(uri) if separator else None
    if kind is not None and kind.opener:
        opener: Callable[[str, StoreOptions], Store] = resolve_name(kind.opener)
        return opener(uri, options)
    if separator and scheme == "file" and rest.startswith("/") and "\0" not in rest:
        return LocalStore(Path(unquote(rest)))
    examples = ", ".join(kind.example for kind in KINDS if kind.opener)
    raise SourceError(
        "InvalidSource", f"{printable(uri)} is not a valid source: write {examples} or file:///PATH"
    )
