"""Which old exports may be deleted from the source, and which of them now.

Every export is named a minute and a poll before it goes, in an Event and in `status.retention`, which is
all that is remembered between passes. Any doubt about the listing stops everything.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import DoomedVersion, RetentionStatus, timestamp
from slipway_operator.model.actions import KubernetesEvent
from slipway_operator.model.observed import Observed
from slipway_operator.model.retention import OldExport, Protected, Survey
from slipway_operator.model.source import Readiness, SourceObservation
from slipway_operator.planning.retention.report import (
    NOTICE,
    counted,
    deleted,
    sentence,
    would_delete,
)
from slipway_operator.planning.status.degraded import RETENTION_FAILURES
from slipway_operator.planning.versions.desired import desired_versions

RETRY: Final = timedelta(minutes=5)
"""How long after a deletion that failed the next one is tried."""
AT_A_TIME: Final = 32
"""Exports that are named at once: as many as the status holds."""

_UNFINISHED: Final = frozenset({Readiness.SETTLING, Readiness.INCOMPLETE})


@dataclass(frozen=True, slots=True)
class RetentionDecision:
    """The outcome of a pass.

    Attributes:
        status: To be written before anything is deleted; None when there is nothing to remember.
        events: Events.
        delete: Exports whose notice is over, lowest first.
        again: When time alone could change the decision.
    """

    status: RetentionStatus | None
    events: tuple[KubernetesEvent, ...] = ()
    delete: tuple[DoomedVersion, ...] = ()
    again: timedelta | None = None


def key_of(spec: ModelSpec) -> str:
    """Changes whenever retention starts anew: with its own fields, and with the source's place."""
    source = spec.source
    parts = (spec.retention, source.uri, source.endpoint, source.region, source.addressing)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def concerns(model: ModelResource, source: SourceObservation) -> bool:
    """Whether a pass has anything to look at, from what the last poll told."""
    retention = model.spec.retention
    if retention is None:
        return False
    memory = model.status.retention
    busy = memory is not None and bool(memory.versions)
    return busy or len(source.versions) > retention.keep


def quiet(model: ModelResource) -> RetentionStatus | None:
    """What is left to say where a pass has nothing to look at."""
    before = model.status.retention
    if before is None or model.spec.retention is None:
        return None
    key = key_of(model.spec)
    kept = before.kept if before.key == key else []
    return RetentionStatus(key=key, message="retention: nothing to delete", kept=kept)


def rests(model: ModelResource, now: datetime) -> timedelta | None:
    """How long a pass would decide nothing new about the same source; None when it may at once."""
    memory = model.status.retention
    if memory is None or memory.key != key_of(model.spec) or memory.reason:
        return None
    if model.spec.retention is not None and model.spec.retention.dry_run:
        return timedelta.max
    left = [_notice_left(doomed, now) for doomed in memory.versions]
    return min(left, default=timedelta.max) or None


def protected(observed: Observed) -> Protected:
    """What serves, is labelled, is asked for, or is newer than any that serves or should."""
    spec = observed.model.spec
    desired = desired_versions(observed)
    serving = {found.version for found in observed.deployments}
    serving |= {pod.version for pod in observed.pods}
    versions = {servable.version for servable in desired.servables}
    if desired.ideal is not None:
        versions.add(desired.ideal)
    named = set(spec.labels.values()) | set(spec.versions.specific or ())
    named |= set(observed.model.versions.specific or ())
    floor = min(serving | versions) if versions else None
    return Protected(floor, frozenset(serving | versions | named), frozenset(serving))


def decide(
    model: ModelResource,
    source: SourceObservation,
    survey: Survey,
    guard: Protected,
    now: datetime,
) -> RetentionDecision:
    """Decide one pass.

    Args:
        model: With what earlier passes remember.
        source: The last poll.
        survey: A look at the source that is no older than that poll.
        guard: What must stay.
        now: The time.
    """
    retention = model.spec.retention
    if retention is None:
        return RetentionDecision(None)
    memory = _memory(model)
    finished = tuple(
        deleted(doomed)
        for doomed in memory.versions
        if doomed.state == "Deleting" and doomed.version not in survey.listed
    )
    kept = _kept(survey, retention.keep)
    if doubt := _doubt(model, source, survey, guard, memory, kept):
        return RetentionDecision(_doubting(memory, survey, doubt, now), finished)
    if len(kept) < retention.keep:
        message = f"retention: {counted(len(kept))} complete, {retention.keep} stay"
        return RetentionDecision(
            RetentionStatus(key=memory.key, message=message, kept=kept), finished
        )
    return _plan(model, memory, _candidates(survey, guard, memory, kept), kept, finished, now)


def _memory(model: ModelResource) -> RetentionStatus:
    key = key_of(model.spec)
    memory = model.status.retention
    return memory if memory is not None and memory.key == key else RetentionStatus(key=key)


def _kept(survey: Survey, keep: int) -> list[int]:
    """The highest complete versions."""
    complete = [e.number for e in survey.exports if e.readiness is Readiness.COMPLETE]
    return complete[:keep]


def _doubt(
    model: ModelResource,
    source: SourceObservation,
    survey: Survey,
    guard: Protected,
    memory: RetentionStatus,
    kept: Sequence[int],
) -> str:
    """Why nothing may be deleted, whatever is listed; empty when that can be trusted."""
    if model.spec.paused:
        return "spec.paused is true"
    if not source.polled or source.error_reason:
        return f"the source was not listed: {source.error_message or 'not polled yet'}"
    if not survey.listed:
        return "the source is empty"
    if source.warnings:
        return source.warnings[0]
    return _missing(survey, guard, memory) or _unfinished(model, survey, kept)


def _missing(survey: Survey, guard: Protected, memory: RetentionStatus) -> str:
    """What ought to be listed and is not."""
    if vanished := sorted(set(memory.kept) - survey.listed):
        return f"version {vanished[-1]} was removed from the source since the last poll"
    if guard.floor is None:
        return "no version serves or can serve"
    if missing := sorted(set(guard.needed) - survey.listed):
        return f"version {missing[-1]} serves and is not in the source"
    return ""


def _unfinished(model: ModelResource, survey: Survey, kept: Sequence[int]) -> str:
    """What may still become one of those that stay."""
    if len(kept) < _keep(model):
        return ""  # Nothing can go, so nothing is in doubt.
    for export in survey.exports:
        if export.number < kept[-1]:
            break
        if export.readiness in _UNFINISHED:
            return f"version {export.number} is not complete yet"
    return ""


def _keep(model: ModelResource) -> int:
    return model.spec.retention.keep if model.spec.retention else 0


def _doubting(
    memory: RetentionStatus, survey: Survey, doubt: str, now: datetime
) -> RetentionStatus:
    """Remember the doubt; what has vanished is not waited for a second time."""
    same = memory.reason == Reason.LISTING_DOUBTFUL and memory.since is not None
    return RetentionStatus(
        key=memory.key,
        reason=Reason.LISTING_DOUBTFUL,
        message=f"retention: nothing is deleted: {doubt}",
        since=memory.since if same else timestamp(now),
        kept=[number for number in memory.kept if number in survey.listed] if survey.listed else [],
        versions=[
            doomed
            for doomed in memory.versions
            if doomed.version in survey.listed or not survey.listed
        ],
    )


def _candidates(
    survey: Survey, guard: Protected, memory: RetentionStatus, kept: Sequence[int]
) -> list[OldExport]:
    """Exports that may go, lowest first."""
    begun = {d.version: d for d in memory.versions if d.state == "Deleting"}
    return sorted(
        (
            export
            for export in survey.exports
            if export.number < kept[-1]
            and guard.allows(export.number)
            and not export.hostile
            and (export.is_export or rest_of(begun.get(export.number), export))
        ),
        key=lambda export: export.number,
    )[:AT_A_TIME]


def rest_of(begun: DoomedVersion | None, export: OldExport) -> bool:
    """Whether an export is what a deletion that was cut short has left: nothing in it is newer."""
    if begun is None or begun.state != "Deleting" or begun.directory != export.directory:
        return False
    fewer = export.objects <= begun.objects and export.bytes <= begun.bytes
    newest = export.newest is None or timestamp(export.newest) <= begun.newest
    return fewer and newest and not export.is_export


def _plan(
    model: ModelResource,
    memory: RetentionStatus,
    candidates: Iterable[OldExport],
    kept: list[int],
    finished: tuple[KubernetesEvent, ...],
    now: datetime,
) -> RetentionDecision:
    """Name what is new, and let go what was named long enough ago."""
    dry = model.spec.retention is None or model.spec.retention.dry_run
    cleared = memory.reason == Reason.LISTING_DOUBTFUL
    failing = memory.reason in RETENTION_FAILURES and memory.since is not None
    waits = _until(memory.since, now, RETRY) if failing else timedelta(0)
    known = {doomed.version: doomed for doomed in memory.versions}
    doomed: list[DoomedVersion] = []
    events = list(finished)
    for export in candidates:
        before = known.get(export.number)
        if before is None or not (before.revision == export.revision or rest_of(before, export)):
            fresh = _named(export, now)
            doomed.append(fresh)
            events.append(would_delete(fresh, dry=dry))
        elif cleared and before.state == "WouldDelete":
            # What was in doubt has to stand for a while before it is believed.
            doomed.append(before.model_copy(update={"since": timestamp(now)}))
        else:
            doomed.append(before)
    due = [
        item.model_copy(update={"state": "Deleting", "since": timestamp(now)})
        if item.state == "WouldDelete"
        else item
        for item in doomed
        if not dry and not waits and not _notice_left(item, now)
    ]
    begun = {item.version: item for item in due}
    rows = [begun.get(item.version, item) for item in doomed]
    reason, since = (memory.reason, memory.since) if failing and doomed else ("", None)
    message = memory.message if reason else sentence(rows, kept, dry=dry)
    left = [max(waits, _notice_left(item, now)) for item in doomed if item.version not in begun]
    return RetentionDecision(
        RetentionStatus(
            key=memory.key, reason=reason, message=message, since=since, kept=kept, versions=rows
        ),
        tuple(events),
        tuple(due),
        None if dry or not left else min(left),
    )


def _notice_left(doomed: DoomedVersion, now: datetime) -> timedelta:
    """How long an export stays named before it may go."""
    return timedelta(0) if doomed.state == "Deleting" else _until(doomed.since, now, NOTICE)


def _until(since: str | None, now: datetime, delay: timedelta) -> timedelta:
    if since is None:
        return timedelta(0)
    # A second more: what is written down is cut to whole seconds.
    end = datetime.fromisoformat(since) + delay + timedelta(seconds=1)
    return max(timedelta(0), end - now)


def _named(export: OldExport, now: datetime) -> DoomedVersion:
    return DoomedVersion(
        version=export.number,
        directory=export.directory,
        revision=export.revision,
        objects=export.objects,
        bytes=export.bytes,
        newest=timestamp(export.newest or now),
        state="WouldDelete",
        since=timestamp(now),
    )


def after(
    status: RetentionStatus,
    gone: DoomedVersion | None,
    failure: tuple[Reason, str] | None,
    now: datetime,
) -> tuple[RetentionStatus, tuple[KubernetesEvent, ...]]:
    """What is remembered after one deletion.

    Args:
        status: What the status said before the deletion.
        gone: The export, when it is gone or no longer what was planned.
        failure: Why the deletion ended before that.
        now: The time.
    """
    versions = [d for d in status.versions if gone is None or d.version != gone.version]
    if failure is None:
        events = () if gone is None else (deleted(gone),)
        message = sentence(versions, status.kept, dry=False)
        changed = {"versions": versions, "reason": "", "since": None, "message": message}
        return status.model_copy(update=changed), events
    reason, message = failure
    told = {"versions": versions, "reason": reason, "message": message, "since": timestamp(now)}
    fresh = status.reason != reason
    return status.model_copy(update=told), (
        KubernetesEvent(reason, message, warning=True),
    ) if fresh else ()
