"""Proves an export complete by reading no more of it than its graph, its index and its manifest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from slipway_sync.exports import (
    GRAPHS,
    MANIFEST,
    READ_LIMIT,
    GraphError,
    Listing,
    ListingSummary,
    ManifestError,
    Proof,
    ProofReason,
    Requirements,
    Steps,
    Verdict,
    examine,
    graph_fields_of,
    precheck,
    printable,
    read_manifest,
    reads,
    summarized,
    unreadable_graph,
    watchlist,
)
from slipway_sync.stores.base import SourceError, Store, WrongAnswerError
from slipway_sync.stores.inspection.listing_summary import summarize

_PART = 4 << 20
"""Bytes of one read: copying them takes a millisecond."""
_STEP = 256 << 10
"""Bytes of one read of a graph that is mostly stepped over."""
_WHOLE = 1 << 20
"""Graphs up to this size in bytes are read in one go."""
_MOST = 4 << 20
"""Bytes of a graph that calls Python, or of what was exported, that are looked into, and that are kept of all tag sets
together: parsed, they take some twenty times as much. A pod looks into more."""
_MOST_READS = 64
"""Reads of one graph; one whose pieces lie about more widely is left to the agent."""
_DEFAULT = Requirements()

_parser = ThreadPoolExecutor(1, thread_name_prefix="proof")
"""Parses one export after the other: what that takes of memory is not multiplied by their number."""

_Result = TypeVar("_Result")

_READS = 2
"""How often what proves wrong is read: the line may have been, not the source."""


async def prove(
    store: Store,
    directory: str,
    found: ListingSummary | Listing,
    requirements: Requirements = _DEFAULT,
    *,
    limit: int = READ_LIMIT,
) -> Proof:
    """Judge whether a version's directory holds a complete export that is what is asked for.

    Args:
        store: Where it lies.
        directory: The version's directory.
        found: Its listing, or what a survey of it found; just taken.
        requirements: What is asked of the export.
        limit: Larger graphs (bytes) are not read; what they say is taken on trust.

    Raises:
        SourceError: The store cannot be read.
    """
    looked = (
        found if isinstance(found, ListingSummary) else await in_parser(lambda: summarized(found))
    )
    # What the listing alone can say is said before anything is read.
    finding = precheck(looked, requirements)
    if finding is not None:
        return finding
    for left in reversed(range(_READS)):
        proof = await _proven(store, directory, looked, requirements, limit)
        if proof.verdict is not Verdict.REJECTED or not left:
            break
    return proof


async def _proven(
    store: Store, directory: str, looked: ListingSummary, requirements: Requirements, limit: int
) -> Proof:
    """Read what matters, and judge."""
    contents: dict[str, bytes | memoryview] = {}
    for path in reads(looked, requirements, limit=limit):
        try:
            content = await _content(store, directory, path, looked.sizes[path])
        except GraphError as error:
            return unreadable_graph(path, error)
        except _ShortError as error:
            return _moved(
                f"{printable(path)} has {error.size} bytes, {looked.sizes[path]} were listed", path
            )
        except SourceError as error:
            if error.reason != "NotFound":
                error.path = error.path or path
                raise
            return _moved(f"{printable(path)} was removed while it was read", path)
        if content is not None:
            contents[path] = content
    if not looked.whole:
        more = await _looked_through(store, directory, looked, contents, requirements)
        if more is None:
            return _moved("the listing changed while it was read", "")
        looked = more
    return await in_parser(lambda: examine(looked, contents, requirements, limit=limit))


class _ShortError(Exception):
    """An object is shorter than it was listed."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


async def described(store: Store, directory: str, listing: Listing) -> Listing:
    """Return a listing with the SHA-256 that the export's manifest gives for each file.

    A manifest that is missing or unreadable describes nothing: the proof has judged it. What a
    store says itself is kept. The manifest is not checked for a signature here: what is brought
    has to be held against the manifest that was brought with it.

    Raises:
        SourceError: The store cannot be read.
    """
    item = next((item for item in listing if item.path == MANIFEST), None)
    if item is None or item.size == 0:
        return listing
    content = await store.read(directory, MANIFEST, length=item.size)

    def filled() -> Listing:
        try:
            sha256 = read_manifest(content).sha256
        except ManifestError:
            return listing
        return tuple(
            item if item.sha256 else replace(item, sha256=sha256.get(item.path, ""))
            for item in listing
        )

    return await in_parser(filled)


async def in_parser(function: Callable[[], _Result]) -> _Result:
    """Run work of the processor beside the event loop, one piece of it at a time."""
    return await asyncio.get_running_loop().run_in_executor(_parser, function)


async def _content(store: Store, directory: str, path: str, size: int) -> bytes | memoryview | None:
    """Read what matters of one file; None where that is too scattered."""
    if path in {GRAPHS[0], GRAPHS[2]} and size > _WHOLE:
        steps = graph_fields_of(path, size, step=_STEP, most=_MOST)
        wanted = await in_parser(lambda: _next(steps, None))
        for _ in range(_MOST_READS):
            if isinstance(wanted, bytes):
                return wanted
            piece = await _read(store, directory, path, *wanted)
            wanted = await in_parser(partial(_next, steps, piece))
        return wanted if isinstance(wanted, bytes) else None
    return await _read(store, directory, path, 0, size)


def _next(steps: Steps, piece: memoryview | None) -> tuple[int, int] | bytes:
    """Return what a reader of a graph wants next, or what it has read."""
    try:
        return next(steps) if piece is None else steps.send(piece)
    except StopIteration as end:
        kept: bytes = end.value
        return kept


async def _read(store: Store, directory: str, path: str, start: int, length: int) -> memoryview:
    """Read bytes of one object part by part.

    Raises:
        _ShortError: It is shorter than it was listed.
    """
    content = bytearray(length)
    for done in range(0, length, _PART):
        wanted = min(_PART, length - done)
        part = await store.read(directory, path, start=start + done, length=wanted)
        if len(part) < wanted:
            raise _ShortError(start + done + len(part))
        if len(part) > wanted:
            message = f"the store sent more of {printable(path)} than it was asked for"
            raise WrongAnswerError("WrongSize", message, trusted=False)
        content[done : done + wanted] = part
    return memoryview(content)


async def _looked_through(
    store: Store,
    directory: str,
    before: ListingSummary,
    contents: Mapping[str, bytes | memoryview],
    requirements: Requirements,
) -> ListingSummary | None:
    """Look through a long listing for what the export needs; None when it has changed."""
    wanted = await in_parser(lambda: watchlist(before, contents, requirements))
    found = await summarize(store, directory, wanted)
    return found if found is not None and found.revision == before.revision else None


def _moved(message: str, path: str) -> Proof:
    return Proof(Verdict.INCOMPLETE, ProofReason.MOVED, message, path)
