"""The init container that brings a version to its pod's volume, verified."""

from typing import Any

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.model.servable import Servable
from slipway_operator.model.source import CloudIdentity
from slipway_operator.rendering.literal import literal
from slipway_operator.rendering.metadata import MODELS_DIR, RESTRICTED, TERMINATION_LOG, TMP
from slipway_operator.rendering.pvc import (
    cache_arguments,
    mounted_source,
    sync_mounts,
    verify_arguments,
)
from slipway_operator.rendering.settings import RenderSettings
from slipway_operator.rendering.sync_credentials import sync_credentials
from slipway_sync.exports import DEFAULT_TAGS


def sync_container(
    model: ModelResource,
    servable: Servable,
    settings: RenderSettings,
    identity: CloudIdentity | None = None,
) -> dict[str, Any]:
    """The init container."""
    args = [*_arguments(model, servable, settings), f"--termination-log={TERMINATION_LOG}"]
    mounts: list[dict[str, Any]] = [*sync_mounts(model), TMP]
    for part in sync_credentials(model, identity):
        args += part.arguments
        if part.volume is not None:
            mounts.append(part.mount)
    container = {
        "name": names.SYNC_CONTAINER,
        "image": settings.sync_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": args,
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": RESTRICTED,
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    return literal(container)


def tag_arguments(model: ModelResource) -> list[str]:
    """Which graph the agent has to find in an export; it looks for `serve` by itself."""
    tags = tuple(sorted(set(model.spec.serving.tags)))
    return [] if tags == DEFAULT_TAGS else [f"--tag={tag}" for tag in tags]


def sync_volumes(model: ModelResource, identity: CloudIdentity | None) -> list[dict[str, Any]]:
    """The volumes that only the init container mounts."""
    return [part.volume for part in sync_credentials(model, identity) if part.volume is not None]


def _arguments(model: ModelResource, servable: Servable, settings: RenderSettings) -> list[str]:
    if mounted := mounted_source(model):
        return [*verify_arguments(model, servable, mounted), *tag_arguments(model)]
    source = model.spec.source
    args = [
        "fetch",
        f"--source={source.uri}",
        f"--directory={servable.directory}",
        f"--version={servable.version}",
        f"--revision={servable.revision}",
        f"--destination={MODELS_DIR}/{model.name}",
        f"--addressing={source.addressing}",
        *cache_arguments(model),
        *tag_arguments(model),
    ]
    for flag, value in (
        ("endpoint", source.endpoint),
        ("region", source.region),
        ("completion-marker", source.completion_marker),
        ("proxy", source.proxy or settings.proxy),
    ):
        if value:
            args.append(f"--{flag}={value}")
    return [
        *args,
        *(f"--no-proxy={entry}" for entry in settings.no_proxy),
        *(f"--allow-network={network}" for network in settings.allowed_networks),
    ]
