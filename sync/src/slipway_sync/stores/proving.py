"""Proves an export complete by reading no more of it than its graph and its index."""

from __future__ import annotations

import asyncio

from slipway_sync.exports import (
    READ_LIMIT,
    Listing,
    Proof,
    Verdict,
    examine,
    printable,
    reads,
)
from slipway_sync.stores.base import SourceError, Store

_READS = 2
"""How often what proves wrong is read: the line may have been, not the source."""


async def prove(
    store: Store,
    directory: str,
    listing: Listing,
    *,
    marker: str = "",
    limit: int = READ_LIMIT,
) -> Proof:
    """Judge whether a version's directory holds a complete export.

    Args:
        store: Where it lies.
        directory: The version's directory.
        listing: Its listing, just taken.
        marker: Name of an object that must be there, or "".
        limit: Larger files (bytes) are not read; what they say is taken on trust.

    Raises:
        SourceError: The store cannot be read.
    """
    sizes = {item.path: item.size for item in listing}
    contents: dict[str, bytes | memoryview] = {}
    # What the listing alone can say is said before anything is read.
    proof = examine(listing, contents, marker=marker, limit=limit)
    if proof.verdict is not Verdict.COMPLETE:
        return proof
    for _ in range(_READS):
        for path in reads(listing, limit=limit):
            try:
                content = await store.read(directory, path, length=sizes[path])
            except SourceError as error:
                if error.reason != "NotFound":
                    raise
                message = f"{printable(path)} went away while it was read"
                return Proof(Verdict.INCOMPLETE, "Moved", message, path)
            if len(content) != sizes[path]:
                message = f"{printable(path)} has {len(content)} bytes, {sizes[path]} were listed"
                return Proof(Verdict.INCOMPLETE, "Moved", message, path)
            contents[path] = content
        proof = await asyncio.to_thread(examine, listing, contents, marker=marker, limit=limit)
        if proof.verdict is not Verdict.REJECTED:
            break
    return proof
