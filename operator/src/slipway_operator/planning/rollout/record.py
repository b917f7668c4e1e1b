"""What the recorded step of a rollout says of itself."""

from typing import Final

from slipway_operator.api.names import servable_id
from slipway_operator.api.status import RolloutStatus

PODS: Final = "Pods"
GATEWAY: Final = "Gateway"
DURATION: Final = "Duration"
APPROVAL: Final = "Approval"
ANALYSIS: Final = "Analysis"
PROMOTION: Final = "Promotion"


def is_held(rollout: RolloutStatus | None) -> bool:
    """Whether a step holds two versions beside each other; not when all steps are done."""
    return rollout is not None and rollout.step <= rollout.steps


def canary_of(rollout: RolloutStatus) -> str:
    """Id of the servable that takes over."""
    return servable_id(rollout.version, rollout.key)


def stable_of(rollout: RolloutStatus) -> str:
    """Id of the servable that it takes over from."""
    return servable_id(rollout.stable, rollout.stable_key)
