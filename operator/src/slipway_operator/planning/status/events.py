"""Events for what has changed between two states of the status."""

from typing import Final

from slipway_operator.api.conditions import ConditionType, EventReason, Reason
from slipway_operator.api.status import ModelStatus, VersionState
from slipway_operator.model.actions import KubernetesEvent
from slipway_operator.planning.status.conditions import RETENTION_FAILURES

_UNDER_WAY: Final = frozenset({VersionState.LOADING, VersionState.UNSCHEDULABLE})
_TELLING: Final = {
    VersionState.AVAILABLE: (EventReason.VERSION_AVAILABLE, False),
    VersionState.RETIRED: (EventReason.VERSION_RETIRED, False),
    VersionState.SYNCING: (EventReason.VERSION_STARTING, False),
    VersionState.FAILED: (EventReason.VERSION_FAILED, True),
    VersionState.REJECTED: (EventReason.VERSION_REJECTED, True),
    VersionState.ROLLED_BACK: (EventReason.VERSION_ROLLED_BACK, True),
    VersionState.UNSCHEDULABLE: (EventReason.VERSION_UNSCHEDULABLE, True),
    VersionState.SOURCE_GONE: (EventReason.SOURCE_GONE, True),
}


def events(before: ModelStatus, after: ModelStatus) -> tuple[KubernetesEvent, ...]:
    """Events for what is new: a version's state, and trouble with the source or with names."""
    out: list[KubernetesEvent] = []
    old_rows = {row.version: row for row in before.versions}
    for row in after.versions:
        was = old_rows.get(row.version)
        telling = _TELLING.get(row.state)
        if was and row.state is VersionState.SYNCING and was.state in _UNDER_WAY:
            # The next pod of the same version syncs; that it starts has been told.
            continue
        if row.state is VersionState.AVAILABLE and row.reason and not row.ready_replicas:
            # It was available before, and comes back.
            continue
        if telling and (was is None or was.state != row.state):
            reason, warning = telling
            told = "" if row.reason == Reason.REPLICAS_NOT_READY else row.message
            message = f"version {row.version}" + (f": {told}" if told else "")
            out.append(KubernetesEvent(reason, message, warning))
    old = {c.type: c for c in before.conditions}
    for condition in after.conditions:
        was_condition = old.get(condition.type)
        fresh = was_condition is None or (was_condition.reason, was_condition.status) != (
            condition.reason,
            condition.status,
        )
        bad = (condition.type, condition.status) in (
            (ConditionType.SOURCE_READY, "False"),
            (ConditionType.DEGRADED, "True"),
        )
        named_already = condition.type is ConditionType.DEGRADED and any(n.warning for n in out)
        named_already |= condition.reason in RETENTION_FAILURES
        if fresh and bad and not named_already:
            out.append(KubernetesEvent(Reason(condition.reason), condition.message, warning=True))
        elif fresh and condition.type is ConditionType.SOURCE_READY and condition.status == "True":
            out.append(KubernetesEvent(EventReason.SOURCE_READY, condition.message))
    return tuple(out)
