"""Lists the exports of a source for retention, and deletes those that it chose."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from slipway_operator.api.resource import ModelResource
from slipway_operator.api.status import DoomedVersion
from slipway_operator.discovery.poll_state import PollState
from slipway_operator.discovery.poller import describe, look, requirements_of
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
"""Exports listed in one pass, lowest numbers first: more than one pass deletes plus those protected."""


class ExportChangedError(Exception):
    """An export has changed since its deletion was planned; str() is a sentence."""


async def list_old_exports(
    store: Store,
    model: ModelResource,
    source: SourceObservation,
    state: PollState,
    now: datetime,
    requirements: Requirements | None = None,
) -> tuple[Survey, PollState]:
    """Look from the highest version down until enough are complete, then at the lowest.

    Args:
        store: Holds the exports.
        model: Its spec.retention.keep says how many complete exports are enough.
        source: A poll that has just ended: what it has looked at is not looked at again.
        state: What earlier passes found.
        now: The time.
        requirements: What is asked of the exports that count as complete; None asks for no signature.

    Raises:
        SourceError: The store could not be read.
    """
    requirements = requirements or requirements_of(model.spec)
    keep = model.spec.retention.keep if model.spec.retention else len(source.versions)
    trusted = {row.version: row.revision for row in model.status.versions if row.available_key}
    ordered = sorted(source.versions, key=lambda version: version.number, reverse=True)
    state = state.keep_only({version.directory for version in ordered}).for_requirements(
        requirements
    )
    exports: list[OldExport] = []
    complete = 0
    for found in ordered:
        if complete >= keep:
            break
        seen = found
        if found.readiness is Readiness.UNSEEN:
            place = VersionDirectory(found.number, found.directory)
            state = await look(
                store, model.spec, place, state, trusted.get(found.number, ""), now, requirements
            )
            seen = describe(place, state)
        exports.append(_proven(seen))
        complete += seen.readiness is Readiness.COMPLETE
    lowest = [
        old_export(found, await store.listing(found.directory))
        for found in ordered[max(len(exports), len(ordered) - LOWEST) :]
    ]
    return Survey((*exports, *lowest), frozenset(v.number for v in ordered)), state


def _proven(seen: SourceVersion) -> OldExport:
    """An export that stays: its objects need not be listed."""
    return OldExport(
        seen.number, seen.directory, seen.revision, 0, seen.bytes, None, seen.readiness
    )


def old_export(found: SourceVersion, listing: Listing) -> OldExport:
    """An export that may be deleted, from its listing."""
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
class ExportDeletion:
    """Deletes one export, and only as it was planned."""

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
            raise ExportChangedError(
                f"version {doomed.version} was not deleted: it has changed since it was planned"
            )
        graphs = [item.path for item in listing if item.path in GRAPHS]
        others = [item.path for item in listing if item.path not in GRAPHS]
        await self.store.delete(doomed.directory, graphs)
        await self.store.delete(doomed.directory, others)
        await self.store.delete_folders(doomed.directory)
