"""How far syncs are, from the agent's log lines; read at most every few seconds for each pod."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from slipway_operator.cluster.client import Client, ClusterError
from slipway_operator.model.observed import ContainerState, Observed, Pod, SyncProgress
from slipway_operator.planning.status.columns import PROGRESS_INTERVAL


@dataclass(frozen=True, slots=True)
class Line:
    """A progress line.

    Attributes:
        time: Timestamp of the line, as text; two reads with the same one have read the same line.
    """

    time: str
    progress: SyncProgress


def parse(log: str) -> Line | None:
    """The last progress line in a log.

    >>> parse('{"event": "progress", "bytes": 1, "totalBytes": 4}').progress.total_bytes
    4
    """
    for text in reversed(log.splitlines()):
        try:
            entry = json.loads(text)
            if entry["event"] == "progress":
                numbers = SyncProgress(
                    bytes=int(entry["bytes"]),
                    total_bytes=int(entry["totalBytes"]),
                    files=int(entry.get("files", 0)),
                    total_files=int(entry.get("totalFiles", 0)),
                    rate=int(entry.get("bytesPerSecond", 0)),
                )
                return Line(str(entry.get("time", "")), numbers)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
    return None


def since(before: Line | None, now: Line | None) -> Line | None:
    """The newer of two lines; when both are the same line, its rate is 0: nothing moves."""
    if now is None or before is None or not now.time or now.time != before.time:
        return now
    return replace(now, progress=replace(now.progress, rate=0))


class ProgressReader:
    """Adds progress to the pods of a snapshot."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._read: dict[str, tuple[datetime, Line | None]] = {}

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
            replace(pod, progress=self._of(pod.uid)) if pod.uid in syncing else pod
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
        _, before = self._read.get(pod.uid, (now, None))
        self._read[pod.uid] = (now, since(before, parse(log)))

    def _of(self, uid: str) -> SyncProgress | None:
        _, read = self._read[uid]
        return read.progress if read else None
