"""Observe, plan, apply, for one Model at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from slipway_operator import metrics
from slipway_operator.api.resource import (
    InvalidModel,
    InvalidModelError,
    ModelResource,
    invalid,
    parse,
)
from slipway_operator.api.status import ModelStatus, RetentionStatus
from slipway_operator.cluster.applying import execute, write_status
from slipway_operator.cluster.client import (
    MODELS,
    Client,
    ClusterError,
    NotFoundError,
    NotLeadingError,
)
from slipway_operator.cluster.events import record
from slipway_operator.cluster.observing import look_again, observe
from slipway_operator.model.actions import Action, Plan, operation
from slipway_operator.model.observed import Observed
from slipway_operator.model.retention import RetentionReport
from slipway_operator.planning.history.durations import (
    ended_preflight,
    ended_step,
    ended_transitions,
    new_pods,
    seconds_of,
)
from slipway_operator.planning.plan import plan
from slipway_operator.reconcile.analysis.samples import Samples
from slipway_operator.reconcile.analysis.scrape import Scraper
from slipway_operator.reconcile.progress import ProgressReader
from slipway_operator.reconcile.refusals import Refusals, is_about_a_route
from slipway_operator.reconcile.retention.runner import RetentionRunner
from slipway_operator.reconcile.retention.shared_sources import SharedSources
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.reconcile.sources.model_sources import ModelSources
from slipway_operator.reconcile.sources.poll_limits import PollLimits, store_of
from slipway_operator.rendering.settings import RenderSettings

RESYNC: Final = timedelta(minutes=5)
"""Every Model is looked at again after so long although nothing was seen to happen: a watch may
have missed something."""

_FETCHES: Final = 8
"""Models that are read for a poll at once."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Polled:
    """The outcome of a poll.

    Attributes:
        news: Whether the observation differs from the one before.
        again: Delay until the next poll.
        retains: Whether a pass of retention is to follow.
    """

    news: bool
    again: timedelta
    retains: bool


class Reconciler:
    """Does what the schedules ask for: reconcile, poll, or run retention for one Model."""

    def __init__(
        self,
        client: Client,
        sources: ModelSources,
        settings: RenderSettings,
        instance: str,
        clock: Callable[[], datetime],
        namespaces: tuple[str, ...] = (),
    ) -> None:
        """Work on the Models of these namespaces; of all when there are none."""
        self._client = client
        self._sources = sources
        self._settings = settings
        self._instance = instance
        self._clock = clock
        self._progress = ProgressReader(client, clock)
        self._poll_limits = PollLimits()
        self._fetches = asyncio.Semaphore(_FETCHES)
        shared_sources = SharedSources(client, namespaces)
        self._retention = RetentionRunner(
            client, sources, shared_sources, self._fetch, self._report, instance, clock
        )
        self._refusals = Refusals(clock)
        self._samples = Samples(Scraper().read, clock)
        self._locks: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One plan of a Model at a time: its own schedule's, or one that retention asks for."""

    async def reconcile(self, key: Key) -> timedelta | None:
        """Bring a Model one step on.

        Returns:
            When to look again; None when the Model is gone.
        """
        async with self._locks[key]:
            failed = metrics.RECONCILES.labels("error").count_exceptions()
            with metrics.RECONCILE_SECONDS.time(), failed:
                model = await self._fetch(key)
                if model is None:
                    return None
                planned = await self._step(key, model)
        metrics.RECONCILES.labels("ok").inc()
        if planned.actions:
            # What was done shows itself through the watches; this is for when it does not.
            return timedelta(seconds=2)
        return min(planned.requeue or RESYNC, RESYNC)

    async def poll(self, key: Key) -> Polled | None:
        """Poll a Model's source; None when the Model is gone."""
        async with self._fetches:
            model = await self._fetch(key)
        if model is None:
            return None
        store = store_of(model.spec.source)
        with metrics.POLL_SECONDS.time():
            news, again = await self._poll_limits.run(store, lambda: self._sources.poll(key, model))
        failed = bool(self._sources.observation(key, model.spec.source).error_reason)
        metrics.POLLS.labels("error" if failed else "ok").inc()
        retains = model.spec.retention is not None or model.status.retention is not None
        return Polled(news, again, retains)

    async def retain(self, key: Key) -> timedelta | None:
        """A pass of retention; returns when the source should be polled for the next one."""
        return await self._retention.run(key)

    def asks_for_samples(self, key: Key) -> bool:
        """Whether the analysis of a canary needs what servers have counted."""
        return self._samples.asks(key.uid)

    async def sample(self, key: Key) -> bool:
        """Read it, if it is still asked for; the next reconcile takes it up."""
        return await self._samples.read(key.uid)

    def forget(self, key: Key) -> None:
        """The Model is gone."""
        self._retention.forget(key)
        self._samples.forget(key.uid)
        if (lock := self._locks.get(key)) and not lock.locked():
            del self._locks[key]

    async def _fetch(self, key: Key) -> ModelResource | None:
        """The Model as it is now; None when it is gone, even if another one has its name.

        One that is being deleted needs nothing from us.
        """
        try:
            body = await self._client.get(MODELS, key.namespace, key.name)
        except NotFoundError:
            return None
        if body["metadata"]["uid"] != key.uid or "deletionTimestamp" in body["metadata"]:
            return None
        try:
            return parse(body)
        except InvalidModelError as error:
            _log.warning("invalid Model", namespace=key.namespace, model=key.name, error=str(error))
            refused = invalid(body, str(error))
            await self._write_status(refused, plan(refused, self._settings, self._clock()))
            return None

    async def _report(self, key: Key, retention: RetentionStatus | None) -> None:
        """Write what a pass of retention has to say, by a plan that takes it up.

        Raises:
            ClusterError: It may not have been written: then nothing may be deleted from the source.
        """
        async with self._locks[key]:
            model = await self._fetch(key)
            if model is None:
                raise NotFoundError(f"Model {key.namespace}/{key.name} is gone")
            await self._step(key, model, RetentionReport(retention))

    async def _step(
        self, key: Key, model: ModelResource, retention: RetentionReport | None = None
    ) -> Plan:
        source = self._sources.observation(key, model.spec.source)
        observed = replace(await observe(self._client, model, source), retention=retention)
        observed = self._refusals.add(await self._progress.add(observed))
        observed = self._samples.add(observed)
        now = self._clock()
        planned = self._plan(observed, now)
        # Each round adds a name of which nothing is created any more, and a plan has so many of them.
        while (looked := await look_again(self._client, observed, planned.actions)) is not observed:
            observed, planned = looked, self._plan(looked, now)
        _log.debug(
            "planned", namespace=model.namespace, model=model.name, actions=len(planned.actions)
        )
        await self._apply(observed, planned, now)
        return planned

    def _plan(self, observed: Observed, now: datetime) -> Plan:
        try:
            return plan(observed, self._settings, now)
        except Exception:
            # Counts that no plan can be made with must not be in the way of every plan after it.
            self._samples.taken(observed, told=False)
            raise

    async def _apply(self, observed: Observed, planned: Plan, now: datetime) -> None:
        """Write.

        The status goes first: it remembers which version has failed, and without that memory a
        crash after its pods were removed would have it tried once more.
        """
        if await self._write_status(observed.model, planned):
            _measure(observed, planned, now)
        # The status has it now: kept until all actions have succeeded, it would count once more each time.
        self._samples.taken(observed)
        failed: ClusterError | None = None
        for action in planned.actions:
            _log.debug("executing action", model=observed.model.name, action=operation(action))
            try:
                if not await self._execute(observed, action):
                    continue
            except NotLeadingError:
                raise
            except ClusterError as error:
                # What serves, and the way back, must not wait for what a gateway is told.
                if not is_about_a_route(action):
                    raise
                failed = failed or error
                continue
            metrics.WRITES.labels(operation(action)).inc()
        await record(self._client, observed.model, planned.events, self._instance, now)
        metrics.WRITES.labels("event").inc(len(planned.events))
        if failed is not None:
            raise failed

    async def _write_status(self, model: ModelResource | InvalidModel, planned: Plan) -> bool:
        """Write the status if it differs; nothing else writes one."""
        before, after = model.status.as_manifest(), planned.status.as_manifest()
        if before == after:
            return False
        if before["retention"] == after["retention"]:
            # It remembers what is being deleted from the source: a plan that has nothing new to say
            # of it does not write what it read a moment ago over what stands there now.
            del after["retention"]
        await write_status(self._client, model, after)
        metrics.WRITES.labels("status").inc()
        _log_change(model, planned.status)
        return True

    async def _execute(self, observed: Observed, action: Action) -> bool:
        """Execute an action; False when it was refused in a way that the next plan takes up."""
        try:
            await execute(self._client, observed, action)
        except ClusterError as error:
            if not self._refusals.take(observed, action, error):
                raise
            return False
        self._refusals.succeeded(observed, action)
        return True


def _measure(observed: Observed, planned: Plan, now: datetime) -> None:
    """Count what has ended, once the status that says so is written."""
    before, after = observed.model.status, planned.status
    for entry in ended_transitions(before, after):
        outcome = entry.outcome.value if entry.outcome else ""
        metrics.TRANSITION_SECONDS.labels(outcome).observe(seconds_of(entry))
        metrics.OUTAGE_SECONDS.inc(entry.outage_seconds)
    if ended := ended_step(before, after, now):
        weight, seconds = ended
        metrics.WEIGHT_SECONDS.labels(weight).observe(seconds)
    if preflight := ended_preflight(before, after):
        metrics.PREFLIGHTS.labels(preflight).inc()
    for pod in new_pods(observed, before, after):
        metrics.SYNC_SECONDS.observe(pod.sync)
        metrics.LOAD_SECONDS.observe(pod.load)


def _log_change(model: ModelResource | InvalidModel, after: ModelStatus) -> None:
    if _logged_part(model.status) != _logged_part(after):
        _log.info(
            "model status changed",
            namespace=model.namespace,
            model=model.name,
            serving=after.serving,
            target=after.target,
            phase=after.phase,
            ready=after.ready,
            message=after.message,
        )


def _logged_part(status: ModelStatus) -> tuple[str, str, str]:
    """The part of a status whose change is logged; download progress is in the status and the pod's own log."""
    syncing = status.phase.startswith("Syncing")
    return (
        ("Syncing", status.serving, "")
        if syncing
        else (status.phase, status.serving, status.message)
    )
