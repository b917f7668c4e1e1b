"""Claims in pods: the cache of a Model, and a pvc:// source that is served where it lies."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.model.pvc import Sharing
from slipway_operator.model.servable import Servable
from slipway_operator.rendering.metadata import MODELS_DIR, child_metadata
from slipway_sync.store_kinds import CLAIM

VOLUME: Final = "claim"
SOURCE_DIR: Final = "/source"
KEEP_DIR: Final = "/var/run/slipway/cache"
KEEP_KEY: Final = "keep.json"
_SCHEME: Final = CLAIM.prefix
_REVISION_DIGITS: Final = 12
_MAX_LABEL: Final = 63


@dataclass(frozen=True, slots=True)
class MountedSource:
    """A source that is a directory of a volume.

    Attributes:
        claim: Name of a PersistentVolumeClaim in the Model's namespace.
        path: Directory of the volume that holds the version directories; "" is the volume's root.
    """

    claim: str
    path: str


def mounted_source(model: ModelResource) -> MountedSource | None:
    """Where a pvc:// source lies; None for every other source."""
    uri = model.spec.source.uri
    if not uri.startswith(_SCHEME):
        return None
    claim, _, path = uri.removeprefix(_SCHEME).partition("/")
    return MountedSource(claim, path.rstrip("/"))


def cache_claim(model: ModelResource) -> str:
    """The claim that keeps a Model's versions; "" when there is none."""
    cache = model.spec.serving.cache
    if cache is None:
        return ""
    return cache.persistent_volume_claim or names.cache(model.name)


def claim_name(model: ModelResource) -> str:
    """The claim that a Model's pods mount, as cache or as source; "" when they mount none."""
    source = mounted_source(model)
    return source.claim if source else cache_claim(model)


def cache_directory(version: int, revision: str) -> str:
    """The directory of one version in a cache, as the agent names it."""
    return f"{version}-{revision[:_REVISION_DIGITS]}"


def volume_label(claim: str) -> str:
    """A claim as a label's value, which may be shorter than a claim's name."""
    if len(claim) <= _MAX_LABEL:
        return claim
    return hashlib.sha256(claim.encode()).hexdigest()[:_MAX_LABEL]


def claim_labels(model: ModelResource) -> dict[str, str]:
    """What tells, on a pod, which volume it mounts."""
    claim = claim_name(model)
    return {names.VOLUME_LABEL: volume_label(claim)} if claim else {}


def affinity(claim: str, sharing: Sharing) -> dict[str, Any]:
    """Where a volume that one node has attached can be used: where its other pods are.

    The first pod of a volume matches its own term and goes anywhere.
    """
    if sharing is not Sharing.ONE_NODE:
        return {}
    term = {
        "labelSelector": {"matchLabels": {names.VOLUME_LABEL: volume_label(claim)}},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def model_volumes(model: ModelResource) -> list[dict[str, Any]]:
    """The volumes that hold a version in its pod."""
    if source := mounted_source(model):
        claim = {"claimName": source.claim, "readOnly": True}
        return [{"name": VOLUME, "persistentVolumeClaim": claim}]
    if claim_ := cache_claim(model):
        keep = {"name": names.cache(model.name), "optional": True}
        return [
            {"name": VOLUME, "persistentVolumeClaim": {"claimName": claim_}},
            {"name": "keep", "configMap": keep},
        ]
    return [{"name": "models", "emptyDir": {}}]


def sync_mounts(model: ModelResource) -> list[dict[str, Any]]:
    """How the init container mounts the volumes that hold versions.

    Of a cache it sees this Model's own directory and no other's; of a source the whole volume,
    read-only: with a subPath the kubelet would make the directory of a version that has just gone.
    """
    if mounted_source(model):
        return [{"name": VOLUME, "mountPath": SOURCE_DIR, "readOnly": True}]
    if cache_claim(model):
        own = {"name": VOLUME, "mountPath": f"{MODELS_DIR}/{model.name}", "subPath": model.name}
        return [own, {"name": "keep", "mountPath": KEEP_DIR, "readOnly": True}]
    return [{"name": "models", "mountPath": MODELS_DIR}]


def server_mounts(model: ModelResource, servable: Servable) -> list[dict[str, Any]]:
    """How the server mounts exactly its version, read-only."""
    path = ""
    if source := mounted_source(model):
        path = "/".join(step for step in (source.path, servable.directory) if step)
    elif cache_claim(model):
        path = f"{model.name}/{cache_directory(servable.version, servable.revision)}"
    if not path:
        return [{"name": "models", "mountPath": MODELS_DIR, "readOnly": True}]
    return [
        {
            "name": VOLUME,
            "mountPath": f"{MODELS_DIR}/{model.name}/{servable.version}",
            "subPath": path,
            "readOnly": True,
        }
    ]


def cache_arguments(model: ModelResource) -> list[str]:
    """What the agent is told of a cache."""
    return ["--cache", f"--keep={KEEP_DIR}/{KEEP_KEY}"] if cache_claim(model) else []


def verify_arguments(model: ModelResource, servable: Servable, source: MountedSource) -> list[str]:
    """The agent's command line for a version that is served where it lies."""
    marker = model.spec.source.completion_marker
    return [
        "verify",
        *place_arguments(source),
        f"--directory={servable.directory}",
        f"--version={servable.version}",
        f"--revision={servable.revision}",
        *([f"--completion-marker={marker}"] if marker else []),
    ]


def place_arguments(source: MountedSource) -> list[str]:
    """Where the agent finds the source in its container."""
    return [f"--mount={SOURCE_DIR}", *([f"--path={source.path}"] if source.path else [])]


def keep_manifest(model: ModelResource, directories: Iterable[str]) -> dict[str, Any]:
    """The ConfigMap that tells the agents which versions of a cache have to stay."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(model, names.cache(model.name)),
        "data": {KEEP_KEY: json.dumps({"keep": sorted(directories)})},
    }


def claim_manifest(model: ModelResource) -> dict[str, Any] | None:
    """The Model's own claim; None when its spec has no template of one."""
    cache = model.spec.serving.cache
    template = cache.claim_template if cache else None
    if template is None:
        return None
    spec: dict[str, Any] = {
        "accessModes": list(template.access_modes),
        "resources": {"requests": {"storage": str(template.size)}},
    }
    if template.storage_class_name:
        spec["storageClassName"] = template.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": child_metadata(model, names.cache(model.name)),
        "spec": spec,
    }
