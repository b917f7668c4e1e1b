"""Is an export complete? By the checks that the operator and the sync agent make, wherever it lies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from slipway_cli.exports.location import Location, of_source
from slipway_sync.exports import (
    INDEXES,
    MANIFEST,
    BundleError,
    ChecksumError,
    Listing,
    ManifestError,
    ObjectInfo,
    Proof,
    Requirements,
    ShardChecker,
    TensorEntry,
    Verdict,
    altered,
    digest,
    printable,
    read_bundle,
    read_manifest,
    revision,
)
from slipway_sync.stores import ObjectReplacedError, SourceError, prove

_UNLIMITED: Final = 1 << 62
_FILES_AT_ONCE: Final = 4

Report = Callable[[int, int], None]
"""Is given how many bytes of how many are read."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        where: Path or URI of the export.
        version: Its number; None where its directory's name is none.
        verdict: Complete, Incomplete (something may still be uploaded) or Rejected (it is wrong).
        reason: CamelCase, as in the status of a Model.
        message: One sentence.
        object: The file to blame, or "".
        files: How many it has.
        bytes: All of them together.
        revision: Hash of its listing, as in `status.versions`.
        digest: Hash of its content, likewise; "" where that was not read.
    """

    where: str
    version: int | None
    verdict: str
    reason: str
    message: str
    object: str
    files: int
    bytes: int
    revision: str
    digest: str

    @property
    def complete(self) -> bool:
        """Whether a server could load it, as far as was looked."""
        return self.verdict == Verdict.COMPLETE

    def as_json(self) -> dict[str, Any]:
        """What `-o json` prints."""
        return asdict(self)


async def verify(
    location: Location, requirements: Requirements, *, content: bool, report: Report
) -> Verification:
    """Judge an export.

    Args:
        location: Where it lies.
        requirements: What is asked of it.
        content: Whether to read every byte, for the checksums of tensors and of SHA256SUMS.
        report: For a progress bar.

    Raises:
        CliError: The store cannot be read.
    """
    try:
        listing = await location.store.listing(location.directory)
        proof = await prove(
            location.store, location.directory, listing, requirements, limit=_UNLIMITED
        )
        found = ""
        if content and proof.verdict is Verdict.COMPLETE:
            proof, found = await _content(location, listing, proof, report)
    except SourceError as error:
        raise of_source(error) from error
    except ObjectReplacedError as error:
        proof, found = Proof(Verdict.INCOMPLETE, "Moved", str(error), error.path), ""
    return Verification(
        where=location.where,
        version=location.version,
        verdict=proof.verdict.value,
        reason=str(proof.reason),
        message=proof.message,
        object=proof.object,
        files=len(listing),
        bytes=sum(item.size for item in listing),
        revision=revision(listing),
        digest=found,
    )


async def _content(
    location: Location, listing: Listing, proof: Proof, report: Report
) -> tuple[Proof, str]:
    tensors = await _tensors(location, listing)
    total = sum(item.size for item in listing)
    done = 0
    hashes: dict[str, bytes] = {}
    queue = iter(sorted(listing, key=lambda item: -item.size))

    def count(length: int) -> None:
        nonlocal done
        done += length
        report(done, total)

    async def work() -> None:
        for item in queue:
            hashes[item.path] = await _read(location, item, tensors.get(item.path, ()), count)

    tasks = [asyncio.ensure_future(work()) for _ in range(_FILES_AT_ONCE)]
    try:
        await asyncio.gather(*tasks)
    except _CorruptError as error:
        return error.proof, ""
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if MANIFEST in hashes:
        try:
            manifest = read_manifest(await location.store.read(location.directory, MANIFEST))
        except ManifestError:
            return proof, ""  # It was replaced meanwhile: the next look says how.
        if (different := altered(manifest, hashes)) is not None:
            return different, ""
    return proof, digest(hashes)


async def _tensors(location: Location, listing: Listing) -> Mapping[str, tuple[TensorEntry, ...]]:
    paths = {item.path for item in listing}
    for path, prefix in INDEXES.items():
        if path in paths:
            content = await location.store.read(location.directory, path)
            try:
                return read_bundle(content, prefix).tensors_by_path()
            except BundleError as error:
                raise SourceError("Unavailable", f"{path} changed while it was read") from error
    return {}


async def _read(
    location: Location,
    item: ObjectInfo,
    tensors: tuple[TensorEntry, ...],
    count: Callable[[int], None],
) -> bytes:
    """Return the SHA-256 of a file whose tensors all have their checksums."""
    hasher = hashlib.sha256()
    checker = ShardChecker(tensors)
    pieces = location.store.stream(location.directory, item, start=0, length=item.size)
    try:
        async for piece in pieces:
            hasher.update(piece)
            checker.feed(piece)
            count(len(piece))
        checker.finish()
    except ChecksumError as error:
        raise _CorruptError(
            Proof(
                Verdict.REJECTED,
                "CorruptShard",
                f"{printable(item.path)} is corrupt: {error}",
                item.path,
            )
        ) from error
    return hasher.digest()


class _CorruptError(Exception):
    """The content of a file is not what the export says it is."""

    def __init__(self, proof: Proof) -> None:
        super().__init__(proof.message)
        self.proof = proof
