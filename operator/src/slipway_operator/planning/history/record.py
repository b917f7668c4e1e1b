"""One entry of `status.history` for each transition, from the moment it is decided to its end.

The entry is part of the status, and so is written together with what it tells: a kill leaves both or neither.
The newest entry is the transition under way as long as it has no end.
"""

from datetime import datetime
from typing import Final

from slipway_operator.api.conditions import Reason
from slipway_operator.api.status import (
    ModelStatus,
    TransitionOutcome,
    TransitionRecord,
    VersionStatus,
    timestamp,
)
from slipway_operator.model.servable import Servable
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.history.cause import cause_of
from slipway_operator.planning.versions.failures import failed_reason

MAX_RECORDS: Final = 10
_MAX_MESSAGE: Final = 1024


def record(decision: Decision, before: ModelStatus, after: ModelStatus) -> list[TransitionRecord]:
    """The history after a plan, newest first.

    Args:
        decision: What was decided, with the rows.
        before: The status as it is stored.
        after: The status that is about to be written, but for its history.
    """
    records = list(before.history)
    if records and records[0].ended_at is None:
        records[0] = _go_on(records[0], decision, before, after)
    if not records or records[0].ended_at is not None:
        primary = decision.desired.primary
        if primary is not None and _begins(decision, primary, records):
            records.insert(0, _begun(decision, before, primary))
    return records[:MAX_RECORDS]


def _begins(decision: Decision, primary: Servable, records: list[TransitionRecord]) -> bool:
    """Whether a servable is on its way that is not there yet, or takes the place of another one."""
    if decision.settled or not decision.limits.replicas:
        return False
    row = decision.rows_by_version.get(primary.version)
    arrived = row is not None and row.available_key == primary.key
    if not arrived:
        return True
    replaces = decision.observed.model.status.transition is not None
    last = records[0] if records else None
    # What came back after a failure, or has just arrived, is told by the entry that has ended.
    told = last is not None and primary.key in (last.key, last.back_key)
    return replaces and not told


def _begun(decision: Decision, before: ModelStatus, primary: Servable) -> TransitionRecord:
    cause, manager = cause_of(decision, before, primary)
    row = decision.rows_by_version.get(primary.version)
    return TransitionRecord(
        from_=before.serving if decision.observed.pods else "",
        to=str(primary.version),
        key=primary.key,
        digest=row.digest if row else "",
        cause=cause,
        by=manager,
        started_at=timestamp(decision.now),
        gap_since=_gap_since(None, decision, served=bool(before.serving)),
    )


def _go_on(
    entry: TransitionRecord, decision: Decision, before: ModelStatus, after: ModelStatus
) -> TransitionRecord:
    """The entry of the transition under way after this plan."""
    primary = decision.desired.primary
    row = next((row for row in after.versions if str(row.version) == entry.to), None)
    changes: dict[str, object] = _outage(entry, decision)
    if row and row.digest and primary is not None and primary.key == entry.key:
        changes["digest"] = row.digest
    outcome = entry.outcome
    if outcome is None and row is not None and row.failed_key == entry.key:
        outcome = _failure(row, primary)
        changes |= {
            "outcome": outcome,
            "reason": row.reason,
            "message": _cut(row.message),
            "back_key": primary.key if primary else "",
        }
    elif outcome is None and _goes_back(entry, decision, before):
        outcome = TransitionOutcome.SUPERSEDED
        changes |= {"outcome": outcome, "back_key": primary.key if primary else ""}
    if ending := _ending(entry.model_copy(update=changes), decision, outcome):
        started = datetime.fromisoformat(entry.started_at)
        changes |= {
            "outcome": ending,
            "ended_at": timestamp(decision.now),
            "duration": f"{max(0, int((decision.now - started).total_seconds()))}s",
            "gap_since": None,
        }
    return entry.model_copy(update=changes)


def _goes_back(entry: TransitionRecord, decision: Decision, before: ModelStatus) -> bool:
    """Whether what served before is the target again without anybody asking for it: the export is gone, say."""
    primary, model = decision.desired.primary, decision.observed.model
    if primary is None or primary.key == entry.key or model.verbs.pinned is not None:
        return False
    row = decision.before.get(primary.version)
    served = row is not None and row.available_key == primary.key
    return served and before.observed_generation == model.generation


def _failure(row: VersionStatus, primary: Servable | None) -> TransitionOutcome:
    if failed_reason(row) == Reason.ABORTED:
        return TransitionOutcome.ABORTED
    return TransitionOutcome.ROLLED_BACK if primary else TransitionOutcome.FAILED


def _ending(
    entry: TransitionRecord, decision: Decision, outcome: TransitionOutcome | None
) -> TransitionOutcome | None:
    """How the transition has ended by now; None while it goes on, or its way back does."""
    primary = decision.desired.primary
    if outcome is not None:
        on_its_way_back = primary is not None and primary.key == entry.back_key
        return None if on_its_way_back and not decision.settled else outcome
    if primary is not None and primary.key == entry.key:
        return TransitionOutcome.COMPLETED if decision.settled else None
    return TransitionOutcome.SUPERSEDED


def _outage(entry: TransitionRecord, decision: Decision) -> dict[str, object]:
    """How long nothing has served, where something did before."""
    since = _gap_since(entry.gap_since, decision, served=bool(entry.from_))
    if entry.gap_since is None or since is not None:
        return {"gap_since": since}
    gone = decision.now - datetime.fromisoformat(entry.gap_since)
    total = entry.outage_seconds + max(0, int(gone.total_seconds()))
    return {"gap_since": None, "outage_seconds": total}


def _gap_since(known: str | None, decision: Decision, *, served: bool) -> str | None:
    if decision.endpoints or not served or not decision.limits.replicas:
        return None
    return known or timestamp(decision.now)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"
