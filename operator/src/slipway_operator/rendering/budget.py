"""The PodDisruptionBudget of a Model."""

from typing import Any

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.rendering.metadata import child_metadata


def disruption_budget(model: ModelResource) -> dict[str, Any]:
    """At most one pod may be evicted at a time; only for Models with more than one replica."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(model, model.name),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {names.MODEL_LABEL: model.name}},
        },
    }
