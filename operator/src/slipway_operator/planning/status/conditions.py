"""The conditions of a Model, and the one sentence to act on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from slipway_operator.api.conditions import ConditionType, Reason, reason_of
from slipway_operator.api.status import Condition, VersionState, VersionStatus, timestamp
from slipway_operator.model.source import Readiness
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.status.columns import BAD, newer_row, serving_column
from slipway_operator.planning.status.version_rows import row_reason, selectors_message
from slipway_operator.planning.volumes.pvc import not_grown

RETENTION_FAILURES: Final = frozenset({Reason.RETENTION_DENIED, Reason.RETENTION_FAILED})
"""Told by an Event of retention's own."""


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


def _row_message(row: VersionStatus) -> str:
    detail = row.message or row.state.value
    return f"version {row.version}: {row.reason + ': ' if row.reason else ''}{detail}"


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
            return ConditionValue("False", row_reason(newer), _row_message(newer))
        return ConditionValue("False", Reason.WAITING_FOR_SOURCE, source.message)
    short = [
        row
        for servable in decision.desired.servables
        if (row := decision.rows_by_version.get(servable.version))
        and row.ready_replicas < limits.replicas
    ]
    if decision.settled and not short:
        return ConditionValue(
            "True", Reason.AVAILABLE, f"{serving_column(decision.endpoints)} serves"
        )
    if not decision.settled and ready >= max(1, limits.floor):
        return ConditionValue(
            "True", Reason.TRANSITION, f"{serving_column(decision.endpoints)} serves"
        )
    row = short[0] if short else None
    detail = f": {row.message}" if row and row.message else ""
    if not ready and limits.floor == 0 and decision.replacing:
        return ConditionValue(
            "False",
            Reason.SERVING_GAP,
            "nothing serves while the only pod is replaced (ResourcePreserving with one replica)"
            + detail,
        )
    return ConditionValue(
        "False",
        row_reason(row) if row and row.reason else Reason.REPLICAS_NOT_READY,
        f"{ready} of {limits.replicas} replicas take requests{detail}",
    )


def _progress(decision: Decision, phase: str) -> ConditionValue:
    if decision.observed.model.spec.paused:
        return ConditionValue("False", Reason.PAUSED, "spec.paused is true: nothing is changed")
    primary = decision.desired.primary
    if primary is None:
        return ConditionValue("False", Reason.WAITING_FOR_SOURCE, "no version can be started")
    if decision.settled:
        return ConditionValue(
            "False", Reason.AS_DESIRED, f"version {primary.version} has all traffic"
        )
    row = decision.rows_by_version.get(primary.version)
    detail = f": {row.message}" if row and row.message else ""
    reason = row_reason(row) if row and row.reason else Reason.TRANSITION
    return ConditionValue("True", reason, f"version {primary.version}: {phase}{detail}")


def _conflict(decision: Decision) -> ConditionValue | None:
    """What of others bears our names, or selects our pods."""
    if decision.observed.foreign:
        listed = ", ".join(sorted(decision.observed.foreign))
        return ConditionValue(
            "True",
            Reason.NAME_CONFLICT,
            f"{listed} exists and is not owned by this Model: delete or rename it, or rename "
            "the Model",
        )
    if decision.observed.selected_by:
        return ConditionValue(
            "True", Reason.POD_LABELS_CONFLICT, selectors_message(decision.observed)
        )
    return None


def _degraded(decision: Decision) -> ConditionValue:
    if conflict := _conflict(decision):
        return conflict
    if decision.volume.reason or decision.volume.exclusive:
        return ConditionValue(
            "True",
            decision.volume.reason or Reason.CLAIM_EXCLUSIVE,
            decision.volume.message or decision.volume.exclusive,
        )
    if decision.observed.source.error_reason:
        return ConditionValue(
            "True", decision.observed.source.error_reason, decision.observed.source.error_message
        )
    newer = newer_row(decision)
    if newer and (newer.state in BAD or newer.reason == Reason.ROLLED_BACK):
        return ConditionValue("True", row_reason(newer), _row_message(newer))
    for row in decision.rows:
        if row.state is VersionState.SOURCE_GONE or row.reason == Reason.CONTENT_CHANGED:
            return ConditionValue("True", row_reason(row), _row_message(row))
        if row.state is VersionState.UNSCHEDULABLE:
            return ConditionValue("True", row_reason(row), _row_message(row))
    if refusal := not_grown(decision.observed):
        return ConditionValue("True", Reason.CLAIM_NOT_GROWN, refusal)
    retention = decision.observed.model.status.retention
    if retention and retention.reason in RETENTION_FAILURES:
        return ConditionValue(
            "True", reason_of(retention.reason, Reason.RETENTION_FAILED), retention.message
        )
    return ConditionValue("False", Reason.AS_DESIRED, "no action is needed")


def condition_values(decision: Decision, phase: str) -> dict[ConditionType, ConditionValue]:
    """What each condition says, Ready last."""
    return {
        ConditionType.SOURCE_READY: _source(decision),
        ConditionType.PROGRESSING: _progress(decision, phase),
        ConditionType.DEGRADED: _degraded(decision),
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
    return row is not None and bool(row.message)


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
            return values[kind].message
    if newer := newer_row(decision):
        return _row_message(newer)
    retention = decision.observed.model.status.retention
    return retention.message if retention and retention.versions else ""
