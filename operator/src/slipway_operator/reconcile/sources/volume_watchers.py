"""Sources that are volumes: a pod of ours lists each, and its log tells what it sees."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api import names
from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import ModelResource
from slipway_operator.cluster import reading
from slipway_operator.cluster.client import PODS, Client, ClusterError
from slipway_operator.cluster.observing import find_claim
from slipway_operator.discovery.volume_listing import (
    SHORTLY,
    Heard,
    Trouble,
    believed,
    heard_of,
    observation_of,
    pod_trouble,
    present_pod,
)
from slipway_operator.model.source import SourceObservation
from slipway_operator.model.volume_watcher import WatchPod
from slipway_operator.planning.volumes.pvc import judge
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.rendering.pvc import claim_name
from slipway_operator.rendering.volume_watcher import watcher_inputs
from slipway_sync.exports.protocol.report import LINE_LIMIT, TAIL_LINES, Report, parse_tail

LOG_LIMIT: Final = TAIL_LINES * LINE_LIMIT
"""Bytes of a log that are read at most, whatever stands in it."""
_SOONEST: Final = timedelta(seconds=1)
_LATEST: Final = timedelta(seconds=10)
"""How often a log is looked at: it is where a new version is learnt of, and costs no listing."""


class Watchers:
    """Reads watchers' logs, and remembers what they told."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._heard: dict[Key, Heard] = {}
        self._fine: dict[Key, datetime] = {}
        """When all was well with a watcher; at first, when it was first asked for."""

    def forget(self, key: Key) -> None:
        """The Model is gone, or its source lies elsewhere."""
        self._heard.pop(key, None)
        self._fine.pop(key, None)

    async def observe(self, model: ModelResource, before: SourceObservation) -> SourceObservation:
        """What the volume was last seen to hold; what is in the way of that, where something is.

        Raises:
            ClusterError: The API server does not answer.
        """
        key = Key(model.namespace, model.name)
        volume = judge(model, await find_claim(self._client, model))
        if volume.reason:
            return _failed(before, Trouble(volume.reason, volume.message))
        pods = await self._client.list(PODS, model.namespace, {names.SOURCE_LABEL: model.name})
        pod = present_pod(map(reading.watch_pod, pods), watcher_inputs(model, volume.sharing))
        told: Report | Trouble | None = pod_trouble(model, claim_name(model), pod)
        if told is None and pod is not None:
            told = await self._listen(key, model, pod)
        now = self._clock()
        if isinstance(told, Report):
            self._fine[key] = now
            return observation_of(told)
        since = self._fine.setdefault(key, now)
        if told is None or (told.passing and now - since < SHORTLY):
            return before
        return _failed(before, told)

    async def _listen(self, key: Key, model: ModelResource, pod: WatchPod) -> Report | Trouble:
        """What the log of a pod that runs tells."""
        try:
            log = await self._client.log_tail(
                model.namespace, pod.name, names.WATCH_CONTAINER, TAIL_LINES, LOG_LIMIT
            )
        except ClusterError as error:
            message = f"the log of pod {pod.name} cannot be read: {error}"
            return Trouble(Reason.WATCHER_NOT_READY, message, passing=True)
        tail = parse_tail(log)
        now = self._clock()
        heard = self._heard[key] = heard_of(self._heard.get(key), pod, tail, now)
        return believed(model, pod, heard, tail, now)


def next_look(poll_interval: timedelta) -> timedelta:
    """When to look at a watcher's log again.

    >>> next_look(timedelta(seconds=30)).total_seconds()
    10.0
    """
    return max(_SOONEST, min(_LATEST, poll_interval / 2))


def _failed(before: SourceObservation, trouble: Trouble) -> SourceObservation:
    return replace(before, polled=True, error_reason=trouble.reason, error_message=trouble.message)
