"""Reads Secrets, ConfigMaps and ServiceAccounts that a source refers to, each at most once in a few seconds."""

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from slipway_operator.api.conditions import Reason
from slipway_operator.api.source import CaBundle, PublicKey
from slipway_operator.cluster.client import (
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Client,
    ForbiddenError,
    NotFoundError,
    Resource,
)
from slipway_operator.reconcile.sources.errors import CredentialsError, Installation

_KEPT: Final = 5.0
"""Seconds. Models that share an object read it once; a change is seen by the next poll but one."""
_PRUNED_AT: Final = 256
_KINDS: Final = {
    SECRETS.plural: "Secret",
    CONFIG_MAPS.plural: "ConfigMap",
    SERVICE_ACCOUNTS.plural: "ServiceAccount",
}


class ReferencedObjects:
    """Reads objects by name, with a short cache. Failures are not cached."""

    def __init__(
        self,
        client: Client,
        installation: Installation,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._installation = installation
        self._clock = clock
        self._cache: dict[tuple[str, str, str], tuple[float, dict[str, Any]]] = {}

    async def get(
        self, resource: Resource, namespace: str, name: str, missing: str, *, fresh: bool = False
    ) -> dict[str, Any]:
        """One object.

        Args:
            resource: Secrets, ConfigMaps or ServiceAccounts.
            namespace: The Model's namespace; an object of another one is never read.
            name: Name in that namespace.
            missing: What to do when it does not exist; ends the error's sentence.
            fresh: Read it now, whatever is cached.

        Raises:
            CredentialsError: It does not exist, or may not be read.
        """
        key = (resource.plural, namespace, name)
        since, cached = self._cache.get(key, (0.0, {}))
        now = self._clock()
        if cached and not fresh and now - since < _KEPT:
            return cached
        self._cache.pop(key, None)
        what = f"{_KINDS[resource.plural]} {namespace}/{name}"
        try:
            found = await self._client.get(resource, namespace, name)
        except NotFoundError as error:
            raise CredentialsError(
                Reason.CREDENTIALS_MISSING, f"{what} does not exist: {missing}"
            ) from error
        except ForbiddenError as error:
            here = self._installation
            role = here.identities_role if resource is SERVICE_ACCOUNTS else here.credentials_role
            raise CredentialsError(
                Reason.CREDENTIALS_FORBIDDEN,
                f"the operator may not read {what}; allow it with: "
                f"{here.allowing(role, namespace)}",
            ) from error
        if len(self._cache) >= _PRUNED_AT:
            self._cache = {k: v for k, v in self._cache.items() if now - v[0] < _KEPT}
        self._cache[key] = (now, found)
        return found

    async def entry(self, namespace: str, reference: CaBundle | PublicKey, field: str) -> bytes:
        """The entry that a reference names.

        Args:
            namespace: The Model's namespace.
            reference: Names a ConfigMap or a Secret, and a key in it.
            field: Path of the Model's field that holds the reference, for the error's sentence.

        Raises:
            CredentialsError: It is not there.
        """
        resource, name = (
            (CONFIG_MAPS, reference.config_map)
            if reference.config_map
            else (SECRETS, reference.secret)
        )
        found = await self.get(resource, namespace, name, f"{field} names it")
        what = describe_reference(namespace, reference)
        value = _value(resource, found, reference.key, what)
        if not value:
            raise CredentialsError(
                Reason.CREDENTIALS_MISSING,
                f"{what} has no entry {reference.key}, which {field} names",
            )
        return value


def describe_reference(namespace: str, reference: CaBundle | PublicKey) -> str:
    """Kind, namespace and name of the object that a reference names, for messages."""
    if reference.config_map:
        return f"ConfigMap {namespace}/{reference.config_map}"
    return f"Secret {namespace}/{reference.secret}"


def _value(resource: Resource, found: Mapping[str, Any], key: str, what: str) -> bytes:
    if resource is CONFIG_MAPS and (text := (found.get("data") or {}).get(key)):
        return str(text).encode()
    encoded = (found.get("binaryData" if resource is CONFIG_MAPS else "data") or {}).get(key, "")
    try:
        return base64.b64decode(encoded)
    except (binascii.Error, ValueError) as error:
        raise CredentialsError(
            Reason.CREDENTIALS_MISSING, f"{what}: the entry {key} is not base64"
        ) from error
