"""The conditions of a Model, and the one sentence to act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.status import BAD_STATES, Condition, VersionStatus, timestamp
from slipway_operator.model.source import Readiness
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.status.columns import newer_row, serving_column
from slipway_operator.planning.status.degraded import Trouble
from slipway_operator.planning.status.gateways import routes_accepted
from slipway_operator.planning.status.pin import pin_message
from slipway_operator.planning.status.room import room_message, waiting_for_room
from slipway_operator.planning.status.version_rows import row_message, row_reason


@dataclass(frozen=True, slots=True)
class ConditionValue:
    """What a condition says, without its times."""

    status: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str


def _source(decision: Decision) -> ConditionValue:
    source = decision.observed.source
    if source.error_reason:
        return ConditionValue("False", source.error_reason, source.error_message)
    if not source.polled:
        return ConditionValue(
            "Unknown", Reason.NOT_POLLED_YET, "the source has not been listed yet"
        )
    if not source.versions:
        uri = decision.observed.model.spec.source.uri
        serving = "; current versions keep serving" if decision.endpoints else ""
        return ConditionValue(
            "False",
            Reason.NO_VERSIONS,
            f"{uri}/ contains no version: upload exports as {uri.rstrip('/')}/1/, …/2/ and so on"
            f"{serving}",
        )
    complete = [v for v in source.versions if v.readiness is Readiness.COMPLETE]
    if not complete:
        newest = decision.newest_listed
        if newest and newest.readiness is Readiness.SETTLING:
            return ConditionValue(
                "Unknown", Reason.NO_COMPLETE_VERSION, f"version {newest.number} is settling"
            )
        detail = newest.message if newest and newest.message else "still settling"
        number = newest.number if newest else 0
        return ConditionValue("False", Reason.NO_COMPLETE_VERSION, f"version {number}: {detail}")
    counted = f"{len(complete)} of {len(source.versions)} versions are complete"
    return ConditionValue("True", Reason.LISTED, "; ".join([counted, *source.warnings]))


def _ready(decision: Decision) -> ConditionValue:
    ready = len(decision.endpoints)
    limits = decision.limits
    primary = decision.desired.primary
    if limits.replicas == 0:
        return ConditionValue("False", Reason.SCALED_TO_ZERO, "spec.serving.replicas is 0")
    if primary is None and not ready:
        newer = newer_row(decision)
        source = _source(decision)
        if newer:
            return ConditionValue("False", row_reason(newer), row_message(newer))
        return ConditionValue("False", Reason.WAITING_FOR_SOURCE, source.message)
    short = [
        row
        for servable in decision.desired.servables
        if (row := decision.rows_by_version.get(servable.version))
        and row.ready_replicas < limits.replicas
    ]
    if decision.settled and not short and ready:
        return ConditionValue(
            "True", Reason.AVAILABLE, f"{serving_column(decision.endpoints)} serves"
        )
    if not decision.settled and ready >= max(1, limits.floor):
        if _others_wait(decision, short):
            return _others_short(decision, short)
        return ConditionValue(
            "True", Reason.TRANSITION, f"{serving_column(decision.endpoints)} serves"
        )
    others = short and primary and all(row.version != primary.version for row in short)
    if decision.settled and others:
        return _others_short(decision, short)
    row = short[0] if short else None
    detail = f": {row.message}" if row and row.message else ""
    if not ready and limits.floor == 0 and (decision.replacing or _in_gap(decision)):
        back = newer_row(decision)
        failed = back is not None and (
            back.state in BAD_STATES or back.reason == Reason.ROLLED_BACK
        )
        what = "comes back" if failed else "is replaced"
        return ConditionValue(
            "False",
            Reason.SERVING_GAP,
            f"nothing serves while the only pod {what} (ResourcePreserving with one replica){detail}",
        )
    return ConditionValue(
        "False",
        row_reason(row) if row and row.reason else Reason.REPLICAS_NOT_READY,
        f"{ready} of {limits.replicas} replicas take requests{detail}",
    )


def _others_wait(decision: Decision, short: Sequence[VersionStatus]) -> bool:
    """Whether a version other than the primary serves with too few pods for want of room.

    A transition of the primary is not about it, and does not end it.
    """
    primary, waiting = decision.desired.primary, waiting_for_room(decision)
    return any(
        row.version in waiting for row in short if not primary or row.version != primary.version
    )


def _others_short(decision: Decision, short: Sequence[VersionStatus]) -> ConditionValue:
    """That the primary serves, and other versions that are asked for do not, or not with all pods."""
    if waits := room_message(decision):
        return ConditionValue("False", Reason.UNSCHEDULABLE, waits)
    wanted, row = len(decision.desired.servables), short[0]
    return ConditionValue(
        "False",
        row_reason(row) if row.reason else Reason.REPLICAS_NOT_READY,
        f"{wanted - len(short)} of {wanted} versions serve with all their replicas; "
        f"{row_message(row)}",
    )


def _in_gap(decision: Decision) -> bool:
    """Whether nothing has served since the only pod went: it may be gone that was to replace it."""
    conditions = decision.observed.model.status.conditions
    return any(c.type is ConditionType.READY and c.reason == Reason.SERVING_GAP for c in conditions)


def _progress(decision: Decision, phase: str) -> ConditionValue:
    if decision.observed.model.spec.paused:
        return ConditionValue("False", Reason.PAUSED, "spec.paused is true: nothing is changed")
    primary = decision.desired.primary
    if primary is None:
        return ConditionValue("False", Reason.WAITING_FOR_SOURCE, "no version can be started")
    coming = [
        row
        for servable in decision.desired.servables
        if (row := decision.rows_by_version.get(servable.version))
        and row.available_key != servable.key
    ]
    if decision.settled and coming and decision.limits.replicas:
        wanted = len(decision.desired.servables)
        return ConditionValue(
            "True",
            row_reason(coming[0]) if coming[0].reason else Reason.TRANSITION,
            f"{wanted - len(coming)} of {wanted} versions have been started",
        )
    if decision.settled:
        if pins := pin_message(decision):
            return ConditionValue("False", Reason.PINNED, pins)
        return ConditionValue(
            "False", Reason.AS_DESIRED, f"version {primary.version} has all traffic"
        )
    row = decision.rows_by_version.get(primary.version)
    transition = decision.observed.model.status.transition
    why = [row.message if row else "", transition.message if transition else ""]
    if row and why[1] in why[0]:
        why.pop()
    detail = "".join(f": {text}" for text in ["; ".join(filter(None, why))] if text)
    reason = row_reason(row) if row and row.reason else Reason.TRANSITION
    return ConditionValue("True", reason, f"version {primary.version}: {phase}{detail}")


def _degraded(troubles: Sequence[Trouble]) -> ConditionValue:
    if troubles:
        message = "; ".join(trouble.message for trouble in troubles)
        return ConditionValue("True", troubles[0].reason, message)
    return ConditionValue("False", Reason.AS_DESIRED, "no action is needed")


def condition_values(
    decision: Decision, phase: str, troubles: Sequence[Trouble]
) -> dict[ConditionType, ConditionValue]:
    """What each condition says, Ready last."""
    routes = routes_accepted(decision)
    return {
        ConditionType.SOURCE_READY: _source(decision),
        **({ConditionType.ROUTES_ACCEPTED: ConditionValue(*routes)} if routes else {}),
        ConditionType.PROGRESSING: _progress(decision, phase),
        ConditionType.DEGRADED: _degraded(troubles),
        ConditionType.READY: _ready(decision),
    }


def conditions(
    decision: Decision, values: Mapping[ConditionType, ConditionValue]
) -> list[Condition]:
    """The conditions as they are written; one whose status stays keeps its time."""
    model = decision.observed.model
    before = {condition.type: condition for condition in model.status.conditions}
    out = []
    for kind, value in values.items():
        last = before.get(kind)
        same = last is not None and last.status == value.status
        out.append(
            Condition(
                type=kind,
                status=value.status,
                observed_generation=model.generation,
                last_transition_time=(
                    last.last_transition_time if same and last else timestamp(decision.now)
                ),
                reason=value.reason,
                message=value.message,
            )
        )
    return out


def _waiting(decision: Decision) -> bool:
    """Whether there is more to say about the primary than its phase."""
    primary = decision.desired.primary
    row = decision.rows_by_version.get(primary.version) if primary else None
    transition = decision.observed.model.status.transition
    return (row is not None and bool(row.message)) or bool(transition and transition.message)


def _gap(values: Mapping[ConditionType, ConditionValue], told: ConditionType) -> list[str]:
    """That nothing serves meanwhile, where the message to act on would be silent about it."""
    ready = values[ConditionType.READY]
    silent = told is not ConditionType.READY and ready.reason is Reason.SERVING_GAP
    return [ready.message] if silent else []


def message(decision: Decision, values: Mapping[ConditionType, ConditionValue]) -> str:
    """The one sentence to act on: trouble first, then progress."""
    for kind, bad in (
        (ConditionType.DEGRADED, "True"),
        (ConditionType.SOURCE_READY, "False"),
        (ConditionType.READY, "False"),
        (ConditionType.PROGRESSING, "True"),
    ):
        if kind is ConditionType.PROGRESSING and not _waiting(decision):
            continue  # The phase says it all.
        if values[kind].status == bad:
            return "; ".join([*_gap(values, kind), values[kind].message])
    if newer := newer_row(decision):
        return row_message(newer)
    if pins := pin_message(decision):
        return pins
    routes = values.get(ConditionType.ROUTES_ACCEPTED)
    if routes and routes.status == "Unknown":
        return routes.message
    retention = decision.observed.model.status.retention
    return retention.message if retention and retention.versions else ""
