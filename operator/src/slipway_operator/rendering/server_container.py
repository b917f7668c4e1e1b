"""The container that serves a version."""

from collections.abc import Sequence
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.model.servable import Servable
from slipway_operator.rendering.batching import batching_arguments
from slipway_operator.rendering.literal import literal
from slipway_operator.rendering.metadata import MODELS_DIR, RESTRICTED, TERMINATION_LOG, TMP
from slipway_operator.rendering.pvc import server_mounts
from slipway_operator.rendering.settings import RenderSettings

_DEFAULT_TAGS: Final = ("serve",)
_STARTUP_SECONDS: Final = 600
"""A busy node may take long to import TensorFlow; loading itself is judged by the operator."""


def server_container(
    model: ModelResource, servable: Servable, settings: RenderSettings
) -> dict[str, Any]:
    """The container that answers requests."""
    serving = model.spec.serving
    resources = serving.resources.model_dump(by_alias=True, exclude_defaults=True)
    container = {
        "name": names.SERVER_CONTAINER,
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
            *_tags(serving.tags),
            *batching_arguments(serving.batching),
        ],
        "ports": [
            {"name": "grpc", "containerPort": names.GRPC_PORT},
            {"name": "rest", "containerPort": names.REST_PORT},
        ],
        "env": [{"name": e.name, "value": e.value} for e in serving.env],
        "resources": resources,
        "securityContext": RESTRICTED,
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # The ports answer before TensorFlow is imported; readiness waits for the loaded version.
        "startupProbe": _probe("/livez", period=1, failures=_STARTUP_SECONDS),
        "livenessProbe": _probe("/livez", period=10, failures=6),
        # A rollout waits for each new pod: what this probe finds late, every one of them takes longer. So its answer
        # waits for readiness until the next one is due.
        "readinessProbe": _probe("/readyz?wait=1", period=1, failures=2),
        "volumeMounts": [*server_mounts(model, servable), TMP],
    }
    return literal(container)


def _tags(tags: Sequence[str]) -> tuple[str, ...]:
    return () if tuple(tags) == _DEFAULT_TAGS else (f"--saved_model_tags={','.join(tags)}",)


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "rest"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
