"""Sources that are volumes: a pod of ours lists each, and its log is read for the listing."""

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
    LastReport,
    WatcherProblem,
    current_pod,
    observation_of,
    pod_problem,
    trusted_report,
    updated_report,
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


class VolumeWatchers:
    """Reads the logs of the watchers' pods, and keeps the last report of each."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._reports: dict[Key, LastReport] = {}
        self._last_good: dict[Key, datetime] = {}
        """When a watcher last had a usable report; at first, when it was first asked for."""

    def forget(self, key: Key) -> None:
        """The Model is gone, or its source lies elsewhere."""
        self._reports.pop(key, None)
        self._last_good.pop(key, None)

    async def observe(self, model: ModelResource, before: SourceObservation) -> SourceObservation:
        """What the volume was last seen to hold, or why it cannot be seen.

        Raises:
            ClusterError: The API server does not answer.
        """
        key = Key.of(model)
        volume = judge(model, await find_claim(self._client, model))
        if volume.reason:
            return _failed(before, WatcherProblem(volume.reason, volume.message))
        pods = await self._client.list(PODS, model.namespace, {names.SOURCE_LABEL: model.name})
        pod = current_pod(
            reading.watch_pods(pods, model.name), watcher_inputs(model, volume.sharing)
        )
        found: Report | WatcherProblem | None = pod_problem(model, claim_name(model), pod)
        if found is None and pod is not None:
            found = await self._read_log(key, model, pod)
        now = self._clock()
        if isinstance(found, Report):
            self._last_good[key] = now
            return observation_of(found)
        since = self._last_good.setdefault(key, now)
        if found is None or (found.passing and now - since < SHORTLY):
            return before
        return _failed(before, found)

    async def _read_log(
        self, key: Key, model: ModelResource, pod: WatchPod
    ) -> Report | WatcherProblem:
        """The last report in the log of a running pod, or why there is none."""
        try:
            log = await self._client.log_tail(
                model.namespace, pod.name, names.WATCH_CONTAINER, TAIL_LINES, LOG_LIMIT
            )
        except ClusterError as error:
            message = f"the log of pod {pod.name} cannot be read: {error}"
            return WatcherProblem(Reason.WATCHER_NOT_READY, message, passing=True)
        tail = parse_tail(log)
        now = self._clock()
        last = self._reports[key] = updated_report(self._reports.get(key), pod, tail, now)
        return trusted_report(model, pod, last, tail, now)


def next_look(poll_interval: timedelta) -> timedelta:
    """When to look at a watcher's log again.

    >>> next_look(timedelta(seconds=30)).total_seconds()
    10.0
    """
    return max(_SOONEST, min(_LATEST, poll_interval / 2))


def _failed(before: SourceObservation, problem: WatcherProblem) -> SourceObservation:
    return replace(before, polled=True, error_reason=problem.reason, error_message=problem.message)
