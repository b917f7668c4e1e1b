"""The Job that tries a version out without a GPU before an old pod goes for it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.model.pvc import Sharing
from slipway_operator.model.servable import Servable
from slipway_operator.model.source import CloudIdentity
from slipway_operator.rendering.deployment import pod_template
from slipway_operator.rendering.metadata import child_metadata
from slipway_operator.rendering.pvc import claim_labels
from slipway_operator.rendering.settings import RenderSettings

_ATTEMPTS: Final = 1_000_000
"""The operator judges the pod; a Job that gave up would take it away with what it said."""
_ACTIVE_SECONDS: Final = 24 * 60 * 60
_FINISHED_SECONDS: Final = 60 * 60
"""For the case that no operator is left to look: its own end comes first."""
_WITHOUT_GPU: Final = {
    "CUDA_VISIBLE_DEVICES": "-1",
    # With NVIDIA's runtime an image may get every GPU of a node without asking for one.
    "NVIDIA_VISIBLE_DEVICES": "void",
}
_EVERYWHERE: Final = ("cpu", "memory", "ephemeral-storage")
_HUGE_PAGES: Final = "hugepages-"
_MACHINE: Final = ("kubernetes.io/arch", "kubernetes.io/os")
_FOR_SERVING: Final = ("ports", "startupProbe", "livenessProbe", "readinessProbe")
_STOP_SECONDS: Final = 10


def preflight_job(
    model: ModelResource,
    servable: Servable,
    check: str,
    settings: RenderSettings,
    account: CloudIdentity | None = None,
    sharing: Sharing = Sharing.ANYWHERE,
) -> dict[str, Any]:
    """The Job.

    Args:
        model: What it belongs to.
        servable: What it tries out.
        check: `Verify`, or `Load`.
        settings: The installation's.
        account: Cloud identity that reads the source; None where that is not a ServiceAccount's.
        sharing: Which pods may use the claim that the Model's pods mount, if they mount one.
    """
    if sharing is Sharing.ONE_POD and model.spec.serving.cache is not None:
        # The pod that serves has the cache.
        serving = model.spec.serving.model_copy(update={"cache": None})
        model = replace(model, spec=model.spec.model_copy(update={"serving": serving}))
    labels = {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.PREFLIGHT_LABEL: model.name,
        names.VERSION_LABEL: str(servable.version),
    }
    metadata = child_metadata(
        model,
        names.preflight_job(model.name, servable.key),
        {**labels, names.SERVABLE_LABEL: servable.id},
        {names.CHECK_ANNOTATION: check, names.REVISION_ANNOTATION: servable.revision},
    )
    # Without the Model's own label: it is no pod that serves, and nothing may count it so.
    del metadata["labels"][names.MODEL_LABEL]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": _ATTEMPTS,
            "activeDeadlineSeconds": _ACTIVE_SECONDS,
            "ttlSecondsAfterFinished": _FINISHED_SECONDS,
            "template": {
                "metadata": {
                    "labels": labels | claim_labels(model),
                    "annotations": dict(model.spec.serving.pod_annotations),
                },
                "spec": _pod(model, servable, check, settings, account, sharing),
            },
        },
    }


def _pod(
    model: ModelResource,
    servable: Servable,
    check: str,
    settings: RenderSettings,
    account: CloudIdentity | None,
    sharing: Sharing,
) -> dict[str, Any]:
    pod = pod_template(model, servable, settings, account, sharing)
    [sync], [server] = pod["initContainers"], pod["containers"]
    if check == "Load":
        pod["containers"] = [_loads_once(server)]
    else:
        pod["containers"] = [sync]
        del pod["initContainers"]
    pod["restartPolicy"] = "OnFailure"
    pod["terminationGracePeriodSeconds"] = _STOP_SECONDS
    # It must not drive out what serves.
    pod.pop("priorityClassName", None)
    selector = pod.pop("nodeSelector", {})
    bound = sharing is Sharing.ONE_NODE or "runtimeClassName" in pod
    # Nodes with GPUs are chosen for the GPU; a volume or a runtime may be on no other ones.
    kept = {k: v for k, v in selector.items() if bound or k in _MACHINE}
    return pod | ({"nodeSelector": kept} if kept else {})


def _loads_once(server: Mapping[str, Any]) -> dict[str, Any]:
    """The server's container, which ends when it has loaded the version, and has no GPU."""
    container = {key: value for key, value in server.items() if key not in _FOR_SERVING}
    container["args"] = [*server["args"], "--exit_after_load=true"]
    env = [entry for entry in server["env"] if entry["name"] not in _WITHOUT_GPU]
    container["env"] = env + [{"name": n, "value": v} for n, v in _WITHOUT_GPU.items()]
    resources = server.get("resources", {})
    container["resources"] = {
        kind: {n: v for n, v in amounts.items() if n in _EVERYWHERE or n.startswith(_HUGE_PAGES)}
        for kind, amounts in resources.items()
    }
    return container
