"""The cloud identities that sources are read with: a Model's ServiceAccount, or the operator's ambient one."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import ModelResource
from slipway_operator.cluster.client import (
    SERVICE_ACCOUNTS,
    Client,
    ClusterError,
    ForbiddenError,
    NotFoundError,
)
from slipway_operator.model.source import CloudIdentity
from slipway_operator.reconcile.sources.errors import CredentialsError, Installation
from slipway_operator.reconcile.sources.referenced_objects import ReferencedObjects
from slipway_sync.stores import SourceError, StoreOptions
from slipway_sync.stores.credentials import Identity
from slipway_sync.stores.identity import (
    AnnotationError,
    ambient,
    audience_to_ask,
    federated,
    federation,
)

_TOKEN_SECONDS: Final = 600
"""The shortest that the API server grants; it is exchanged at once."""
_ISSUER_PROBE: Final = "slipway.dev"
"""Audience of a token that is made only to read its issuer; no cloud accepts it."""
_UNUSED: Final = 3600.0
"""Seconds after which an identity that no poll has used is dropped."""


@dataclass(slots=True)
class _Held:
    identity: Identity
    used: float


class Identities:
    """Identities of all Models: Models that share a ServiceAccount and a source's cloud share one."""

    def __init__(
        self,
        client: Client,
        objects: ReferencedObjects,
        installation: Installation,
        environment: Mapping[str, str] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold nothing yet.

        Args:
            client: Makes TokenRequests.
            objects: Reads ServiceAccounts.
            installation: Names the roles in error messages.
            environment: The operator's environment variables, where Models may use its ambient
                identity; None where they may not.
            clock: Seconds that never go back.
        """
        self._client = client
        self._objects = objects
        self._installation = installation
        self._environment = environment
        self._clock = clock
        self._issuer = ""
        self._held: dict[object, _Held] = {}

    async def of_service_account(
        self, model: ModelResource, options: StoreOptions, *, fresh: bool = False
    ) -> tuple[Identity, CloudIdentity]:
        """The identity of a Model's ServiceAccount, and what its pods need to have the same.

        Raises:
            CredentialsError: The ServiceAccount is missing, has no annotation for the cloud, or may not be used.
            SourceError: The source cannot be reached that way.
        """
        uri, name = model.spec.source.uri, model.spec.serving.service_account
        found = await self._objects.get(
            SERVICE_ACCOUNTS,
            model.namespace,
            name,
            "create it, or name another one in serving.serviceAccount",
            fresh=fresh,
        )
        annotations = found["metadata"].get("annotations") or {}
        scheme = uri.partition("://")[0]
        issuer = ""
        if audience_to_ask(scheme, annotations):
            issuer = await self._issuer_of(model.namespace, name)
        try:
            known = federation(
                scheme, annotations, endpoint=model.spec.source.endpoint, issuer=issuer
            )
        except AnnotationError as error:
            raise CredentialsError(
                Reason.CREDENTIALS_MISSING, f"ServiceAccount {model.namespace}/{name} {error}"
            ) from error

        async def token() -> str:
            return await self._token(model.namespace, name, known.audience)

        def make() -> Identity:
            return federated(uri, dict(known.settings), token, options)

        key = (found["metadata"]["uid"], scheme, known, _connection(options))
        return self._shared(key, make), CloudIdentity(name, known.audience, known.settings)

    def of_ambient(self, model: ModelResource, options: StoreOptions) -> Identity:
        """The operator's own ambient identity, where Models may use it.

        Raises:
            CredentialsError: They may not.
            SourceError: There is none for this source.
        """
        environment = self._environment
        if environment is None:
            raise CredentialsError(
                Reason.CREDENTIALS_FORBIDDEN,
                "source.identity Ambient is not allowed in this installation; the cluster's "
                "administrator can allow it with the chart's value sources.allowAmbientIdentity",
            )
        uri = model.spec.source.uri
        scheme = uri.partition("://")[0]
        return self._shared(
            (scheme, _connection(options)), lambda: ambient(uri, environment, options)
        )

    def _shared(self, key: object, make: Callable[[], Identity]) -> Identity:
        now = self._clock()
        held = self._held.get(key)
        if held is None:
            self._held = {k: h for k, h in self._held.items() if now - h.used < _UNUSED}
            held = self._held[key] = _Held(make(), now)
        held.used = now
        return held.identity

    async def _token(self, namespace: str, name: str, audience: str) -> str:
        """A token of a ServiceAccount, for an audience.

        Raises:
            CredentialsError: The operator may not ask for it.
            SourceError: The API server does not answer.
        """
        what = f"ServiceAccount {namespace}/{name}"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": _TOKEN_SECONDS},
        }
        path = SERVICE_ACCOUNTS.path(namespace, name, "token")
        try:
            granted = await self._client.request("POST", path, body=body)
        except NotFoundError as error:
            raise CredentialsError(
                Reason.CREDENTIALS_MISSING, f"{what} no longer exists"
            ) from error
        except ForbiddenError as error:
            here = self._installation
            raise CredentialsError(
                Reason.CREDENTIALS_FORBIDDEN,
                f"the operator may not request tokens for {what}; allow it with: "
                f"{here.allowing(here.identities_role, namespace)}",
            ) from error
        except ClusterError as error:
            raise SourceError("Unavailable", f"no token for {what}: {error}") from error
        return str(granted["status"]["token"])

    async def _issuer_of(self, namespace: str, name: str) -> str:
        """Who issues the cluster's tokens."""
        if not self._issuer:
            self._issuer = issuer(await self._token(namespace, name, _ISSUER_PROBE))
        return self._issuer


def issuer(token: str) -> str:
    """The issuer that a token names; it came from the API server and is believed."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 (a JWT)
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["iss"])
    except (ValueError, KeyError, TypeError):
        return ""


def _connection(options: StoreOptions) -> object:
    """The options that a token exchange depends on."""
    return (
        options.endpoint,
        options.region,
        options.ca_bundle,
        options.proxy,
        tuple(sorted(options.credentials.items())),
    )
