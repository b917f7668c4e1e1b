"""What children have in common: metadata of each, security settings and paths of the pods."""

from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource

MODELS_DIR: Final = "/models"
TERMINATION_LOG: Final = "/dev/termination-log"
USER: Final = 65532
TMP: Final = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 (an emptyDir of the pod's own)

RESTRICTED: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}


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
