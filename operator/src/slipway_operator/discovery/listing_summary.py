"""Looks at the old exports of a source, for retention: what stays is proven, what may go is listed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from slipway_operator.api.resource import ModelResource
from slipway_operator.api.status import DoomedVersion
from slipway_operator.discovery.memory import Memory
from slipway_operator.discovery.poller import describe, look, requirements
from slipway_operator.model.retention import OldExport, Survey
from slipway_operator.model.source import Readiness, SourceObservation, SourceVersion
from slipway_operator.planning.retention.decision import rest_of
from slipway_sync.exports import (
    GRAPHS,
    Listing,
    Requirements,
    VersionDirectory,
    hostile_key,
    printable,
    revision,
)
from slipway_sync.stores import ErasableStore, Store

LOWEST: Final = 64
"""So many of the lowest are listed in one pass: more than are deleted at a time, and those protected."""


class MovedError(Exception):
    """An export is no longer what was planned to be deleted; str() is a sentence."""


async def survey(
    store: Store,
    model: ModelResource,
    source: SourceObservation,
    memory: Memory,
    now: datetime,
    asked: Requirements | None = None,
) -> tuple[Survey, Memory]:
    """Look from the highest version down until enough are complete, then at the lowest.

    Args:
        store: The Model's.
        model: Its retention says how many are enough.
        source: A poll that has just ended: what it has looked at is not looked at again.
        memory: Of earlier surveys.
        now: The time.
        asked: What is asked of the exports that count as complete; None asks no signature.

    Raises:
        SourceError: The store could not be read.
    """
    asked = asked or requirements(model.spec)
    keep = model.spec.retention.keep if model.spec.retention else len(source.versions)
    trusted = {row.version: row.revision for row in model.status.versions if row.available_key}
    ordered = sorted(source.versions, key=lambda version: version.number, reverse=True)
    memory = memory.only({version.directory for version in ordered}).asking(asked)
    exports: list[OldExport] = []
    complete = 0
    for found in ordered:
        if complete >= keep:
            break
        seen = found
        if found.readiness is Readiness.UNSEEN:
            place = VersionDirectory(found.number, found.directory)
            memory = await look(
                store, model.spec, place, memory, trusted.get(found.number, ""), now, asked
            )
            seen = describe(place, memory)
        exports.append(_proven(seen))
        complete += seen.readiness is Readiness.COMPLETE
    lowest = [
        old_export(found, await store.listing(found.directory))
        for found in ordered[max(len(exports), len(ordered) - LOWEST) :]
    ]
    return Survey((*exports, *lowest), frozenset(v.number for v in ordered)), memory


def _proven(seen: SourceVersion) -> OldExport:
    """One that stays, so nothing more is asked of it."""
    return OldExport(
        seen.number, seen.directory, seen.revision, 0, seen.bytes, None, seen.readiness
    )


def old_export(found: SourceVersion, listing: Listing) -> OldExport:
    """One that may go."""
    wrong = hostile_key(item.path for item in listing)
    return OldExport(
        number=found.number,
        directory=found.directory,
        revision=revision(listing),
        objects=len(listing),
        bytes=sum(item.size for item in listing),
        newest=max((item.modified for item in listing), default=None),
        readiness=Readiness.UNSEEN,
        is_export=any(item.path in GRAPHS for item in listing),
        hostile=f"the key {printable(wrong[0])} {wrong[1]}" if wrong else "",
    )


@dataclass(frozen=True, slots=True)
class Deletion:
    """Deletes one export, and only what was planned."""

    store: ErasableStore
    doomed: DoomedVersion

    async def run(self) -> None:
        """List it again; delete its graph, then the rest, then its folders.

        Without its graph an export is never taken for a complete one, however far this gets.

        Raises:
            MovedError: It is not what was planned any more; nothing was deleted.
            SourceError: The store does not let it be deleted, or has no answer.
        """
        doomed = self.doomed
        listing = await self.store.listing(doomed.directory)
        found = SourceVersion(doomed.version, doomed.directory, "", 0, Readiness.UNSEEN)
        now = old_export(found, listing)
        if now.revision != doomed.revision and not rest_of(doomed, now):
            raise MovedError(
                f"version {doomed.version} was not deleted: it has changed since it was planned"
            )
        graphs = [item.path for item in listing if item.path in GRAPHS]
        others = [item.path for item in listing if item.path not in GRAPHS]
        await self.store.delete(doomed.directory, graphs)
        await self.store.delete(doomed.directory, others)
        await self.store.delete_folders(doomed.directory)
