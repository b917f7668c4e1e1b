"""One sync from beginning to end: plan, bring, verify, install."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from slipway_sync.agent.errors import SyncError, of_replacement, of_source, volume_errors
from slipway_sync.agent.examination import examine_files, require_complete
from slipway_sync.agent.fetch.reuse import copy, link, shareable
from slipway_sync.agent.fetch.transfer import Transfer
from slipway_sync.agent.progress import Progress
from slipway_sync.agent.requirements import require_digests
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.agent.threads import in_thread
from slipway_sync.agent.volume.filesystem import FileSystem, files_below
from slipway_sync.agent.volume.journal import Key
from slipway_sync.agent.volume.layout import LOCK, Layout
from slipway_sync.agent.volume.recheck import verify
from slipway_sync.agent.volume.record import FileRecord, Record
from slipway_sync.agent.volume.staging import StagingDirectory
from slipway_sync.agent.volume.volume import Volume, World
from slipway_sync.exports import (
    INDEXES,
    MANIFEST,
    Bundle,
    BundleError,
    ExitCode,
    Listing,
    ObjectInfo,
    Proof,
    ProofReason,
    Requirements,
    SyncOutcome,
    digest,
    printable,
    read_bundle,
    revision,
    summarized_sizes,
)
from slipway_sync.stores import (
    ObjectReplacedError,
    SourceError,
    Store,
    described,
    prove,
)


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What is to be synced.

    Attributes:
        directory: The version's directory in the source.
        version: Its number.
        revision: The revision that was planned, 64 hex digits.
        destination: The directory that gets the version as a child.
        requirements: What is asked of the export.
        concurrency: How many requests run at once.
        kept: Whether the destination outlives the pod and is shared with other pods and versions.
        keep: On such a volume, the file that names the versions to keep; None collects none.
        origin: Says which store it is, for the comparison of ETags.
    """

    directory: str
    version: int
    revision: str
    destination: Path
    requirements: Requirements = field(default_factory=Requirements)
    concurrency: int = 8
    kept: bool = False
    keep: Path | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a sync takes from the world.

    Attributes:
        report: Is given the numbers of each progress line.
        clock: Returns seconds that never go back.
        retry: How to wait before trying again.
        log: Is given an event and a sentence for the log.
        now: Returns seconds of the Unix clock.
        operations: How the volume is changed.
    """

    report: Callable[[dict[str, int]], None]
    clock: Callable[[], float]
    retry: RetryPolicy
    log: Callable[[str, str], None] = lambda _event, _sentence: None
    now: Callable[[], float] = time.time
    operations: FileSystem = field(default_factory=FileSystem)


async def fetch(request: FetchRequest, store: Store, runtime: Runtime) -> SyncOutcome:
    """Bring one version to the volume, or find it there.

    Returns:
        How it went well.

    Raises:
        SyncError: How it went wrong. The volume holds no half version, whatever happened.
    """
    layout = Layout(request.destination, request.version, request.revision, request.kept)
    world = World(runtime.operations, runtime.clock, runtime.now, runtime.log)
    volume = Volume(layout, world, request.keep)
    there, damaged = await _found(request, runtime, volume)
    if there is not None:
        await in_thread(volume.tidy_if_free)
        return _synced(request, there, "was already on the volume")
    listing = await _planned(request, store, runtime.retry)
    with closing(await volume.acquire(runtime.retry)) as turn:
        if turn.waited:
            # Most likely for one that brought this very version.
            there, damaged = await _found(request, runtime, volume)
            if there is not None:
                await in_thread(lambda: volume.tidy(done=True))
                return _synced(request, there, "was downloaded by another pod")
            listing = await _planned(request, store, runtime.retry)
        await in_thread(volume.tidy)
        if damaged is not None:
            record, good = damaged
            await in_thread(lambda: volume.take_apart(record, good, listing))
        partial = await in_thread(volume.open_partial)
        try:
            record = await _bring(request, store, runtime, listing, volume, partial)
        except SyncError as error:
            raise await _explained(error, request, store, runtime.retry) from error
        await in_thread(lambda: volume.install(partial, record))
    return _synced(request, record, "is on the volume, verified")


async def _found(
    request: FetchRequest, runtime: Runtime, volume: Volume
) -> tuple[Record | None, tuple[Record, frozenset[str]] | None]:
    """Read what lies on the volume again.

    Returns:
        What is verified there, or what should be there and which files of it are right.
    """
    record = await in_thread(volume.record)
    if record is None:
        return None, None
    with volume.in_use() as stays:
        if not stays:
            return None, None
        target = volume.layout.target
        progress = Progress(
            runtime.report, runtime.clock, total_bytes=record.size, total_files=len(record.files)
        )
        findings = await verify(target, record, progress)
        if findings.whole:
            require_complete(await _local_proof(request, target))
            brought = {path: bytes.fromhex(file.sha256) for path, file in record.files.items()}
            await in_thread(lambda: require_digests(_manifest(target), brought))
            volume.refresh()
            progress.finish()
            return record, None
    bad = sorted(set(record.files) - findings.good)
    what = printable(bad[0]) if bad else "an unexpected file"
    runtime.log(
        "damaged", f"{target.name} was damaged on the volume: {len(bad)} files, {what} first"
    )
    return None, (record, findings.good)


async def _planned(request: FetchRequest, store: Store, retry: RetryPolicy) -> Listing:
    """Return the listing when it is the planned revision and proves complete."""
    try:
        listing = await retry.retried(lambda: store.listing(request.directory))
        found = revision(listing)
        if found != request.revision:
            raise SyncError(
                ExitCode.REVISION_MOVED,
                f"the listing of {request.directory} changed since revision "
                f"{request.revision[:12]} was planned: it is "
                f"{found[:12] if listing else 'empty'} now",
            )
        proof = await retry.retried(
            lambda: prove(store, request.directory, listing, request.requirements)
        )
        if proof.reason == ProofReason.MOVED:
            listed = revision(await store.listing(request.directory)) == request.revision
            raise of_replacement(ObjectReplacedError(proof.object), listed=listed)
        require_complete(proof)
        return await retry.retried(lambda: described(store, request.directory, listing))
    except SourceError as error:
        raise of_source(error) from error


async def _explained(
    error: SyncError, request: FetchRequest, store: Store, retry: RetryPolicy
) -> SyncError:
    """Return the error, or a kinder one when what seems wrong was replaced while it was synced."""
    if error.code is not ExitCode.REJECTED:
        return error
    try:
        found = revision(await retry.retried(lambda: store.listing(request.directory)))
    except SourceError:
        return error
    if found == request.revision:
        return error
    what = f", with {printable(error.object)}" if error.object else ""
    return SyncError(
        ExitCode.REVISION_MOVED,
        f"the listing of {request.directory} changed{what} while it was synced: it is "
        f"{found[:12]} now",
        path=error.object,
    )


async def _bring(
    request: FetchRequest,
    store: Store,
    runtime: Runtime,
    listing: Listing,
    volume: Volume,
    partial: StagingDirectory,
) -> Record:
    """Bring what is missing of a listing and prove the whole on the volume."""
    _require_name_for_lock(request, listing)
    known = await in_thread(partial.verified_files)
    missing = [item for item in listing if _key(item) not in known]
    kept = frozenset(item.path for item in listing) - {item.path for item in missing}
    await in_thread(lambda: partial.keep_only(kept))
    known |= await in_thread(lambda: _take_over(request, volume, partial, missing))
    total = sum(item.size for item in listing)
    progress = Progress(runtime.report, runtime.clock, total_bytes=total, total_files=len(listing))

    async def is_listed() -> bool:
        now = await runtime.retry.retried(lambda: store.listing(request.directory))
        return revision(now) == request.revision

    transfer = Transfer(
        store,
        request.directory,
        partial,
        runtime.retry,
        progress,
        concurrency=request.concurrency,
        is_listed=is_listed,
    )
    # The index first: with it, each shard is checked as soon as it is whole.
    indexes = [item for item in listing if item.path in INDEXES]
    hashes = await transfer.bring(indexes, known, None)
    bundle = await in_thread(lambda: _bundle(partial, indexes))
    others = [item for item in listing if item.path not in INDEXES]
    hashes |= await transfer.bring(others, known, bundle)
    require_complete(await _local_proof(request, partial.files))
    # What was brought is held against the manifest that was brought, and no other.
    await in_thread(lambda: require_digests(_manifest(partial.files), hashes))
    progress.finish()
    files = {
        item.path: FileRecord(item.size, item.etag, hashes[item.path].hex()) for item in listing
    }
    return Record(request.revision, digest(hashes), request.origin, files)


def _take_over(
    request: FetchRequest, volume: Volume, partial: StagingDirectory, missing: Sequence[ObjectInfo]
) -> dict[Key, bytes]:
    """Link, or else copy, what other versions on the volume hold, and see that the rest has room."""
    shared = shareable(missing, volume.others(), request.origin)
    linked = {_key(one.item): one.sha256 for one in shared if link(partial, one)}
    left = [item for item in missing if _key(item) not in linked]
    volume.require_space(sum(item.size for item in left), len(left))
    copied = {
        _key(one.item): one.sha256
        for one in shared
        if _key(one.item) not in linked and copy(partial, one)
    }
    taken = linked | copied
    for one in shared:
        if _key(one.item) in taken:
            partial.note_verified(one.item, one.sha256)
    return taken


def _require_name_for_lock(request: FetchRequest, listing: Listing) -> None:
    if request.kept and any(item.path == LOCK for item in listing):
        raise SyncError(
            ExitCode.REJECTED,
            f"{LOCK} is reserved for Slipway's lock file on a cache volume: remove it",
            reason=ProofReason.HOSTILE_KEY,
            path=LOCK,
        )


def _key(item: ObjectInfo) -> Key:
    return item.path, item.size, item.etag


def _bundle(partial: StagingDirectory, indexes: list[ObjectInfo]) -> Bundle | None:
    for item in indexes:
        with volume_errors(item.path):
            content = (partial.files / item.path).read_bytes()
        try:
            return read_bundle(content, INDEXES[item.path])
        except BundleError as error:
            message = f"{item.path} is not readable: {error}"
            raise SyncError(
                ExitCode.REJECTED, message, reason=ProofReason.UNREADABLE_INDEX, path=item.path
            ) from error
    return None


def _manifest(version: Path) -> bytes | None:
    """Return the manifest that lies on the volume; None when there is none."""
    with volume_errors(MANIFEST):
        try:
            return (version / MANIFEST).read_bytes()
        except FileNotFoundError:
            return None


async def _local_proof(request: FetchRequest, version: Path) -> Proof:
    """Prove what lies on the volume, graphs of any size included: they are mapped, not read."""

    def examined() -> Proof:
        with volume_errors():
            sizes = {path: found.st_size for path, found in files_below(version) if path != LOCK}
            summary = summarized_sizes(sizes)
            proof, _ = examine_files(
                summary, request.requirements, lambda path: (version / path).open("rb")
            )
        return proof

    return await in_thread(examined)


def _synced(request: FetchRequest, verified: Record, how: str) -> SyncOutcome:
    return SyncOutcome(
        reason=ExitCode.SYNCED.reason,
        message=f"version {request.version} {how}: {verified.size} bytes",
        object="",
        digest=verified.digest,
        revision=request.revision,
        bytes=verified.size,
    )
