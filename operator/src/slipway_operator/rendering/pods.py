"""What the pods of a Model have in common."""

from typing import Any, Final

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
