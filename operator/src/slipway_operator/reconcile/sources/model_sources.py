"""The sources of all Models: polls them, keeps the last observation of each, opens their stores."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.source import Source
from slipway_operator.discovery.poll_state import PollState
from slipway_operator.discovery.poller import Poll, failed_poll, interval, poll, requirements_of
from slipway_operator.model.source import SourceObservation
from slipway_operator.notifications.messages import folders_above
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.reconcile.sources.access import Access, AccessResolver
from slipway_operator.reconcile.sources.clients import Clients
from slipway_operator.reconcile.sources.errors import CredentialsError
from slipway_operator.reconcile.sources.volume_watchers import VolumeWatchers, next_look
from slipway_operator.rendering.pvc import mounted_source
from slipway_sync.exports import Requirements
from slipway_sync.stores import SourceError, Store

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _State:
    source: Source
    observation: SourceObservation
    poll_state: PollState


class ModelSources:
    """Polls sources with the access that each Model has, and keeps what the last poll found."""

    def __init__(
        self,
        access: AccessResolver,
        watchers: VolumeWatchers,
        clock: Callable[[], datetime],
        randomness: Callable[[], float],
    ) -> None:
        self._access = access
        self._watchers = watchers
        self._clock = clock
        self._randomness = randomness
        self._clients = Clients()
        self._states: dict[Key, _State] = {}

    def observation(self, key: Key, source: Source) -> SourceObservation:
        """The last observation of this very source; an empty one when it was not polled yet."""
        state = self._states.get(key)
        if state is None or state.source != source:
            return SourceObservation()
        return state.observation

    def polled(self, key: Key) -> bool:
        """Whether a poll of the Model has ended since the start."""
        return key in self._states

    def owners_of(self, uris: Iterable[str]) -> set[Key]:
        """Models whose source holds one of these objects; Models never polled are due anyway."""
        owners: dict[str, set[Key]] = {}
        for key, state in self._states.items():
            owners.setdefault(state.source.uri.rstrip("/"), set()).add(key)
        return {
            key
            for uri in set(uris)
            for folder in folders_above(uri)
            for key in owners.get(folder, ())
        }

    def forget(self, key: Key) -> None:
        """The Model is gone."""
        self._states.pop(key, None)
        self._watchers.forget(key)

    async def poll(self, key: Key, model: ModelResource) -> tuple[bool, timedelta]:
        """Poll a Model's source.

        Returns:
            Whether the observation has changed, and when to poll next.
        """
        source = model.spec.source
        state = self._states.get(key)
        if state is None or state.source != source:
            state = _State(source, SourceObservation(), PollState())
        outcome = await self._poll(model, state)
        self._states[key] = _State(source, outcome.observation, outcome.state)
        return outcome.observation != state.observation, outcome.again

    async def store(self, model: ModelResource) -> Store:
        """The Model's store, with the Model's own credentials.

        Raises:
            SourceError: The source cannot be as it is written.
            CredentialsError: Its credentials cannot be had.
        """
        access = await self._access.resolve(model)
        return self._clients.open(model.spec.source.uri, access.options)

    async def requirements(self, model: ModelResource) -> Requirements:
        """What the Model asks of its exports now.

        Raises:
            SourceError: The source cannot be as it is written.
            CredentialsError: Its public keys cannot be had.
        """
        return requirements_of(model.spec, (await self._access.resolve(model)).public_keys)

    async def _poll(self, model: ModelResource, state: _State) -> Poll:
        try:
            access = await self._access.resolve(model)
            if mounted_source(model):
                observation = await self._watchers.observe(model, state.observation)
                again = next_look(parse_duration(state.source.poll_interval))
                return Poll(observation, state.poll_state, again)
            try:
                return await self._poll_with(access, model, state)
            except SourceError as error:
                if error.reason != "AccessDenied":
                    raise
                renewed = await self._access.renewed(model, access)
                if renewed is None:
                    raise
            return await self._poll_with(renewed, model, state)
        except (SourceError, CredentialsError) as error:
            again = interval(model.spec, self._randomness())
            if error.reason != state.observation.error_reason:
                _log.warning(
                    "source cannot be read",
                    namespace=model.namespace,
                    model=model.name,
                    reason=error.reason,
                    error=str(error),
                )
            return failed_poll(state.observation, state.poll_state, error.reason, str(error), again)

    async def _poll_with(self, access: Access, model: ModelResource, state: _State) -> Poll:
        store = self._clients.open(state.source.uri, access.options)
        outcome = await poll(
            store,
            model,
            state.poll_state,
            self._clock(),
            self._randomness(),
            access.public_keys,
        )
        return replace(outcome, observation=replace(outcome.observation, identity=access.identity))
