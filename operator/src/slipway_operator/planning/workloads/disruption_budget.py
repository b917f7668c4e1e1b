"""The PodDisruptionBudget is there as long as a Model asks for more than one replica."""

from collections.abc import Iterator

from slipway_operator.model.actions import Action
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.drift import apply_child, delete_child
from slipway_operator.rendering.deployment import disruption_budget


def disruption_budget_actions(decision: Decision) -> Iterator[Action]:
    """Create, correct or delete it."""
    manifest = disruption_budget(decision.observed.model)
    if decision.limits.replicas > 1:
        yield from apply_child(decision.observed, manifest)
    else:
        name = manifest["metadata"]["name"]
        yield from delete_child(decision.observed, manifest["kind"], name)
