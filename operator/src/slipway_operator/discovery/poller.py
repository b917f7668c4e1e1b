"""Polls one source: lists the versions, lists those that the policy asks for, proves what stood still."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.conditions import Reason, reason_of
from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import BAD_STATES
from slipway_operator.discovery.poll_state import PollState, wanted_versions
from slipway_operator.model.source import (
    Readiness,
    SourceObservation,
    SourceVersion,
    export_reason,
)
from slipway_sync.exports import (
    DEFAULT_TAGS,
    Proof,
    Requirements,
    Verdict,
    VersionDirectory,
    Watchlist,
    version_directories,
)
from slipway_sync.stores import Store, prove, summarize

_JITTER: Final = 0.1

_READINESS: Final = {
    Verdict.COMPLETE: Readiness.COMPLETE,
    Verdict.INCOMPLETE: Readiness.INCOMPLETE,
    Verdict.REJECTED: Readiness.REJECTED,
}
TRUSTED: Final = Proof(Verdict.COMPLETE, "", "", "")
"""Stands for the proof of a version that has already been served under its present listing."""


@dataclass(frozen=True, slots=True)
class Poll:
    """The outcome of a poll.

    Attributes:
        state: What the next poll starts from.
        again: Delay until the next poll.
    """

    observation: SourceObservation
    state: PollState
    again: timedelta


def interval(spec: ModelSpec, randomness: float) -> timedelta:
    """The poll interval, varied by up to a tenth.

    Args:
        spec: Has the interval.
        randomness: In [0, 1).
    """
    return parse_duration(spec.source.poll_interval) * (1 + _JITTER * (2 * randomness - 1))


def failed_poll(
    before: SourceObservation, state: PollState, reason: str, message: str, again: timedelta
) -> Poll:
    """A poll that failed: the versions of the last successful one stay."""
    observation = SourceObservation(
        polled=True,
        error_reason=reason_of(reason, Reason.UNAVAILABLE),
        error_message=message,
        versions=before.versions,
        warnings=before.warnings,
        identity=before.identity,
    )
    return Poll(observation, state, again)


def requirements_of(spec: ModelSpec, public_keys: tuple[bytes, ...] = ()) -> Requirements:
    """What a Model asks of its exports.

    Args:
        spec: Has the tags and the completion marker.
        public_keys: What its source.signature names; empty where it names none.
    """
    return Requirements(
        tags=tuple(sorted(set(spec.serving.tags))),
        public_keys=public_keys,
        marker=spec.source.completion_marker,
    )


async def poll(
    store: Store,
    model: ModelResource,
    state: PollState,
    now: datetime,
    randomness: float,
    public_keys: tuple[bytes, ...] = (),
) -> Poll:
    """Poll once.

    Args:
        store: The source.
        model: Its spec says what to list, its status what has been served.
        state: What the last poll left.
        now: The time.
        randomness: In [0, 1).
        public_keys: Ed25519 keys that the Model's source.signature names.

    Raises:
        SourceError: The store could not be read.
    """
    spec = model.spec
    settle = parse_duration(spec.source.settle)
    versions, warnings = version_directories(await store.children())
    requirements = requirements_of(spec, public_keys)
    state = state.keep_only({version.name for version in versions}).for_requirements(requirements)
    trusted = {row.version: row.revision for row in model.status.versions if row.available_key}
    bad = {row.version for row in model.status.versions if row.state in BAD_STATES}
    found: dict[int, SourceVersion] = {}
    limit = model.versions.latest
    complete = 0
    for version in wanted_versions(model.versions, versions):
        if limit is not None and complete >= limit:
            break
        state = await look(
            store, spec, version, state, trusted.get(version.number, ""), now, requirements
        )
        found[version.number] = describe(version, state)
        good = found[version.number].readiness is Readiness.COMPLETE
        complete += good and version.number not in bad
    observation = SourceObservation(
        polled=True,
        versions=tuple(found.get(v.number) or _unseen(v) for v in versions),
        warnings=warnings,
    )
    again = interval(spec, randomness)
    if settled_at := state.next_settled(settle):
        again = min(again, max(settled_at - now, timedelta(milliseconds=100)))
    return Poll(observation, state, again)


async def look(
    store: Store,
    spec: ModelSpec,
    version: VersionDirectory,
    state: PollState,
    trusted: str,
    now: datetime,
    requirements: Requirements | None = None,
) -> PollState:
    """List a version; prove it when its listing has stood still and was not proven yet.

    A listing that has not changed since it was proven costs its pages and nothing else.

    Args:
        store: The source.
        spec: Has the settle time.
        version: The directory.
        state: What is known of the source's directories.
        trusted: The revision that has been served; "" if none has.
        now: The time.
        requirements: What is asked of the export; None for what the spec asks, without a signature.

    Raises:
        SourceError: The store could not be read.
    """
    requirements = requirements or requirements_of(spec)
    settle = parse_duration(spec.source.settle)
    before = state.listings.get(version.name)
    due = before is not None and (
        before.doubtful(now) or (before.proof is None and state.settled(version.name, settle, now))
    )
    known = before.fingerprint if before is not None and not due else ""
    found = await summarize(
        store, version.name, Watchlist(frozenset({requirements.marker} - {""})), unless=known
    )
    if found is None:
        return state
    state = state.record_listing(version.name, found.revision, found.bytes, now, found.fingerprint)
    seen = state.listings[version.name]
    if seen.proof is not None and not seen.doubtful(now):
        return state
    if found.revision == trusted and _plain(requirements):
        return state.record_proof(version.name, TRUSTED, requirements)
    if not state.settled(version.name, settle, now):
        return state
    proof = await prove(store, version.name, found, requirements)
    return state.record_proof(version.name, proof, requirements, now)


def _plain(requirements: Requirements) -> bool:
    """Whether what has been served once is good enough: it may have been asked for less then."""
    return not requirements.public_keys and set(requirements.tags) == set(DEFAULT_TAGS)


def describe(version: VersionDirectory, state: PollState) -> SourceVersion:
    """A version as the last listing and its proof describe it."""
    seen = state.listings[version.name]
    if seen.proof is None:
        return SourceVersion(
            version.number, version.name, seen.revision, seen.bytes, Readiness.SETTLING
        )
    proof = seen.proof
    return SourceVersion(
        version.number,
        version.name,
        seen.revision,
        seen.bytes,
        _READINESS[proof.verdict],
        export_reason(proof.reason, _READINESS[proof.verdict]),
        proof.message,
        proof.object,
    )


def _unseen(version: VersionDirectory) -> SourceVersion:
    return SourceVersion(version.number, version.name, "", 0, Readiness.UNSEEN)
