"""Events for what has changed between two states of the status."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from slipway_operator.api.conditions import ConditionType, EventReason, Reason
from slipway_operator.api.status import (
    Condition,
    HonouredVerbs,
    ModelStatus,
    VersionState,
    VersionStatus,
)
from slipway_operator.model.actions import KubernetesEvent
from slipway_operator.planning.status.degraded import RETENTION_FAILURES, Trouble
from slipway_operator.planning.status.version_rows import row_message
from slipway_operator.planning.versions.verbs import NO_EFFECT

_UNDER_WAY: Final = frozenset({VersionState.LOADING, VersionState.UNSCHEDULABLE})
_TELLING: Final = {
    VersionState.REJECTED: (EventReason.VERSION_REJECTED, True),
    VersionState.FAILED: (EventReason.VERSION_FAILED, True),
    VersionState.ROLLED_BACK: (EventReason.VERSION_ROLLED_BACK, True),
    VersionState.SOURCE_GONE: (EventReason.SOURCE_GONE, True),
    VersionState.SYNCING: (EventReason.VERSION_STARTING, False),
    VersionState.UNSCHEDULABLE: (EventReason.VERSION_UNSCHEDULABLE, True),
    VersionState.AVAILABLE: (EventReason.VERSION_AVAILABLE, False),
    VersionState.RETIRED: (EventReason.VERSION_RETIRED, False),
}
"""What is told of a state; in this order, causes before effects, where one plan has several to tell."""
_MOST_VERSIONS: Final = 5
"""Versions that one Event names."""


@dataclass(frozen=True, slots=True)
class _Told:
    """An Event, and the words of it that a condition may repeat."""

    event: KubernetesEvent
    words: str


def events(
    before: ModelStatus,
    after: ModelStatus,
    asks_for: Callable[[int], bool],
    troubles: Sequence[Trouble],
) -> tuple[KubernetesEvent, ...]:
    """Events for what is new: a version's state, and trouble with the source or with names.

    Args:
        before: The status that is there.
        after: The status that is about to be written.
        asks_for: Whether the spec asks for a version: of others nobody is warned.
        troubles: What Degraded tells in the status after.
    """
    rows = list(_of_rows(before, after, asks_for))
    source: list[_Told] = []
    others: list[_Told] = []
    old = {c.type: c for c in before.conditions}
    for condition in after.conditions:
        was = old.get(condition.type)
        if condition.type is ConditionType.DEGRADED:
            for trouble in troubles:
                if _is_new(trouble, was, before) and not _is_told(trouble, [*source, *rows]):
                    warning = KubernetesEvent(trouble.reason, trouble.message, warning=True)
                    others.append(_Told(warning, trouble.message))
        elif was and (was.reason, was.status) == (condition.reason, condition.status):
            continue
        elif event := _of_condition(condition):
            told = source if condition.type is ConditionType.SOURCE_READY else others
            told.append(_Told(event, condition.message))
    return (
        *_of_requests(before.honoured, after.honoured),
        *(told.event for told in (*source, *rows, *others, *_of_transition(before, after))),
    )


def _of_requests(
    before: HonouredVerbs | None, after: HonouredVerbs | None
) -> Iterator[KubernetesEvent]:
    """The Event of an annotation that was acted on."""
    was, now = before or HonouredVerbs(), after or HonouredVerbs()
    fresh = [new for old, new in ((was.abort, now.abort), (was.retry, now.retry)) if new != old]
    if any(fresh) and now.message:
        idle = NO_EFFECT in now.message
        reason = EventReason.REQUEST_WITHOUT_EFFECT if idle else EventReason.REQUEST_HONOURED
        yield KubernetesEvent(reason, now.message, warning=idle)


def _of_transition(before: ModelStatus, after: ModelStatus) -> Iterator[_Told]:
    """That a transition goes on without extra pods."""
    was, now = before.transition, after.transition
    if now and now.fallback and not (was and was.fallback):
        yield _Told(KubernetesEvent(EventReason.TRANSITION_FALLBACK, now.message), now.message)
    flight, old = now.preflight if now else None, was.preflight if was else None
    if flight is None or (old and (old.key, old.state) == (flight.key, flight.state)):
        return
    if flight.state == "Passed":
        done = "loaded on a CPU" if flight.check == "Load" else "synced and verified"
        text = f"version {flight.version} was {done}: an old pod may go for it"
        yield _Told(KubernetesEvent(EventReason.PREFLIGHT_PASSED, text), text)
    elif flight.state == "Skipped":
        text = flight.message
        yield _Told(KubernetesEvent(EventReason.PREFLIGHT_SKIPPED, text, warning=True), text)


def _of_rows(
    before: ModelStatus, after: ModelStatus, asks_for: Callable[[int], bool]
) -> Iterator[_Told]:
    """Events of versions; several versions with the same thing to tell share one."""
    old = {row.version: row for row in before.versions}
    fresh = [row for row in after.versions if _is_news(old.get(row.version), row)]
    for state, (reason, warning) in _TELLING.items():
        found = [r for r in fresh if r.state is state and (not warning or asks_for(r.version))]
        if state is VersionState.UNSCHEDULABLE and (text := _waiting(after)) and found:
            yield _Told(KubernetesEvent(reason, text, warning), text)
            continue
        shared: dict[str, list[int]] = {}
        for row in found:
            told = "" if row.reason == Reason.REPLICAS_NOT_READY else row.message
            shared.setdefault(told, []).append(row.version)
        for told, versions in shared.items():
            message = _names(versions) + (f": {told}" if told else "")
            yield _Told(KubernetesEvent(reason, message, warning), told)


def _is_news(was: VersionStatus | None, row: VersionStatus) -> bool:
    if was and was.state == row.state:
        return False
    if was and row.state is VersionState.SYNCING and was.state in _UNDER_WAY:
        # The next pod of the same version syncs; that it starts has been told.
        return False
    # One without a ready pod was available before, and comes back.
    returns = row.state is VersionState.AVAILABLE and row.reason and not row.ready_replicas
    return not returns


def _waiting(after: ModelStatus) -> str:
    """What is said of all versions that wait, where there are several; empty otherwise."""
    reasons = [r.reason for r in after.versions if r.state is VersionState.UNSCHEDULABLE]
    if len(reasons) <= 1:
        return ""
    degraded = (c for c in after.conditions if c.type is ConditionType.DEGRADED)
    return next((c.message for c in degraded if c.reason in reasons), "")


def _names(versions: Sequence[int]) -> str:
    """`version 3`, or `versions 9, 8, 7, 6, 5 and 2 more`."""
    if len(versions) == 1:
        return f"version {versions[0]}"
    named = ", ".join(str(version) for version in versions[:_MOST_VERSIONS])
    more = len(versions) - _MOST_VERSIONS
    return f"versions {named}" + (f" and {more} more" if more > 0 else "")


def _is_new(trouble: Trouble, was: Condition | None, before: ModelStatus) -> bool:
    """Whether Degraded did not tell of a trouble before, nor of another one that hid it."""
    if was is None or was.status != "True":
        return True
    if trouble.about:
        return any(words not in was.message for words in trouble.about)
    if trouble.reason == was.reason or trouble.message in was.message:
        return False
    # A version's row says it although Degraded tells of the source meanwhile, for example.
    if any(row_message(row) == trouble.message for row in before.versions):
        return False
    if trouble.reason is not Reason.UNSCHEDULABLE:
        return True
    return all(row.reason != Reason.UNSCHEDULABLE for row in before.versions)  # told together


def _is_told(trouble: Trouble, told: Sequence[_Told]) -> bool:
    """Whether another Event says it, or one is not to be recorded for it."""
    if trouble.reason in RETENTION_FAILURES:
        return True
    return any(it.event.warning and it.words in trouble.message for it in told)


def _of_condition(condition: Condition) -> KubernetesEvent | None:
    """The Event of a condition, other than Degraded, that is new."""
    match condition.type, condition.status:
        case ConditionType.SOURCE_READY, "True":
            return KubernetesEvent(EventReason.SOURCE_READY, condition.message)
        case ConditionType.SOURCE_READY, "False":
            pass
        case ConditionType.READY, "False" if condition.reason == Reason.SERVING_GAP:
            pass
        case _:
            return None
    return KubernetesEvent(Reason(condition.reason), condition.message, warning=True)
