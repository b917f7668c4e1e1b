"""A cache of store clients: making one costs more than a poll itself."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Final

from slipway_sync.stores import ObjectStore, Store, StoreOptions, open_store

KEPT: Final = 128
"""Size of the cache, least recently used out first: each is about 100 kB, more while it has connections."""


class Clients:
    """Opens stores. Models of one bucket that are reached alike share a client."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._stores: OrderedDict[Hashable, Store] = OrderedDict()

    def open(self, uri: str, options: StoreOptions) -> Store:
        """The store of a source.

        Raises:
            SourceError: The URI or an option cannot be.
        """
        scheme, _, rest = uri.partition("://")
        bucket = f"{scheme}://{rest.partition('/')[0]}"
        key = (bucket, *(_hashable(getattr(options, f.name)) for f in fields(options)))
        known = self._stores.get(key)
        if isinstance(known, ObjectStore):
            self._stores.move_to_end(key)
            return known.at(uri)
        opened = open_store(uri, options)
        if isinstance(opened, ObjectStore):
            self._stores[key] = opened
            if len(self._stores) > self._kept:
                self._stores.popitem(last=False)
        return opened


def _hashable(value: object) -> object:
    """The value, as part of a key; an object without a value of its own counts as itself."""
    if isinstance(value, Mapping):
        return frozenset(value.items())
    try:
        hash(value)
    except TypeError:
        # The client holds it, so no other object gets its place while the key is here.
        return id(value)
    return value
