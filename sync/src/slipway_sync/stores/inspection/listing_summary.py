"""Looks over a version's listing as it comes, page by page, holding little of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from slipway_sync.exports import (
    MOST,
    Glance,
    Listing,
    ListingSummarizer,
    ListingSummary,
    ObjectInfo,
    Watchlist,
    in_slices,
    summarized,
)
from slipway_sync.stores.base import PAGE, HostileKeyError, Pages, SourceError


class Paged(Protocol):
    """What is needed of a store here (see Store)."""

    def pages(self, directory: str) -> Pages:
        """Yield the objects of a directory."""

    async def folders(self, directory: str, empty: Sequence[str]) -> frozenset[str]:
        """Return which empty objects only mark a folder."""


async def listed(store: Paged, directory: str, where: str, *, most: int = MOST) -> Listing:
    """Return the whole listing of a directory.

    Args:
        store: Where it lies.
        directory: The version's directory.
        where: What sentences call it.
        most: Objects that it may have.

    Raises:
        SourceError: The store cannot be read, or the listing is too long.
    """
    objects: list[ObjectInfo] = []
    try:
        async with aclosing(_pages(store, directory)) as pages:
            async for page in pages:
                objects += page
                if len(objects) > most:
                    raise SourceError("InvalidSource", f"{where} contains more than {most} objects")
    except HostileKeyError as error:
        return _only(error)
    return tuple(await _in_order(store, directory, objects))


async def summarize(
    store: Paged, directory: str, watchlist: Watchlist | None = None, *, unless: str = ""
) -> ListingSummary | None:
    """Look over the listing of a directory.

    Costs the requests of one listing; another one where a long listing holds empty objects or does
    not come in order, and some requests for each empty object.

    Args:
        store: Where it lies.
        directory: The version's directory.
        watchlist: What is looked for.
        unless: A fingerprint; where the store still answers that, nothing more is asked.

    Returns:
        What was found, or None when the fingerprint is the one that is known.

    Raises:
        SourceError: The store cannot be read.
    """
    glance = Glance(ListingSummarizer(watchlist))
    try:
        async with aclosing(_pages(store, directory)) as pages:
            async for page in pages:
                glance.add(page)
                if glance.enough:
                    break
        if glance.fingerprint == unless:
            return None
        if glance.ordered and (not glance.hollow or glance.enough):
            return glance.summarizer.summarize(glance.fingerprint)
        return await _thorough(store, directory, watchlist, glance)
    except HostileKeyError as error:
        found = summarized(_only(error))
        if found.revision == unless:
            return None
        return replace(found, fingerprint=found.revision)


async def _thorough(
    store: Paged, directory: str, watchlist: Watchlist | None, glance: Glance
) -> ListingSummary:
    """Look over a listing that holds empty objects, or does not come in order."""
    summarizer = ListingSummarizer(watchlist)
    if glance.few is None and glance.ordered:
        async with aclosing(_pages(store, directory)) as pages:
            async for page in pages:
                summarizer.add(await _files(store, directory, page))
                if summarizer.enough:
                    break
        return summarizer.summarize(glance.fingerprint)
    objects = glance.few
    if objects is None:
        objects = []
        async with aclosing(_pages(store, directory)) as pages:
            async for page in pages:
                objects += page
                if len(objects) > MOST:
                    break
    ordered = await _in_order(store, directory, objects)
    for part in in_slices(ordered, PAGE):
        summarizer.add(part)
        await asyncio.sleep(0)
    return summarizer.summarize(glance.fingerprint)


async def _pages(store: Paged, directory: str) -> Pages:
    """Yield pages that are no longer than what is handled at once."""
    async with aclosing(store.pages(directory)) as pages:
        async for page in pages:
            for part in in_slices(page, PAGE):
                yield part
                await asyncio.sleep(0)  # Others have work, too.


async def _in_order(
    store: Paged, directory: str, objects: Sequence[ObjectInfo]
) -> Sequence[ObjectInfo]:
    files = await _files(store, directory, objects)
    if len(files) <= PAGE:
        return sorted(files, key=lambda item: item.path)
    return await asyncio.to_thread(sorted, files, key=lambda item: item.path)


async def _files(
    store: Paged, directory: str, objects: Sequence[ObjectInfo]
) -> Sequence[ObjectInfo]:
    """Leave out what only marks a folder."""
    empty = [item.path for item in objects if item.size == 0]
    if not empty:
        return objects
    folders: frozenset[str] = frozenset()
    for part in in_slices(empty, PAGE):
        folders |= await store.folders(directory, part)
    return [item for item in objects if item.size or item.path not in folders]


def _only(error: HostileKeyError) -> Listing:
    """Return a listing of nothing but a hostile key.

    The proof rejects it by name, and its revision changes when the key is gone.
    """
    return (ObjectInfo(error.path, 0, "", datetime.fromtimestamp(0, UTC)),)
