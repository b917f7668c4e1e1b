"""One sync from beginning to end: plan, bring, verify, install."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from slipway_sync.agent.errors import SyncError, of_source, volume_errors
from slipway_sync.agent.pauses import Pauses
from slipway_sync.agent.progress import Progress
from slipway_sync.agent.transfer import Transfer, in_thread
from slipway_sync.agent.volume import Partial, Verified, Volume
from slipway_sync.exports import (
    Bundle,
    BundleError,
    ExitCode,
    Listing,
    ObjectInfo,
    Proof,
    SyncOutcome,
    Verdict,
    digest,
    examine,
    read_bundle,
    reads,
    revision,
)
from slipway_sync.stores import LocalStore, SourceError, Store, prove

_UNLIMITED = 1 << 62
_INDEXES = {"variables/variables.index": "variables/variables", "export.index": "export"}


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be synced.

    Attributes:
        directory: The version's directory in the source.
        version: Its number.
        revision: The revision that was planned, 64 hex digits.
        destination: The directory that gets the version as a child.
        marker: Name of an object that must be there, or "".
        concurrency: How many requests run at once.
    """

    directory: str
    version: int
    revision: str
    destination: Path
    marker: str = ""
    concurrency: int = 8


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a sync takes from the world.

    Attributes:
        report: Is given the numbers of each progress line.
        clock: Returns seconds that never go back.
        pauses: How to wait before trying again.
    """

    report: Callable[[dict[str, int]], None]
    clock: Callable[[], float]
    pauses: Pauses


async def fetch(request: Request, store: Store, around: Surroundings) -> SyncOutcome:
    """Bring one version to the volume, or find it there.

    Returns:
        How it went well.

    Raises:
        SyncError: How it went wrong. The volume holds no half version, whatever happened.
    """
    volume = Volume(request.destination, request.version, request.revision)
    there = await in_thread(volume.verified)
    if there is not None:
        with volume_errors():
            await in_thread(volume.remove_leftovers)
        progress = Progress(
            around.report, around.clock, total_bytes=there.bytes, total_files=there.files
        )
        progress.found(there.bytes, there.files)
        return _synced(request, there, "was on the volume already")
    listing = await _planned(request, store, around.pauses)
    with closing(await in_thread(volume.open_partial)) as partial:
        verified = await _bring(request, store, around, listing, volume, partial)
        await in_thread(lambda: volume.install(partial, verified))
    return _synced(request, verified, "is on the volume, verified")


async def _planned(request: Request, store: Store, pauses: Pauses) -> Listing:
    """Return the listing when it is the planned revision and proves complete."""
    try:
        listing = await pauses.retried(lambda: store.listing(request.directory))
        found = revision(listing)
        if found != request.revision:
            raise SyncError(
                ExitCode.REVISION_MOVED,
                f"the listing of {request.directory} changed since revision "
                f"{request.revision[:12]} was planned: it is {found[:12]} now",
            )
        proof = await pauses.retried(
            lambda: prove(store, request.directory, listing, marker=request.marker)
        )
    except SourceError as error:
        raise of_source(error) from error
    _require(proof)
    return listing


async def _bring(
    request: Request,
    store: Store,
    around: Surroundings,
    listing: Listing,
    volume: Volume,
    partial: Partial,
) -> Verified:
    """Bring what is missing of a listing and prove the whole on the volume."""
    known = await in_thread(partial.verified_files)
    missing = [item for item in listing if (item.path, item.size, item.etag) not in known]
    kept = frozenset(item.path for item in listing) - {item.path for item in missing}
    await in_thread(lambda: partial.keep_only(kept))
    await in_thread(lambda: volume.require_space(sum(item.size for item in missing), len(missing)))
    total = sum(item.size for item in listing)
    progress = Progress(around.report, around.clock, total_bytes=total, total_files=len(listing))

    async def is_listed() -> bool:
        now = await around.pauses.retried(lambda: store.listing(request.directory))
        return revision(now) == request.revision

    transfer = Transfer(
        store,
        request.directory,
        partial,
        around.pauses,
        progress,
        concurrency=request.concurrency,
        is_listed=is_listed,
    )
    # The index first: with it, each shard is checked as soon as it is whole.
    indexes = [item for item in listing if item.path in _INDEXES]
    hashes = await transfer.bring(indexes, known, None)
    bundle = await in_thread(lambda: _bundle(partial, indexes))
    others = [item for item in listing if item.path not in _INDEXES]
    hashes |= await transfer.bring(others, known, bundle)
    _require(await _local_proof(request, partial))
    progress.finish()
    return Verified(request.revision, digest(hashes), total, len(listing))


def _bundle(partial: Partial, indexes: list[ObjectInfo]) -> Bundle | None:
    for item in indexes:
        with volume_errors(item.path):
            content = (partial.files / item.path).read_bytes()
        try:
            return read_bundle(content, _INDEXES[item.path])
        except BundleError as error:
            message = f"{item.path} is not readable: {error}"
            raise SyncError(
                ExitCode.REJECTED, message, reason="UnreadableIndex", path=item.path
            ) from error
    return None


async def _local_proof(request: Request, partial: Partial) -> Proof:
    """Prove what lies on the volume, graphs of any size included: they are mapped, not read."""
    try:
        listing = await LocalStore(partial.files.parent).listing(partial.files.name)
    except SourceError as error:
        raise SyncError(ExitCode.VOLUME_ERROR, str(error)) from error

    def examined() -> Proof:
        contents: dict[str, bytes | memoryview] = {}
        with volume_errors():
            for path in reads(listing, limit=_UNLIMITED):
                with (partial.files / path).open("rb") as file:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                contents[path] = memoryview(mapped)
        return examine(listing, contents, marker=request.marker, limit=_UNLIMITED)

    return await in_thread(examined)


def _require(proof: Proof) -> None:
    if proof.verdict is Verdict.COMPLETE:
        return
    if proof.reason == "Moved":
        raise SyncError(ExitCode.REVISION_MOVED, proof.message, path=proof.object)
    raise SyncError(ExitCode.REJECTED, proof.message, reason=proof.reason, path=proof.object)


def _synced(request: Request, verified: Verified, how: str) -> SyncOutcome:
    return SyncOutcome(
        reason=ExitCode.SYNCED.reason,
        message=f"version {request.version} {how}: {verified.bytes} bytes",
        object="",
        digest=verified.digest,
        revision=request.revision,
        bytes=verified.bytes,
    )
