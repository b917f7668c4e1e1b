"""What began a transition, and, as far as the API server tells, who."""

from typing import Final

from slipway_operator.api.status import ModelStatus, TransitionCause, VersionState
from slipway_operator.api.verbs import Verb
from slipway_operator.model.servable import Servable
from slipway_operator.planning.decision import Decision

_KNOWN: Final = frozenset({VersionState.DISCOVERED, VersionState.RETIRED, VersionState.DRAINING})
"""States of a version that was in the source before, and could have been started."""


def cause_of(
    decision: Decision, before: ModelStatus, target: Servable
) -> tuple[TransitionCause, str]:
    """What began a transition, and the field manager of whoever asked for it; empty where nobody did.

    Args:
        decision: What was decided.
        before: The status as it is stored.
        target: What is to serve.
    """
    model, verbs = decision.observed.model, decision.observed.verbs
    last = before.history[0] if before.history else None
    if verbs.pinned == target.version:
        return TransitionCause.ROLLBACK, model.editors.of(Verb.ROLLBACK)
    if verbs.retry and verbs.retry.version == target.version and _honours_retry(decision, before):
        return TransitionCause.RETRY, model.editors.of(Verb.RETRY)
    if last and last.cause is TransitionCause.ROLLBACK and verbs.pinned is None:
        return TransitionCause.ROLLBACK_LIFTED, ""
    if _changes_spec(decision, before, target):
        return TransitionCause.SPEC_CHANGE, model.editors.spec
    row = next((row for row in before.versions if row.version == target.version), None)
    if row and row.state in _KNOWN:
        return TransitionCause.FALLBACK, ""
    return TransitionCause.NEW_EXPORT, ""


def _honours_retry(decision: Decision, before: ModelStatus) -> bool:
    now = decision.observed.model.status.honoured
    was = before.honoured
    return now is not None and now.retry != (was.retry if was else "")


def _changes_spec(decision: Decision, before: ModelStatus, target: Servable) -> bool:
    """Whether the spec was edited since the last plan, or other inputs are asked of the same export."""
    if before.observed_generation not in (0, decision.observed.model.generation):
        return True
    row = next((row for row in before.versions if row.version == target.version), None)
    same_export = row is not None and row.revision == target.revision
    return row is not None and same_export and row.key not in ("", target.key)
