"""How far syncs are, from the agent's log lines; read at most every few seconds for each pod."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from slipway_operator.cluster.client import Client, ClusterError
from slipway_operator.model.observed import ContainerState, Observed, Pod, SyncProgress
from slipway_operator.planning.plan import PROGRESS_INTERVAL


def parse(log: str) -> SyncProgress | None:
    """The last progress line in a log.

    >>> parse('{"event": "progress", "bytes": 1, "totalBytes": 4}')
    SyncProgress(bytes=1, total_bytes=4)
    """
    for line in reversed(log.splitlines()):
        try:
            entry = json.loads(line)
            if entry["event"] == "progress":
                return SyncProgress(int(entry["bytes"]), int(entry["totalBytes"]))
        except (ValueError, KeyError, TypeError):
            continue
    return None


class ProgressReader:
    """Adds progress to the pods of a snapshot."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._read: dict[str, tuple[datetime, SyncProgress | None]] = {}

    async def add(self, observed: Observed) -> Observed:
        """The snapshot with the progress of every pod that is syncing."""
        syncing = {
            pod.uid: pod for pod in observed.pods if pod.sync.state is ContainerState.RUNNING
        }
        now = self._clock()
        self._read = {
            uid: entry
            for uid, entry in self._read.items()
            if now - entry[0] < PROGRESS_INTERVAL * 2
        }
        stale = [pod for uid, pod in syncing.items() if self._is_stale(uid, now)]
        await asyncio.gather(*(self._one(observed, pod, now) for pod in stale))
        pods = tuple(
            replace(pod, progress=self._read[pod.uid][1]) if pod.uid in syncing else pod
            for pod in observed.pods
        )
        return replace(observed, pods=pods)

    def _is_stale(self, uid: str, now: datetime) -> bool:
        entry = self._read.get(uid)
        return entry is None or now - entry[0] >= PROGRESS_INTERVAL

    async def _one(self, observed: Observed, pod: Pod, now: datetime) -> None:
        try:
            log = await self._client.log_tail(observed.model.namespace, pod.name, "sync", 3)
        except ClusterError:
            # The container has just ended, or the kubelet is busy: the phase shows no percentage.
            log = ""
        self._read[pod.uid] = (now, parse(log))
