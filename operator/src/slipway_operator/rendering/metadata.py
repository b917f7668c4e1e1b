"""Metadata that every child carries."""

from typing import Any

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource


def model_labels(model: ModelResource) -> dict[str, str]:
    """Labels by which the children of a Model are found."""
    return {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.MODEL_LABEL: model.name}


def child_metadata(
    model: ModelResource,
    name: str,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Name, labels and the owner reference that makes deletion of the Model delete the child."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": model.namespace,
        "labels": model_labels(model) | (labels or {}),
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": model.name,
                "uid": model.uid,
                "controller": True,
                # False: an operator that is gone must never hold up the deletion of a Model.
                "blockOwnerDeletion": False,
            }
        ],
    }
    if annotations:
        metadata["annotations"] = annotations
    return metadata
