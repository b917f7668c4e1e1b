"""Proves an export where it lies: every byte is read and checked, nothing is copied."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from slipway_sync.agent.errors import SyncError, of_source
from slipway_sync.agent.examination import examine_files, require_complete
from slipway_sync.agent.progress import Progress
from slipway_sync.agent.requirements import require_digests
from slipway_sync.agent.threads import in_thread
from slipway_sync.exports import (
    INDEXES,
    MANIFEST,
    Bundle,
    BundleError,
    ChecksumError,
    ExitCode,
    Listing,
    ObjectInfo,
    Proof,
    ProofReason,
    Requirements,
    ShardChecker,
    SyncOutcome,
    TensorEntry,
    Verdict,
    digest,
    printable,
    read_bundle,
    revision,
)
from slipway_sync.stores import MountedStore, SourceError, not_a_file, unchanged

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What is to be verified.

    Attributes:
        directory: The version's directory on the volume.
        version: Its number.
        revision: The revision that was planned, 64 hex digits.
        requirements: What is asked of the export.
        concurrency: How many files are read at once.
    """

    directory: str
    version: int
    revision: str
    requirements: Requirements = field(default_factory=Requirements)
    concurrency: int = 4


async def verify(
    request: VerifyRequest,
    store: MountedStore,
    report: Callable[[dict[str, int]], None],
    clock: Callable[[], float],
) -> SyncOutcome:
    """Prove that the planned revision lies on the volume, whole and as it was written.

    Args:
        request: What is to be verified.
        store: The volume.
        report: Is given the numbers of each progress line.
        clock: Returns seconds that never go back.

    Raises:
        SyncError: It does not.
    """
    listing = await _planned(request, store)
    require_complete(not_a_file(listing))
    with _source_errors():
        proof, bundle = await in_thread(lambda: _examined(request, store, listing))
    require_complete(proof)
    total = sum(item.size for item in listing)
    progress = Progress(report, clock, total_bytes=total, total_files=len(listing))
    hashes = await _hashes(request, store, listing, bundle, progress)
    with _source_errors():
        manifest = await _manifest(request, store, listing)
    await in_thread(lambda: require_digests(manifest, hashes))
    # Somebody else may write to the volume: what was read has to be what still lies there.
    await _planned(request, store)
    progress.finish()
    return SyncOutcome(
        reason=ExitCode.SYNCED.reason,
        message=f"version {request.version} is on the volume, verified: {total} bytes",
        object="",
        digest=digest(hashes),
        revision=request.revision,
        bytes=total,
    )


async def _planned(request: VerifyRequest, store: MountedStore) -> Listing:
    with _source_errors():
        listing = await store.listing(request.directory)
    found = revision(listing)
    if found != request.revision:
        raise SyncError(
            ExitCode.REVISION_MOVED,
            f"the files of {request.directory} changed since revision {request.revision[:12]} was "
            f"planned: it is {found[:12]} now",
        )
    return listing


async def _manifest(request: VerifyRequest, store: MountedStore, listing: Listing) -> bytes | None:
    if all(item.path != MANIFEST for item in listing):
        return None
    return await store.read(request.directory, MANIFEST)


def _examined(
    request: VerifyRequest, store: MountedStore, listing: Listing
) -> tuple[Proof, Bundle | None]:
    proof, contents = examine_files(
        listing, request.requirements, lambda path: store.opened(request.directory, path)
    )
    bundle = None
    for path, prefix in INDEXES.items():
        if path in contents and proof.verdict is Verdict.COMPLETE:
            try:
                bundle = read_bundle(bytes(contents[path]), prefix)
            except BundleError as error:
                raise _rejected(
                    ProofReason.UNREADABLE_INDEX, f"{path} is not readable: {error}", path
                ) from error
    return proof, bundle


async def _hashes(
    request: VerifyRequest,
    store: MountedStore,
    listing: Listing,
    bundle: Bundle | None,
    progress: Progress,
) -> Mapping[str, bytes]:
    """Read every file once, some at a time; the largest first, so that none is left at the end."""
    tensors = bundle.tensors_by_path() if bundle is not None else {}
    hashes: dict[str, bytes] = {}
    queue = iter(sorted(listing, key=lambda item: -item.size))
    counting = threading.Lock()

    def count(bytes_read: int) -> None:
        with counting:
            progress.add_bytes(bytes_read)

    def check(item: ObjectInfo) -> bytes:
        return _checked(store, request.directory, item, tensors.get(item.path, ()), count)

    async def work() -> None:
        for item in queue:
            with _source_errors(item.path):
                hashes[item.path] = await in_thread(lambda item=item: check(item))  # type: ignore[misc]
            with counting:
                progress.add_file()

    tasks = [asyncio.ensure_future(work()) for _ in range(request.concurrency)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return hashes


def _checked(
    store: MountedStore,
    directory: str,
    item: ObjectInfo,
    tensors: tuple[TensorEntry, ...],
    count: Callable[[int], None],
) -> bytes:
    """Return the SHA-256 of a file whose tensors all have their checksums."""
    hasher = hashlib.sha256()
    checker = ShardChecker(tensors)
    try:
        with store.opened(directory, item.path) as file:
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
                checker.feed(chunk)
                count(len(chunk))
            if not unchanged(file, item):
                raise SyncError(
                    ExitCode.REVISION_MOVED,
                    f"{printable(item.path)} was written to while it was verified",
                    path=item.path,
                )
        checker.finish()
    except ChecksumError as error:
        message = f"{printable(item.path)} is corrupt: {error}"
        raise _rejected("CorruptShard", message, item.path) from error
    return hasher.digest()


@contextmanager
def _source_errors(path: str = "") -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        failure = of_source(error)
        failure.object = path
        raise failure from error


def _rejected(reason: str, message: str, path: str) -> SyncError:
    return SyncError(ExitCode.REJECTED, message, reason=reason, path=path)
