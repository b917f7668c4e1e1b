"""The Services of a Model.

Every Service carries, as a label, what it selects. The EndpointSlice controller copies a Service's
labels to its slices, so a slice tells for which selector it was computed; without that, endpoints
of the previous selector could be taken for those of the present one.
"""

from typing import Any

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.rendering.metadata import child_metadata


def selector_of(model: ModelResource, selects: str) -> dict[str, str]:
    """Labels of the pods of a servable, or of the rotation."""
    if selects == names.SELECTS_ROTATION:
        return {names.MODEL_LABEL: model.name, names.ROTATION_LABEL: names.ROTATION_IN}
    return {names.MODEL_LABEL: model.name, names.SERVABLE_LABEL: selects}


def _service(
    model: ModelResource,
    name: str,
    selects: str,
    selector: dict[str, str],
    *,
    headless: bool = False,
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "type": "ClusterIP",
        "selector": selector,
        "ports": [
            {
                "name": "grpc",
                "port": names.GRPC_PORT,
                "targetPort": "grpc",
                "protocol": "TCP",
                "appProtocol": "kubernetes.io/h2c",
            },
            {"name": "rest", "port": names.REST_PORT, "targetPort": "rest", "protocol": "TCP"},
        ],
    }
    if headless:
        spec["clusterIP"] = "None"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(model, name, {names.SELECTS_LABEL: selects}),
        "spec": spec,
    }


def model_service(model: ModelResource, selects: str) -> dict[str, Any]:
    """NAME: the version that takes unversioned requests, or the rotation."""
    return _service(model, model.name, selects, selector_of(model, selects))


def next_service(model: ModelResource, selects: str, name: str = "") -> dict[str, Any]:
    """NAME-next, or what takes its place: tries out the selector to which NAME is about to be flipped."""
    name = name or names.next_service(model.name)
    return _service(model, name, selects, selector_of(model, selects), headless=True)


def version_service(model: ModelResource, version: int) -> dict[str, Any]:
    """NAME-vN: one version, from whichever inputs its pods were rendered."""
    selector = {names.MODEL_LABEL: model.name, names.VERSION_LABEL: str(version)}
    return _service(model, names.version_service(model.name, version), f"v{version}", selector)


def label_service(model: ModelResource, label: str, version: int) -> dict[str, Any]:
    """NAME-LABEL: the version that a label points to."""
    selector = {names.MODEL_LABEL: model.name, names.VERSION_LABEL: str(version)}
    return _service(model, names.label_service(model.name, label), f"v{version}", selector)


def pods_service(model: ModelResource, selects: str) -> dict[str, Any]:
    """NAME-pods: what NAME selects, without a virtual address: for clients that balance themselves."""
    name = names.pods_service(model.name)
    return _service(model, name, selects, selector_of(model, selects), headless=True)
