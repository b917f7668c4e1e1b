"""The sources of all Models: their credentials, polls and what the last poll told."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from slipway_operator.api.conditions import Reason
from slipway_operator.api.names import MANAGED_BY
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.source import Source
from slipway_operator.cluster.client import SECRETS, Client, ForbiddenError, NotFoundError
from slipway_operator.discovery.memory import Memory
from slipway_operator.discovery.poller import Poll, failed_poll, interval, poll
from slipway_operator.model.source import SourceObservation
from slipway_operator.reconcile.scheduler import Key
from slipway_sync.stores import (
    AddressPolicy,
    SourceError,
    StoreOptions,
    credential_names,
    missing_credentials,
    open_store,
)

_log = structlog.get_logger()


class CredentialsError(Exception):
    """The credentials cannot be had; the message says what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Installation:
    """Who this operator is, for the sentences that tell a person what to run.

    Attributes:
        credentials_role: ClusterRole that lets the operator read the Secrets of a namespace that
            binds it.
    """

    namespace: str
    service_account: str
    credentials_role: str = f"{MANAGED_BY}-credentials"


@dataclass(frozen=True, slots=True)
class _State:
    source: Source
    observation: SourceObservation
    memory: Memory


class Sources:
    """Polls, and remembers what was told."""

    def __init__(
        self,
        client: Client,
        installation: Installation,
        addresses: AddressPolicy,
        clock: Callable[[], datetime],
        randomness: Callable[[], float],
    ) -> None:
        self._client = client
        self._installation = installation
        self._addresses = addresses
        self._clock = clock
        self._randomness = randomness
        self._states: dict[Key, _State] = {}

    def observation(self, key: Key, source: Source) -> SourceObservation:
        """What the last poll of this very source told."""
        state = self._states.get(key)
        if state is None or state.source != source:
            return SourceObservation()
        return state.observation

    def polled(self, key: Key) -> bool:
        """Whether a poll of the Model has ended since the start."""
        return key in self._states

    def forget(self, key: Key) -> None:
        """The Model is gone."""
        self._states.pop(key, None)

    async def poll(self, key: Key, model: ModelResource) -> tuple[bool, timedelta]:
        """Poll a Model's source.

        Returns:
            Whether it told anything new, and when to poll next.
        """
        source = model.spec.source
        state = self._states.get(key)
        if state is None or state.source != source:
            state = _State(source, SourceObservation(), Memory())
        outcome = await self._poll(model, state)
        self._states[key] = _State(source, outcome.observation, outcome.memory)
        return outcome.observation != state.observation, outcome.again

    async def _poll(self, model: ModelResource, state: _State) -> Poll:
        try:
            options = StoreOptions(
                endpoint=state.source.endpoint,
                region=state.source.region,
                addressing=state.source.addressing,
                credentials=await self._credentials(model),
                addresses=self._addresses,
            )
            store = open_store(state.source.uri, options)
            return await poll(store, model, state.memory, self._clock(), self._randomness())
        except (SourceError, CredentialsError) as error:
            again = interval(model.spec, self._randomness())
            if error.reason != state.observation.error_reason:
                _log.warning(
                    "source not readable",
                    namespace=model.namespace,
                    model=model.name,
                    reason=error.reason,
                    error=str(error),
                )
            return failed_poll(state.observation, state.memory, error.reason, str(error), again)

    async def _credentials(self, model: ModelResource) -> Mapping[str, str]:
        """The Secret's entries, or nothing when the source needs none.

        Raises:
            CredentialsError: It cannot be read, or lacks a key.
        """
        name = model.spec.source.credentials_secret
        if not name:
            return {}
        try:
            secret = await self._client.get(SECRETS, model.namespace, name)
        except NotFoundError as error:
            raise CredentialsError(
                Reason.CREDENTIALS_MISSING,
                f"Secret {model.namespace}/{name} does not exist: create it with "
                f"{missing_credentials(model.spec.source.uri, ())}",
            ) from error
        except ForbiddenError as error:
            here = self._installation
            raise CredentialsError(
                Reason.CREDENTIALS_FORBIDDEN,
                f"the operator may not read Secret {model.namespace}/{name}; allow it with: kubectl "
                f"create rolebinding {here.credentials_role} -n {model.namespace} "
                f"--clusterrole={here.credentials_role} "
                f"--serviceaccount={here.namespace}:{here.service_account}",
            ) from error
        data = secret.get("data") or {}
        return decode(data, f"{model.namespace}/{name}", model.spec.source.uri)


def decode(data: Mapping[str, str], secret: str, uri: str) -> dict[str, str]:
    """The entries of a Secret.

    Args:
        data: Base64, as the API server holds them.
        secret: Its name, for the message.
        uri: Of the source that it is for.

    Raises:
        CredentialsError: A required key is missing, or a value is no text.
    """
    missing = missing_credentials(uri, {key for key, value in data.items() if value})
    if missing:
        raise CredentialsError(
            Reason.CREDENTIALS_MISSING, f"Secret {secret} is not enough: it needs {missing}"
        )
    wanted = credential_names(uri)
    try:
        return {
            key: base64.b64decode(value).decode().strip()
            for key, value in data.items()
            if key in wanted
        }
    except (binascii.Error, UnicodeDecodeError) as error:
        raise CredentialsError(
            Reason.CREDENTIALS_MISSING, f"Secret {secret} holds a value that is no text"
        ) from error
