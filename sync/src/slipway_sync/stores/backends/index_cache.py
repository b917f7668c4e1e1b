"""Index documents that were read before, so that one which has not changed is not sent again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from typing import Final

from slipway_sync.stores.backends.index_document import Index

MAX_BYTES: Final = 64 << 20
_BYTES_PER_FILE: Final = 700
_BYTES_PER_ENTRY: Final = 2000


@dataclass(frozen=True, slots=True)
class Known:
    """A document that was read.

    Attributes:
        etag: The server's tag of it, as it stood in the header.
    """

    etag: str
    index: Index


class IndexCache:
    """The documents read last, as many as fit into an amount of memory.

    Nobody has to forget them: what is not asked for goes when room is needed.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max = max_bytes
        self._bytes = 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Known | None:
        """Return what was read under a key, if it is still here."""
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def put(self, key: str, known: Known) -> None:
        """Keep a document in the place of an earlier one; one that is too large is not kept."""
        with self._lock:
            self._drop(key)
            cost = _cost(known)
            if cost > self._max // 4:
                return
            self._known[key] = known
            self._bytes += cost
            while self._bytes > self._max:
                self._drop(next(iter(self._known)))

    def drop(self, key: str) -> None:
        """Forget a document."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: str) -> None:
        found = self._known.pop(key, None)
        if found is not None:
            self._bytes -= _cost(found)


@cache
def shared() -> IndexCache:
    """Return the cache of this process."""
    return IndexCache()


def _cost(known: Known) -> int:
    """Return about how many bytes of memory a document takes."""
    index = known.index
    return _BYTES_PER_ENTRY * (1 + len(index.versions)) + _BYTES_PER_FILE * index.files
