"""What the pods of a version are made from, and its hash.

The hash covers the person's inputs, never the operator's own way of rendering: an upgrade of the
operator changes no hash and so restarts no pod.
"""

import hashlib
import json
from typing import Any, Final

from slipway_operator.api.resource import ModelResource
from slipway_operator.model.servable import Servable

_KEY_LENGTH: Final = 8
_NOT_IN_PODS: Final = {"replicas"}
_NOT_IN_SYNC: Final = {"poll_interval", "settle", "allow_mutation"}


def inputs_of(model: ModelResource, version: int, directory: str, revision: str) -> dict[str, Any]:
    """Everything of the spec that ends up in a pod, without what the API server merely defaulted.

    Defaults are left out so that a new field with a default changes no hash.
    """
    return {
        "version": version,
        "directory": directory,
        "revision": revision,
        "modelName": model.model_name,
        "source": model.spec.source.model_dump(
            mode="json", by_alias=True, exclude=_NOT_IN_SYNC, exclude_defaults=True
        ),
        "serving": _serving(model),
    }


def _serving(model: ModelResource) -> dict[str, Any]:
    serving = model.spec.serving.model_dump(
        mode="json", by_alias=True, exclude=_NOT_IN_PODS, exclude_defaults=True
    )
    cache = model.spec.serving.cache
    if cache is not None and cache.claim_template is not None:
        # A claim that grows is the same claim, and nothing else of it can change.
        serving["cache"] = {"claimTemplate": {}}
    return serving


def servable(model: ModelResource, version: int, directory: str, revision: str) -> Servable:
    """The servable that the spec asks for."""
    inputs = inputs_of(model, version, directory, revision)
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    key = hashlib.sha256(canonical.encode()).hexdigest()[:_KEY_LENGTH]
    return Servable(version=version, directory=directory, revision=revision, key=key)
