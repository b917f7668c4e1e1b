"""Polls one source: lists the versions, lists those that the policy asks for, proves what stood still."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import VersionState
from slipway_operator.discovery.memory import Memory, worth_looking_at
from slipway_operator.model.source import Readiness, SourceObservation, SourceVersion
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
_BAD: Final = frozenset({VersionState.FAILED, VersionState.ROLLED_BACK, VersionState.REJECTED})
_READINESS: Final = {
    Verdict.COMPLETE: Readiness.COMPLETE,
    Verdict.INCOMPLETE: Readiness.INCOMPLETE,
    Verdict.REJECTED: Readiness.REJECTED,
}
TRUSTED: Final = Proof(Verdict.COMPLETE, "", "", "")
"""What a version that has been served under its present listing needs no second proof of."""


@dataclass(frozen=True, slots=True)
class Poll:
    """The outcome of a poll.

    Attributes:
        again: When to poll next.
    """

    observation: SourceObservation
    memory: Memory
    again: timedelta


def interval(spec: ModelSpec, randomness: float) -> timedelta:
    """The poll interval, varied by up to a tenth.

    Args:
        spec: Of the Model.
        randomness: In [0, 1).
    """
    return parse_duration(spec.source.poll_interval) * (1 + _JITTER * (2 * randomness - 1))


def failed_poll(
    before: SourceObservation, memory: Memory, reason: str, message: str, again: timedelta
) -> Poll:
    """A poll that told nothing: what the last good one told stays."""
    observation = SourceObservation(
        polled=True,
        error_reason=reason,
        error_message=message,
        versions=before.versions,
        warnings=before.warnings,
        identity=before.identity,
    )
    return Poll(observation, memory, again)


def requirements(spec: ModelSpec, public_keys: tuple[bytes, ...] = ()) -> Requirements:
    """What a Model asks of its exports.

    Args:
        spec: Of the Model.
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
    memory: Memory,
    now: datetime,
    randomness: float,
    public_keys: tuple[bytes, ...] = (),
) -> Poll:
    """Poll once.

    Args:
        store: The source.
        model: Whose it is.
        memory: Of the last poll.
        now: The time.
        randomness: In [0, 1).
        public_keys: Ed25519 keys that the Model's source.signature names.

    Raises:
        SourceError: The store could not be read.
    """
    spec = model.spec
    settle = parse_duration(spec.source.settle)
    versions, warnings = version_directories(await store.children())
    asked = requirements(spec, public_keys)
    memory = memory.only({version.name for version in versions}).asking(asked)
    trusted = {row.version: row.revision for row in model.status.versions if row.available_key}
    bad = {row.version for row in model.status.versions if row.state in _BAD}
    found: dict[int, SourceVersion] = {}
    limit = spec.versions.latest
    complete = 0
    for version in worth_looking_at(spec.versions, versions):
        if limit is not None and complete >= limit:
            break
        memory = await look(
            store, spec, version, memory, trusted.get(version.number, ""), now, asked
        )
        found[version.number] = describe(version, memory)
        good = found[version.number].readiness is Readiness.COMPLETE
        complete += good and version.number not in bad
    observation = SourceObservation(
        polled=True,
        versions=tuple(found.get(v.number) or _unseen(v) for v in versions),
        warnings=warnings,
    )
    again = interval(spec, randomness)
    if settled_at := memory.next_settled(settle):
        again = min(again, max(settled_at - now, timedelta(milliseconds=100)))
    return Poll(observation, memory, again)


async def look(
    store: Store,
    spec: ModelSpec,
    version: VersionDirectory,
    memory: Memory,
    trusted: str,
    now: datetime,
    asked: Requirements | None = None,
) -> Memory:
    """List a version; prove it when its listing has stood still and was not proven yet.

    A listing that has not changed since it was proven costs its pages and nothing else.

    Args:
        store: The source.
        spec: Of the Model.
        version: The directory.
        memory: Of the last look.
        trusted: The revision that has been served; "" if none has.
        now: The time.
        asked: What is asked of the export; None asks what the spec does, without a signature.

    Raises:
        SourceError: The store could not be read.
    """
    asked = asked or requirements(spec)
    settle = parse_duration(spec.source.settle)
    before = memory.seen.get(version.name)
    due = before is not None and (
        before.doubtful(now) or (before.proof is None and memory.settled(version.name, settle, now))
    )
    known = before.fingerprint if before is not None and not due else ""
    found = await summarize(
        store, version.name, Watchlist(frozenset({asked.marker} - {""})), unless=known
    )
    if found is None:
        return memory
    memory = memory.note(version.name, found.revision, found.bytes, now, found.fingerprint)
    seen = memory.seen[version.name]
    if seen.proof is not None and not seen.doubtful(now):
        return memory
    if found.revision == trusted and _plain(asked):
        return memory.prove(version.name, TRUSTED, asked)
    if not memory.settled(version.name, settle, now):
        return memory
    proof = await prove(store, version.name, found, asked)
    return memory.prove(version.name, proof, asked, now)


def _plain(asked: Requirements) -> bool:
    """Whether what has been served once is good enough: it may have been asked for less then."""
    return not asked.public_keys and set(asked.tags) == set(DEFAULT_TAGS)


def describe(version: VersionDirectory, memory: Memory) -> SourceVersion:
    """What is remembered of a version that was looked at."""
    seen = memory.seen[version.name]
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
        proof.reason,
        proof.message,
        proof.object,
    )


def _unseen(version: VersionDirectory) -> SourceVersion:
    return SourceVersion(version.number, version.name, "", 0, Readiness.UNSEEN)
