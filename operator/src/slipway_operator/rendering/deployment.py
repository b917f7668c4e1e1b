"""The Deployment of a servable, and the PodDisruptionBudget over all of a Model's."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.model.pvc import Sharing
from slipway_operator.model.servable import Servable
from slipway_operator.model.source import CloudIdentity
from slipway_operator.rendering.metadata import USER, child_metadata, model_labels
from slipway_operator.rendering.pvc import (
    affinity,
    cache_claim,
    claim_labels,
    claim_name,
    model_volumes,
    mounted_source,
)
from slipway_operator.rendering.server_container import server_container
from slipway_operator.rendering.settings import RenderSettings
from slipway_operator.rendering.sync_container import sync_container, sync_volumes

_STOP_SLACK_SECONDS: Final = 30
"""After the drain the server still stops and frees its memory; only then may the kubelet kill."""


def deployment(
    model: ModelResource,
    servable: Servable,
    replicas: int,
    settings: RenderSettings,
    account: CloudIdentity | None = None,
    sharing: Sharing = Sharing.ANYWHERE,
) -> dict[str, Any]:
    """The Deployment; its template is final, only `replicas` changes later.

    Args:
        model: What it belongs to.
        servable: What it serves.
        replicas: Its pods.
        settings: The installation's.
        account: Cloud identity that reads the source; None where that is not a ServiceAccount's.
        sharing: Which pods may use the claim that they mount, if they mount one.
    """
    identity = {
        names.VERSION_LABEL: str(servable.version),
        names.SERVABLE_LABEL: servable.id,
    }
    selector = {names.MODEL_LABEL: model.name, names.SERVABLE_LABEL: servable.id}
    template = {
        "metadata": {
            "labels": dict(model.spec.serving.pod_labels)
            | model_labels(model)
            | identity
            | claim_labels(model),
            "annotations": dict(model.spec.serving.pod_annotations),
        },
        "spec": pod_template(model, servable, settings, account, sharing),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(
            model,
            names.deployment_name(model.name, servable.id),
            identity,
            {
                names.REVISION_ANNOTATION: servable.revision,
                names.DIRECTORY_ANNOTATION: servable.directory,
                names.TEMPLATE_ANNOTATION: _hash(template),
            },
        ),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": selector},
            "template": template,
        },
    }


def _hash(template: Mapping[str, Any]) -> str:
    canonical = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def pod_template(
    model: ModelResource,
    servable: Servable,
    settings: RenderSettings,
    account: CloudIdentity | None,
    sharing: Sharing,
) -> dict[str, Any]:
    """The spec of a pod that syncs and serves a version; the arguments are those of `deployment`."""
    serving = model.spec.serving
    volumes: list[dict[str, Any]] = [
        *model_volumes(model),
        {"name": "tmp", "emptyDir": {}},
        *sync_volumes(model, account),
    ]
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": serving.drain_seconds + _STOP_SLACK_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            **_volume_group(model),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [sync_container(model, servable, settings, account)],
        "containers": [server_container(model, servable, settings)],
        "volumes": volumes,
    }
    optional: dict[str, Any] = {
        "imagePullSecrets": [{"name": name} for name in serving.image_pull_secrets],
        "nodeSelector": dict(serving.node_selector),
        "tolerations": [
            t.model_dump(by_alias=True, exclude_defaults=True) for t in serving.tolerations
        ],
        "priorityClassName": serving.priority_class_name,
        "runtimeClassName": serving.runtime_class_name,
        "serviceAccountName": serving.service_account,
    } | affinity(claim_name(model), sharing)
    return pod | {key: value for key, value in optional.items() if value}


def _volume_group(model: ModelResource) -> dict[str, Any]:
    """Who owns the volumes' files: a source is left as it is, a large cache is looked at once."""
    if mounted_source(model):
        return {}
    group: dict[str, Any] = {"fsGroup": USER}
    return group | ({"fsGroupChangePolicy": "OnRootMismatch"} if cache_claim(model) else {})


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
