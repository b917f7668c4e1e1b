"""What will not resolve by itself: an ordered list of checks, the first finding wins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from slipway_operator.api.conditions import Reason, reason_of
from slipway_operator.api.status import BAD_STATES, VersionState
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.status.children import edit_messages, label_messages
from slipway_operator.planning.status.columns import newer_row
from slipway_operator.planning.status.gateways import routes_accepted
from slipway_operator.planning.status.pin import missing_message
from slipway_operator.planning.status.room import room_message
from slipway_operator.planning.status.version_rows import (
    names_message,
    row_message,
    row_reason,
    selectors_message,
)
from slipway_operator.planning.volumes.pvc import not_grown

RETENTION_FAILURES: Final = frozenset({Reason.RETENTION_DENIED, Reason.RETENTION_FAILED})
"""Told by an Event of retention's own."""

_STATES: Final = BAD_STATES | {VersionState.SOURCE_GONE, VersionState.UNSCHEDULABLE}
"""States of a version that is asked for which will not resolve by themselves."""
_REASONS: Final = frozenset({Reason.CONTENT_CHANGED, Reason.ROLLED_BACK})
"""Reasons of a version that serves, which will not either."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What will not resolve by itself.

    Attributes:
        message: A sentence to act on.
        about: Words of the message that stay as long as it is about the same things; none where any
            other message is about the same.
    """

    reason: Reason
    message: str
    about: tuple[str, ...] = ()


def _names(decision: Decision) -> Trouble | None:
    if not decision.observed.foreign:
        return None
    return Trouble(Reason.NAME_CONFLICT, names_message(decision.observed))


def _selectors(decision: Decision) -> Trouble | None:
    if not decision.observed.selected_by:
        return None
    return Trouble(Reason.POD_LABELS_CONFLICT, selectors_message(decision.observed))


def _volume(decision: Decision) -> Trouble | None:
    volume = decision.volume
    if not volume.reason and not volume.exclusive:
        return None
    return Trouble(volume.reason or Reason.CLAIM_EXCLUSIVE, volume.message or volume.exclusive)


def _source(decision: Decision) -> Trouble | None:
    source = decision.observed.source
    return Trouble(source.error_reason, source.error_message) if source.error_reason else None


def _newer(decision: Decision) -> Trouble | None:
    newer = newer_row(decision)
    if newer and (newer.state in BAD_STATES or newer.reason == Reason.ROLLED_BACK):
        return Trouble(row_reason(newer), row_message(newer))
    return None


def _urgent(decision: Decision) -> Trouble | None:
    for servable in decision.desired.servables:
        finding = decision.findings.get(servable.id)
        if finding and finding.urgent:
            what = f"version {servable.version}: {finding.reason}: {finding.message}"
            return Trouble(finding.reason, what)
    return None


def _versions(decision: Decision) -> Trouble | None:
    for row in decision.rows:
        if not decision.asks_for(row.version):
            continue
        if row.state in _STATES or row.reason in _REASONS:
            together = room_message(decision) if row.reason == Reason.UNSCHEDULABLE else ""
            return Trouble(row_reason(row), together or row_message(row))
    return None


def _edits(decision: Decision) -> Trouble | None:
    return _of_several(Reason.TEMPLATE_EDITED, edit_messages(decision))


def _labels(decision: Decision) -> Trouble | None:
    return _of_several(Reason.LABEL_NOT_SERVED, label_messages(decision))


def _routes(decision: Decision) -> Trouble | None:
    status, reason, message = routes_accepted(decision) or ("True", Reason.ROUTES_ACCEPTED, "")
    return Trouble(reason, message, (message,)) if status == "False" else None


def _of_several(reason: Reason, told: Mapping[str, str]) -> Trouble | None:
    return Trouble(reason, "; ".join(told.values()), tuple(told)) if told else None


def _pin(decision: Decision) -> Trouble | None:
    missing = missing_message(decision)
    return Trouble(Reason.PINNED, missing) if missing else None


def _verbs(decision: Decision) -> Trouble | None:
    problems = decision.observed.verbs.problems
    return _of_several(Reason.INVALID_ANNOTATION, {problem: problem for problem in problems})


def _claim(decision: Decision) -> Trouble | None:
    refusal = not_grown(decision.observed)
    return Trouble(Reason.CLAIM_NOT_GROWN, refusal) if refusal else None


def _retention(decision: Decision) -> Trouble | None:
    retention = decision.observed.model.status.retention
    if not retention or retention.reason not in RETENTION_FAILURES:
        return None
    return Trouble(reason_of(retention.reason, Reason.RETENTION_FAILED), retention.message)


_CHECKS: Final[tuple[Callable[[Decision], Trouble | None], ...]] = (
    _names,  # Nothing can be done while it lasts.
    _selectors,
    _volume,
    _source,
    _newer,  # What should serve and cannot.
    _urgent,
    _versions,
    _pin,
    _claim,  # It serves, but not all is as it should be.
    _retention,
    _edits,
    _labels,
    _routes,
    _verbs,
)


_BESIDE: Final = (_edits, _labels, _routes, _verbs)
"""What a person would not learn of from what comes before, and would have to do as well."""


def troubles(decision: Decision) -> tuple[Trouble, ...]:
    """The most telling trouble, and what has to be done beside it; none when no action is needed."""
    found = [(check, told) for check in _CHECKS if (told := check(decision))]
    return tuple(told for n, (check, told) in enumerate(found) if not n or check in _BESIDE)
