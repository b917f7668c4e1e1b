"""Events on a Model, for `kubectl describe`."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.cluster.client import EVENTS, Client, ClusterError
from slipway_operator.model.actions import KubernetesEvent

_MAX_NOTE: Final = 1000
"""The API server takes 1 kB."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_log = structlog.get_logger()


def manifest(
    model: ModelResource, event: KubernetesEvent, instance: str, now: datetime
) -> dict[str, Any]:
    """The manifest; the same event at the same instant has the same name.

    `kubectl describe` sorts by a field that Events of this API version do not have, and so leaves them
    in the order of their names: these begin with the time.
    """
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    seed = f"{model.uid}/{event.reason}/{event.message}/{moment}"
    microseconds = (now - _EPOCH) // timedelta(microseconds=1)
    name = f"{microseconds:016x}{hashlib.sha256(seed.encode()).hexdigest()[:8]}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{model.name}.{name}",
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
    client: Client,
    model: ModelResource,
    events: Sequence[KubernetesEvent],
    instance: str,
    now: datetime,
) -> None:
    """Record Events, each a microsecond after the one before; one that cannot be written holds nothing up."""
    for index, event in enumerate(events):
        moment = now + timedelta(microseconds=index)
        try:
            await client.create(EVENTS, model.namespace, manifest(model, event, instance, moment))
        except ClusterError as error:
            _log.warning(
                "event not recorded", model=model.name, reason=event.reason, error=str(error)
            )
