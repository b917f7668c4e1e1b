"""The Deployment of a servable."""

from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.rendering.batching import batching_arguments
from slipway_operator.rendering.inputs import Servable
from slipway_operator.rendering.metadata import child_metadata, model_labels
from slipway_operator.rendering.settings import RenderSettings

MODELS_DIR: Final = "/models"
CREDENTIALS_DIR: Final = "/var/run/slipway/credentials"
TERMINATION_LOG: Final = "/dev/termination-log"
USER: Final = 65532

_STOP_SLACK_SECONDS: Final = 30
"""After the drain the server still stops and frees its memory; only then may the kubelet kill."""
_STARTUP_SECONDS: Final = 600
"""A busy node may take long to import TensorFlow; loading itself is judged by the operator."""

_RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}


def deployment(
    model: ModelResource, servable: Servable, replicas: int, settings: RenderSettings
) -> dict[str, Any]:
    """The Deployment; its template is final, only `replicas` changes later."""
    identity = {
        names.VERSION_LABEL: str(servable.version),
        names.SERVABLE_LABEL: servable.id,
    }
    selector = {names.MODEL_LABEL: model.name, names.SERVABLE_LABEL: servable.id}
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
            },
        ),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {
                    "labels": dict(model.spec.serving.pod_labels) | model_labels(model) | identity,
                    "annotations": dict(model.spec.serving.pod_annotations),
                },
                "spec": _pod(model, servable, settings),
            },
        },
    }


def _pod(model: ModelResource, servable: Servable, settings: RenderSettings) -> dict[str, Any]:
    serving = model.spec.serving
    volumes: list[dict[str, Any]] = [
        {"name": "models", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if secret := model.spec.source.credentials_secret:
        volumes.append(
            {"name": "credentials", "secret": {"secretName": secret, "defaultMode": 0o440}}
        )
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": serving.drain_seconds + _STOP_SLACK_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_sync(model, servable, settings)],
        "containers": [_server(model, settings)],
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
    }
    return pod | {key: value for key, value in optional.items() if value}


def _sync(model: ModelResource, servable: Servable, settings: RenderSettings) -> dict[str, Any]:
    source = model.spec.source
    args = [
        "fetch",
        f"--source={source.uri}",
        f"--directory={servable.directory}",
        f"--version={servable.version}",
        f"--revision={servable.revision}",
        f"--destination={MODELS_DIR}/{model.name}",
        f"--addressing={source.addressing}",
        f"--termination-log={TERMINATION_LOG}",
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "models", "mountPath": MODELS_DIR},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (an emptyDir of the pod's own)
    ]
    for flag, value in (
        ("endpoint", source.endpoint),
        ("region", source.region),
        ("completion-marker", source.completion_marker),
    ):
        if value:
            args.append(f"--{flag}={value}")
    args += [f"--allow-network={network}" for network in settings.allowed_networks]
    if source.credentials_secret:
        args.append(f"--credentials={CREDENTIALS_DIR}")
        mounts.append({"name": "credentials", "mountPath": CREDENTIALS_DIR, "readOnly": True})
    return {
        "name": "sync",
        "image": settings.sync_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": args,
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": _RESTRICTED,
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _server(model: ModelResource, settings: RenderSettings) -> dict[str, Any]:
    serving = model.spec.serving
    resources = serving.resources.model_dump(by_alias=True, exclude_defaults=True)
    return {
        "name": "server",
        "image": serving.image or settings.server_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": [
            f"--port={names.GRPC_PORT}",
            f"--rest_api_port={names.REST_PORT}",
            f"--model_name={model.model_name}",
            f"--model_base_path={MODELS_DIR}/{model.name}",
            "--file_system_poll_wait_seconds=0",
            f"--drain_seconds={serving.drain_seconds}",
            "--exit_on_failed_load=true",
            f"--termination_log={TERMINATION_LOG}",
            *batching_arguments(serving.batching),
        ],
        "ports": [
            {"name": "grpc", "containerPort": names.GRPC_PORT},
            {"name": "rest", "containerPort": names.REST_PORT},
        ],
        "env": [{"name": e.name, "value": e.value} for e in serving.env],
        "resources": resources,
        "securityContext": _RESTRICTED,
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # The ports answer before TensorFlow is imported; readiness waits for the loaded version.
        "startupProbe": _probe("/livez", period=1, failures=_STARTUP_SECONDS),
        "livenessProbe": _probe("/livez", period=10, failures=6),
        "readinessProbe": _probe("/readyz", period=2, failures=2),
        "volumeMounts": [
            {"name": "models", "mountPath": MODELS_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (an emptyDir of the pod's own)
        ],
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "rest"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
