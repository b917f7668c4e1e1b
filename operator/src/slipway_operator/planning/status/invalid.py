"""The status of a Model whose spec cannot be used."""

from datetime import datetime

from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.resource import InvalidModel
from slipway_operator.api.status import Condition, ModelStatus, timestamp


def invalid_status(model: InvalidModel, now: datetime) -> ModelStatus:
    """What was said before, and what is wrong: what serves is left alone."""
    before = model.status
    if before.message == model.message:
        return before
    degraded = Condition(
        type=ConditionType.DEGRADED,
        status="True",
        observed_generation=model.generation,
        last_transition_time=timestamp(now),
        reason=Reason.INVALID_SPEC,
        message=model.message,
    )
    others = [c for c in before.conditions if c.type is not ConditionType.DEGRADED]
    changed = {
        "phase": Reason.INVALID_SPEC.value,
        "message": model.message,
        "conditions": [*others, degraded],
    }
    return before.model_copy(update=changed)
