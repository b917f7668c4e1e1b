"""The operator's four schedules, and the slow sweep that makes up for what a watch has missed."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import structlog

from slipway_operator import metrics
from slipway_operator.cluster.client import MODELS, Client, ClusterError
from slipway_operator.reconcile.reconciler import RESYNC, Reconciler
from slipway_operator.reconcile.scheduler import Key, Scheduler
from slipway_operator.reconcile.sources.model_sources import ModelSources

_COALESCE: Final = timedelta(milliseconds=50)
"""Events come in bursts: a pod, its Deployment and its EndpointSlice change within milliseconds."""
_FIRST_POLL: Final = timedelta(seconds=15)
"""How long the first plan after a start waits for the first poll, once that is due."""
SPACING: Final = timedelta(milliseconds=30)
"""Between the first polls of two Models: 1 000 of them take as long as the default interval, so that the
start asks no more of the stores than any other half minute."""
_GATHER: Final = timedelta(milliseconds=300)
"""Notifications come in bursts: each object of an export is one."""
_DISTANCE: Final = timedelta(seconds=5)
"""Between two polls of a Model that notifications ask for: an upload of many objects may take long."""
_LAG: Final = timedelta(seconds=30)
"""A watch that has not delivered a change after so long will not deliver it any more."""

_STALLED: Final = timedelta(minutes=10)
"""Longer than any poll, plan or sample takes, whatever a store or the API server does."""

_log = structlog.get_logger()


class Loop:
    """Turns events, notifications and due times into reconciles, polls, samples and passes of retention."""

    def __init__(
        self,
        client: Client,
        reconciler: Reconciler,
        sources: ModelSources,
        namespaces: tuple[str, ...],
        *,
        spacing: timedelta = SPACING,
    ) -> None:
        self._client = client
        self._reconciler = reconciler
        self._sources = sources
        self._namespaces = namespaces or ("",)
        self._reconciles = Scheduler("reconcile", self._reconcile)
        self._polls = Scheduler("poll", self._poll, concurrency=None)
        self._spacing = spacing.total_seconds()
        self._next_first = 0.0
        self._retentions = Scheduler("retain", self._retain, concurrency=2)
        self._samples = Scheduler("sample", self._sample)
        self._known: dict[tuple[str, str], Key] = {}
        """The Model that stands under each namespace and name."""
        self._since: dict[Key, float] = {}
        self._seen: dict[Key, int] = {}
        self._notified: dict[Key, float] = {}
        self.watch_alive = True
        """False once the watch of Models was found to miss changes: the process must end."""

    @property
    def alive(self) -> bool:
        """False when the process must end: its watch misses changes, or no poll, plan or sample ends any more."""
        stalled = [s for s in (self._reconciles, self._polls, self._samples) if s.stalled(_STALLED)]
        return self.watch_alive and not stalled

    def model_changed(self, key: Key, version: int) -> None:
        """Take an event of the watch: a Model was created or edited, or its status written."""
        self._model_seen(key)
        self._seen[key] = version

    def _is_known(self, key: Key) -> bool:
        return self._known.get((key.namespace, key.name)) == key

    def _model_seen(self, key: Key) -> None:
        before = self._known.get((key.namespace, key.name))
        if before != key:
            if before is not None:
                # Its deletion was missed.
                self.model_deleted(before)
            self._known[key.namespace, key.name] = key
            self._poll_first(key)
        self._reconciles.wake(key, _COALESCE)
        metrics.MODELS.set(len(self._known))

    def _poll_first(self, key: Key) -> None:
        """Give a Model its place in the row of first polls; its interval spreads the others."""
        now = asyncio.get_running_loop().time()
        due = max(now, self._next_first)
        self._next_first = due + self._spacing
        self._since[key] = due
        self._polls.wake(key, timedelta(seconds=due - now))

    def spec_changed(self, key: Key) -> None:
        """What its source or policy asks for may have changed: do not wait for the next poll."""
        # One whose spec was invalid at its first poll has not been polled, and is due for no other.
        if self._sources.polled(key) or not self._polls.waits(key):
            self._polls.wake(key)

    def notified(self, uris: Iterable[str]) -> int:
        """Take a notification that objects have changed: poll their Models now, but not again and again.

        Returns:
            How many Models that is.
        """
        named = {key for key in self._sources.owners_of(uris) if self._is_known(key)}
        now = asyncio.get_running_loop().time()
        for key in named:
            last = self._notified.get(key, float("-inf"))
            if last <= now:
                last = max(now + _GATHER.total_seconds(), last + _DISTANCE.total_seconds())
                self._notified[key] = last
            self._polls.wake(key, timedelta(seconds=last - now))
        return len(named)

    def child_changed(self, namespace: str, name: str) -> None:
        """Something that belongs to the Model of that name has changed."""
        if (key := self._known.get((namespace, name))) is not None:
            self._reconciles.wake(key, _COALESCE)

    def model_deleted(self, key: Key) -> None:
        """A Model is gone; its children follow by their owner references."""
        if self._is_known(key):
            del self._known[key.namespace, key.name]
        self._since.pop(key, None)
        self._seen.pop(key, None)
        self._notified.pop(key, None)
        self._reconciles.forget(key)
        self._polls.forget(key)
        self._retentions.forget(key)
        self._samples.forget(key)
        self._forget_kept(key)
        metrics.MODELS.set(len(self._known))

    def _forget_kept(self, key: Key) -> None:
        self._sources.forget(key)
        self._reconciler.forget(key)

    @contextmanager
    def _working_on(self, key: Key) -> Iterator[None]:
        """Work that ends after its Model has gone may have kept something again."""
        try:
            yield
        finally:
            if not self._is_known(key):
                self._forget_kept(key)

    async def run(self) -> None:
        """Work until cancelled."""
        # This replica may have watched for days before it leads: all first polls are due by now.
        self._next_first = 0.0
        for key in sorted(self._known.values()):
            self._polls.forget(key)
            self._poll_first(key)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reconciles.run())
            group.create_task(self._polls.run())
            group.create_task(self._retentions.run())
            group.create_task(self._samples.run())
            group.create_task(self._sweep())

    async def _reconcile(self, key: Key) -> timedelta | None:
        """Reconcile, but after a start not before the source was polled once.

        A plan without a poll would write that nothing is known, and the next one write it back. A
        store that does not answer must not hold the pods up for long, though.
        """
        waited = asyncio.get_running_loop().time() - self._since.get(key, 0.0)
        if not self._sources.polled(key) and waited < _FIRST_POLL.total_seconds():
            # Rounded up: less than a microsecond would be no wait at all.
            return timedelta(seconds=_FIRST_POLL.total_seconds() - waited) + _COALESCE
        with self._working_on(key):
            again = await self._reconciler.reconcile(key)
        if self._reconciler.asks_for_samples(key):
            self._samples.wake(key)
        return again

    async def _sample(self, key: Key) -> None:
        with self._working_on(key):
            news = await self._reconciler.sample(key)
        if news and self._is_known(key):
            self._reconciles.wake(key)

    async def _poll(self, key: Key) -> timedelta | None:
        with self._working_on(key):
            polled = await self._reconciler.poll(key)
        if polled is None or not self._is_known(key):
            return None
        if polled.news:
            self._reconciles.wake(key)
        if polled.retains:
            self._retentions.wake(key)
        return polled.again

    async def _retain(self, key: Key) -> None:
        """Retention decides after a poll, and asks for the next one when its notice is over."""
        with self._working_on(key):
            again = await self._reconciler.retain(key)
        if again is not None and self._is_known(key):
            self._polls.wake(key, again)

    async def _sweep(self) -> None:
        """List the Models now and then: drop those that are gone, and check that the watch still delivers."""
        while True:
            before = set(self._known.values())
            try:
                listed = await self._list()
            except ClusterError as error:
                _log.warning("listing Models failed", error=str(error))
                await asyncio.sleep(_LAG.total_seconds())
                continue
            # What the watch has told of meanwhile is newer than the list.
            for key in before - set(listed):
                self.model_deleted(key)
            for key, version in listed.items():
                if key in before and not self._is_known(key):
                    continue
                standing = self._known.get((key.namespace, key.name), key)
                if standing == key or self._seen.get(standing, 0) < version:
                    self._model_seen(key)
            await asyncio.sleep(_LAG.total_seconds())
            self.watch_alive = not self._missed(listed)
            await asyncio.sleep((RESYNC - _LAG).total_seconds())

    async def _list(self) -> dict[Key, int]:
        """Resource versions of all Models."""
        return {
            Key(metadata["namespace"], metadata["name"], metadata["uid"]): int(
                metadata["resourceVersion"]
            )
            for namespace in self._namespaces
            for item in await self._client.list(MODELS, namespace)
            for metadata in [item["metadata"]]
        }

    def _missed(self, listed: dict[Key, int]) -> bool:
        """Whether the watch has not delivered a change that was listed a while ago."""
        missed = [
            key
            for key, version in listed.items()
            if self._is_known(key) and self._seen.get(key, 0) < version
        ]
        if missed:
            _log.error("the watch of Models is stuck", models=[str(key) for key in missed[:5]])
        return bool(missed)
