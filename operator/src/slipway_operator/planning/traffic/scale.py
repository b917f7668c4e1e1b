"""What autoscalers read of a Model: the two fields of the scale subresource.

They take `spec.serving.replicas` for the number of pods that share one load, and so it is: of those of one
version, or of a mix of versions in transition, not of all that there are.
"""

from slipway_operator.api import names
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.endpoints import live_pods, matched_pods
from slipway_operator.rendering.services import selector_of


def scale_selector(decision: Decision) -> str:
    """Label selector of the pods that share the requests without a version."""
    model, shared = decision.observed.model, _shared(decision)
    labels = selector_of(model, shared) if shared else {names.MODEL_LABEL: model.name}
    return ",".join(f"{name}={value}" for name, value in labels.items())


def scale_replicas(decision: Decision) -> int:
    """How many they are; in a transition, how many are wanted.

    Pods that a transition has in addition, or lacks, are no reason to scale: an autoscaler that finds
    its load right for this number, more or less, sets `spec.serving.replicas` to it.
    """
    model, shared = decision.observed.model, _shared(decision)
    if model.status.transition is not None:
        return decision.limits.replicas
    return len(matched_pods(decision.observed, shared) if shared else live_pods(decision.observed))


def _shared(decision: Decision) -> str:
    """What NAME selects; before there is anything to select, what it will."""
    primary = decision.desired.primary
    return decision.selects or (primary.id if primary else "")
