"""Runs a pass of retention: list, decide, write the status, delete. It never holds up what serves."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from slipway_operator import metrics
from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.status import DoomedVersion, RetentionStatus
from slipway_operator.cluster.client import Client
from slipway_operator.cluster.events import record
from slipway_operator.cluster.observing import observe
from slipway_operator.discovery.old_exports import (
    ExportChangedError,
    ExportDeletion,
    list_old_exports,
)
from slipway_operator.discovery.poll_state import PollState
from slipway_operator.model.actions import KubernetesEvent
from slipway_operator.model.retention import Survey
from slipway_operator.model.source import Readiness, SourceObservation
from slipway_operator.planning.retention.decision import (
    after,
    concerns,
    decide,
    key_of,
    protected,
    quiet,
    rests,
)
from slipway_operator.reconcile.retention.shared_sources import SharedSources
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.reconcile.sources.errors import CredentialsError
from slipway_operator.reconcile.sources.model_sources import ModelSources
from slipway_sync.stores import ErasableStore, SourceError

FRESH: Final = timedelta(minutes=5)
"""How long a listing of old exports that led to nothing is reused while the same versions are there: a
source that is polled every second must not be listed whole every second."""

Fetch = Callable[[Key], Awaitable[ModelResource | None]]
Report = Callable[[Key, RetentionStatus | None], Awaitable[None]]
"""Has retention's part of a Model's status written."""
_Listed = tuple[tuple[int, str, Readiness], ...]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Known:
    listed: _Listed
    poll_state: PollState
    at: datetime


class RetentionRunner:
    """Runs passes of retention, one Model at a time."""

    def __init__(
        self,
        client: Client,
        sources: ModelSources,
        shared_sources: SharedSources,
        fetch: Fetch,
        report: Report,
        instance: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._sources = sources
        self._shared_sources = shared_sources
        self._fetch = fetch
        self._report = report
        self._instance = instance
        self._clock = clock
        self._known: dict[Key, _Known] = {}

    def forget(self, key: Key) -> None:
        """The Model is gone."""
        self._known.pop(key, None)

    async def run(self, key: Key) -> timedelta | None:
        """One pass, after a poll.

        Returns:
            When time alone could change what it decides: the source is to be polled then.
        """
        model = await self._fetch(key)
        if model is None:
            return None
        source = self._sources.observation(key, model.spec.source)
        if not concerns(model, source):
            if source.polled and not source.error_reason:
                await self._write(model, quiet(model))
            return None
        now = self._clock()
        listed = tuple((v.number, v.directory, v.readiness) for v in source.versions)
        known = self._known.get(key)
        if known and known.listed == listed and now - known.at < FRESH and not source.error_reason:
            rest = rests(model, now)
            if rest is not None:
                return None if rest == timedelta.max else rest
        return await self._pass(key, model, source, listed, now)

    async def _pass(
        self,
        key: Key,
        model: ModelResource,
        source: SourceObservation,
        listed: _Listed,
        now: datetime,
    ) -> timedelta | None:
        looked = Survey((), frozenset(version.number for version in source.versions))
        if source.polled and not source.error_reason:
            try:
                store = await self._sources.store(model)
                poll_state = self._known[key].poll_state if key in self._known else PollState()
                requirements = await self._sources.requirements(model)
                looked, poll_state = await list_old_exports(
                    store, model, source, poll_state, now, requirements
                )
            except (SourceError, CredentialsError) as error:
                # The next poll writes it to the status, and stops what was planned.
                _log.warning("listing old exports failed", model=model.name, error=str(error))
                return None
            self._known[key] = _Known(listed, poll_state, now)
        guard = protected(await observe(self._client, model, source))
        decision = decide(model, source, looked, guard, now)
        if decision.status is not None and decision.status.versions:
            others = await self._shared_sources.versions_in_use(model)
            guard = replace(guard, versions={*guard.versions, *others})
            decision = decide(model, source, looked, guard, now)
        await self._write(model, decision.status)
        for event in decision.events:
            await self._record(model, event)
        status = decision.status
        for doomed in decision.delete:
            if status is not None:
                status = await self._delete(key, doomed, status)
        return decision.again

    async def _delete(
        self, key: Key, doomed: DoomedVersion, status: RetentionStatus
    ) -> RetentionStatus | None:
        """Delete one export, if it still may be; None when the pass must end."""
        model = await self._fetch(key)
        if model is None:
            return None
        if key_of(model.spec) != status.key or model.spec.paused:
            return None
        source = self._sources.observation(key, model.spec.source)
        guard = protected(await observe(self._client, model, source))
        if source.error_reason or not guard.allows(doomed.version):
            return None
        if doomed.version in await self._shared_sources.versions_in_use(model, fresh=True):
            return None
        gone, failure = await self._erased(model, doomed)
        changed, events = after(status, doomed if gone else None, failure, self._clock())
        if gone and not failure:
            metrics.EXPORTS_DELETED.inc()
            _log.info(
                "export deleted",
                namespace=key.namespace,
                model=key.name,
                version=doomed.version,
                objects=doomed.objects,
                bytes=doomed.bytes,
            )
        await self._write(model, changed)
        for event in events:
            await self._record(model, event)
        self._known.pop(key, None)
        return changed if failure is None else None

    async def _erased(
        self, model: ModelResource, doomed: DoomedVersion
    ) -> tuple[bool, tuple[Reason, str] | None]:
        """Whether an export is gone, or why not."""
        try:
            store = await self._sources.store(model)
            if not isinstance(store, ErasableStore):
                return False, (Reason.RETENTION_FAILED, "nothing can be deleted from this source")
            await ExportDeletion(store, doomed).run()
        except ExportChangedError as error:
            return False, (Reason.LISTING_DOUBTFUL, str(error))
        except CredentialsError as error:
            return False, (Reason.RETENTION_FAILED, f"version {doomed.version}: {error}")
        except SourceError as error:
            denied = error.reason == "AccessDenied"
            reason = Reason.RETENTION_DENIED if denied else Reason.RETENTION_FAILED
            return False, (reason, f"version {doomed.version} was not deleted: {error}")
        return True, None

    async def _write(self, model: ModelResource, status: RetentionStatus | None) -> None:
        """Have retention's part of the status written, unless it is there already."""
        if model.status.retention != status:
            await self._report(Key.of(model), status)

    async def _record(self, model: ModelResource, event: KubernetesEvent) -> None:
        await record(self._client, model, [event], self._instance, self._clock())
        metrics.WRITES.labels("event").inc()
