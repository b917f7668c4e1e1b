"""Events on a Model, for `kubectl describe`."""

import hashlib
from datetime import datetime
from typing import Any, Final

import structlog

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.cluster.client import EVENTS, Client, ClusterError
from slipway_operator.model.actions import KubernetesEvent

_MAX_NOTE: Final = 1000
"""The API server takes 1 kB."""

_log = structlog.get_logger()


def manifest(
    model: ModelResource, event: KubernetesEvent, instance: str, now: datetime
) -> dict[str, Any]:
    """The manifest; the same event at the same instant has the same name."""
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    seed = f"{model.uid}/{event.reason}/{event.message}/{moment}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{model.name}.{hashlib.sha256(seed.encode()).hexdigest()[:16]}",
            "namespace": model.namespace,
        },
        "eventTime": moment,
        "reportingController": f"{names.GROUP}/operator",
        "reportingInstance": instance,
        "action": event.reason,
        "reason": event.reason,
        "type": "Warning" if event.warning else "Normal",
        "note": event.message[:_MAX_NOTE],
        "regarding": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": model.name,
            "namespace": model.namespace,
            "uid": model.uid,
        },
    }


async def record(
    client: Client, model: ModelResource, event: KubernetesEvent, instance: str, now: datetime
) -> None:
    """Record an Event; one that cannot be written holds nothing up."""
    try:
        await client.create(EVENTS, model.namespace, manifest(model, event, instance, now))
    except ClusterError as error:
        _log.warning("event not recorded", model=model.name, reason=event.reason, error=str(error))
