"""The small pod that lists a pvc:// source for the operator."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.resource import ModelResource
from slipway_operator.model.pvc import Sharing
from slipway_operator.rendering.literal import literal
from slipway_operator.rendering.metadata import RESTRICTED, TMP, USER, child_metadata
from slipway_operator.rendering.pvc import (
    SOURCE_DIR,
    VOLUME,
    MountedSource,
    affinity,
    mounted_source,
    place_arguments,
    volume_label,
)
from slipway_operator.rendering.settings import RenderSettings
from slipway_operator.rendering.sync_container import tag_arguments
from slipway_operator.rendering.sync_credentials import sync_credentials

_SPARE: Final = 16
"""Versions that are looked at beyond those that the policy asks for: some may turn out bad."""
_MOST: Final = 256


def watcher(
    model: ModelResource, settings: RenderSettings, sharing: Sharing
) -> dict[str, Any] | None:
    """The Deployment NAME-source; None when the source is no volume."""
    source = mounted_source(model)
    if source is None:
        return None
    labels = {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.SOURCE_LABEL: model.name,
        names.VOLUME_LABEL: volume_label(source.claim),
    }
    pod = _pod(model, settings, source, sharing)
    inputs = {names.INPUTS_ANNOTATION: watcher_inputs(model, sharing)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(
            model,
            names.watcher(model.name),
            {names.SOURCE_LABEL: model.name},
            inputs,
        ),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            # Two at a time would be no use, and not every volume allows them.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {names.SOURCE_LABEL: model.name}},
            # Without the Model's own label: it is no pod that serves, and nothing may count it so.
            "template": {"metadata": {"labels": labels, "annotations": inputs}, "spec": pod},
        },
    }


def is_current(manifest: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a watcher was made from the same inputs.

    As for the pods that serve, an upgrade of the operator alone restarts none.
    """
    annotations = manifest["metadata"].get("annotations") or {}
    return bool(
        annotations.get(names.INPUTS_ANNOTATION)
        == wanted["metadata"]["annotations"][names.INPUTS_ANNOTATION]
    )


def watcher_inputs(model: ModelResource, sharing: Sharing) -> str:
    """A hash over what a person asks for and what the volume allows.

    Pods bear it: what one tells that was made from other inputs is about another source.
    """
    serving = model.spec.serving.model_dump(
        mode="json",
        by_alias=True,
        include={"image_pull_secrets", "node_selector", "tolerations", "tags"},
        exclude_defaults=True,
    )
    source = model.spec.source.model_dump(
        mode="json", by_alias=True, exclude={"allow_mutation"}, exclude_defaults=True
    )
    versions = model.versions.model_dump(mode="json", exclude_defaults=True)
    canonical = json.dumps([serving, source, versions, sharing.value], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _arguments(model: ModelResource, source: MountedSource) -> list[str]:
    spec = model.spec
    interval = parse_duration(spec.source.poll_interval).total_seconds()
    args = [
        "watch",
        *place_arguments(source),
        f"--poll-interval={interval:g}",
        f"--settle={parse_duration(spec.source.settle).total_seconds():g}",
    ]
    if model.versions.specific is not None:
        args += [f"--only={number}" for number in model.versions.specific]
    else:
        wanted = _MOST if model.versions.all else (model.versions.latest or 1) + _SPARE
        args.append(f"--complete={wanted}")
    if spec.source.completion_marker:
        args.append(f"--completion-marker={spec.source.completion_marker}")
    return [*args, *tag_arguments(model)]


def _pod(
    model: ModelResource, settings: RenderSettings, source: MountedSource, sharing: Sharing
) -> dict[str, Any]:
    serving = model.spec.serving
    # Only the public key matters to a source that is mounted: no store is asked.
    parts = list(sync_credentials(model, None))
    claim = {"claimName": source.claim, "readOnly": True}
    container = {
        "name": names.WATCH_CONTAINER,
        "image": settings.sync_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": [*_arguments(model, source), *(a for p in parts for a in p.arguments)],
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": VOLUME, "mountPath": SOURCE_DIR, "readOnly": True},
            TMP,
            *(part.mount for part in parts if part.volume),
        ],
    }
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [literal(container)],
        "volumes": [
            {"name": VOLUME, "persistentVolumeClaim": claim},
            {"name": "tmp", "emptyDir": {}},
            *(part.volume for part in parts if part.volume),
        ],
    }
    optional: dict[str, Any] = {
        "imagePullSecrets": [{"name": name} for name in serving.image_pull_secrets],
        # Where all pods of a volume share a node, that node has to suit the servers.
        "nodeSelector": dict(serving.node_selector) if sharing is Sharing.ONE_NODE else {},
        "tolerations": [
            t.model_dump(by_alias=True, exclude_defaults=True) for t in serving.tolerations
        ],
    } | affinity(source.claim, sharing)
    return pod | {key: value for key, value in optional.items() if value}
