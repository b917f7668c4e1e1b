"""The PodDisruptionBudget is there as long as a Model asks for more than one replica."""

from collections.abc import Iterator

from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.drift import is_as_wanted
from slipway_operator.rendering.deployment import disruption_budget


def disruption_budget_actions(decision: Decision) -> Iterator[Action]:
    """Create, correct or delete it."""
    observed = decision.observed
    name = observed.model.name
    child = observed.budgets.get(name)
    if f"PodDisruptionBudget/{name}" in observed.foreign:
        return
    if decision.limits.replicas > 1:
        manifest = disruption_budget(observed.model)
        if child is None or not is_as_wanted(child.manifest, manifest):
            yield actions.ApplyBudget(manifest)
    elif child is not None:
        yield actions.DeleteBudget(name, child.uid)
