"""The operator's two schedules, and the slow sweep that makes up for what a watch has missed."""

import asyncio
from datetime import timedelta
from typing import Final

from slipway_operator.cluster.client import MODELS, Client
from slipway_operator.reconcile import metrics
from slipway_operator.reconcile.reconciler import RESYNC, Reconciler
from slipway_operator.reconcile.scheduler import Key, Scheduler
from slipway_operator.reconcile.sources import Sources

_COALESCE: Final = timedelta(milliseconds=50)
"""Events come in bursts: a pod, its Deployment and its EndpointSlice change within milliseconds."""
_FIRST_POLL: Final = timedelta(seconds=15)
"""How long the first plan after a start waits for the first poll."""


class Loop:
    """Wakes, polls, reconciles."""

    def __init__(
        self, client: Client, reconciler: Reconciler, sources: Sources, namespaces: tuple[str, ...]
    ) -> None:
        self._client = client
        self._reconciler = reconciler
        self._sources = sources
        self._namespaces = namespaces or ("",)
        self._reconciles = Scheduler("reconcile", self._reconcile)
        self._polls = Scheduler("poll", self._poll)
        self._known: set[Key] = set()
        self._since: dict[Key, float] = {}

    def model_changed(self, key: Key) -> None:
        """A Model was created or edited, or its status was written."""
        if key not in self._known:
            self._known.add(key)
            self._since[key] = asyncio.get_running_loop().time()
            self._polls.wake(key)
        self._reconciles.wake(key, _COALESCE)
        metrics.MODELS.set(len(self._known))

    def spec_changed(self, key: Key) -> None:
        """What its source or policy asks for may have changed: do not wait for the next poll."""
        self._polls.wake(key)

    def child_changed(self, key: Key) -> None:
        """Something that belongs to a Model has changed."""
        if key in self._known:
            self._reconciles.wake(key, _COALESCE)

    def model_deleted(self, key: Key) -> None:
        """A Model is gone; its children follow by their owner references."""
        self._known.discard(key)
        self._since.pop(key, None)
        self._reconciles.forget(key)
        self._polls.forget(key)
        self._sources.forget(key)
        metrics.MODELS.set(len(self._known))

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reconciles.run())
            group.create_task(self._polls.run())
            group.create_task(self._sweep())

    async def _reconcile(self, key: Key) -> timedelta | None:
        """Reconcile, but after a start not before the source was asked once.

        A plan without a poll would write that nothing is known, and the next one write it back. A
        store that does not answer must not hold the pods up for long, though.
        """
        waited = asyncio.get_running_loop().time() - self._since.get(key, 0.0)
        if not self._sources.polled(key) and waited < _FIRST_POLL.total_seconds():
            return timedelta(seconds=_FIRST_POLL.total_seconds() - waited)
        return await self._reconciler.reconcile(key)

    async def _poll(self, key: Key) -> timedelta | None:
        polled = await self._reconciler.poll(key)
        if polled is None:
            return None
        news, again = polled
        if news:
            self._reconciles.wake(key)
        return again

    async def _sweep(self) -> None:
        """List the Models now and then: mark and sweep."""
        while True:
            listed: set[Key] = set()
            for namespace in self._namespaces:
                for item in await self._client.list(MODELS, namespace):
                    metadata = item["metadata"]
                    listed.add(Key(metadata["namespace"], metadata["name"]))
            for key in self._known - listed:
                self.model_deleted(key)
            for key in listed:
                self.model_changed(key)
            await asyncio.sleep(RESYNC.total_seconds())
