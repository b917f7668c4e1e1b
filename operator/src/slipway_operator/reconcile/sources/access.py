"""How a Model's source is reached: its credentials, its certificates, its proxy."""

import base64
import binascii
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import ModelResource
from slipway_operator.cluster.client import SECRETS
from slipway_operator.model.source import CloudIdentity
from slipway_operator.reconcile.sources.errors import CredentialsError
from slipway_operator.reconcile.sources.identities import Identities
from slipway_operator.reconcile.sources.referenced_objects import (
    ReferencedObjects,
    describe_reference,
)
from slipway_operator.reconcile.sources.secret_hosts import check_hosts
from slipway_sync.exports import PublicKeyError, read_public_keys
from slipway_sync.stores import (
    StoreOptions,
    credential_names,
    missing_credentials,
)


@dataclass(frozen=True, slots=True)
class Access:
    """How one source is reached now.

    Attributes:
        options: What `open_store` takes.
        identity: What the pods need to have the same identity; None unless it is a ServiceAccount's.
        public_keys: Ed25519 keys that exports may be signed with; empty when they need no signature.
    """

    options: StoreOptions
    identity: CloudIdentity | None = None
    public_keys: tuple[bytes, ...] = ()


class AccessResolver:
    """Finds out how the source of each Model is reached."""

    def __init__(
        self, objects: ReferencedObjects, identities: Identities, installation: StoreOptions
    ) -> None:
        """Take what the installation decides for all sources: allowed addresses and the proxy."""
        self._objects = objects
        self._identities = identities
        self._installation = installation

    async def resolve(self, model: ModelResource, *, fresh: bool = False) -> Access:
        """How a Model's source is reached.

        Args:
            model: Its spec.source names the objects to read.
            fresh: Read every object again, whatever is cached.

        Raises:
            CredentialsError: An object that it needs is missing, wrong or may not be read.
            SourceError: The cloud grants it no credentials.
        """
        source = model.spec.source
        keys = await self._public_keys(model)
        options = replace(
            self._installation,
            endpoint=source.endpoint,
            region=source.region,
            addressing=source.addressing,
            credentials=await self._credentials(model, fresh=fresh),
            ca_bundle=await self._ca_bundle(model),
            proxy=source.proxy or self._installation.proxy,
        )
        known = None
        if source.identity == "ServiceAccount":
            identity, known = await self._identities.of_service_account(model, options, fresh=fresh)
        elif source.identity == "Ambient":
            identity = self._identities.of_ambient(model, options)
        else:
            return Access(options, public_keys=keys)
        # Now, so that a refusal is reported as one of the identity, not of the store.
        await identity.granted()
        return Access(replace(options, identity=identity), known, keys)

    async def renewed(self, model: ModelResource, refused: Access) -> Access | None:
        """How the source is reached when its credentials were refused; None when there are no others.

        Raises:
            CredentialsError: An object that it needs is missing, wrong or may not be read.
            SourceError: The cloud grants it no credentials.
        """
        identity = refused.options.identity
        if identity is not None:
            return await self.resolve(model, fresh=True) if identity.refuse() else None
        if not model.spec.source.credentials_secret:
            return None
        access = await self.resolve(model, fresh=True)
        return None if access.options.credentials == refused.options.credentials else access

    async def _credentials(self, model: ModelResource, *, fresh: bool) -> Mapping[str, str]:
        """The Secret's entries, or nothing when the source needs none."""
        name = model.spec.source.credentials_secret
        if not name:
            return {}
        uri = model.spec.source.uri
        missing = f"create it with {missing_credentials(uri, ())}"
        secret = await self._objects.get(SECRETS, model.namespace, name, missing, fresh=fresh)
        check_hosts(secret, f"{model.namespace}/{name}", model.spec.source)
        return decode(secret.get("data") or {}, f"{model.namespace}/{name}", uri)

    async def _public_keys(self, model: ModelResource) -> tuple[bytes, ...]:
        signature = model.spec.source.signature
        if signature is None:
            return ()
        reference = signature.public_key
        field = "source.signature.publicKey"
        found = await self._objects.entry(model.namespace, reference, field)
        try:
            return read_public_keys(found)
        except PublicKeyError as error:
            raise CredentialsError(
                Reason.CREDENTIALS_MISSING,
                f"{describe_reference(model.namespace, reference)}: the entry {reference.key} is not valid as "
                f"{field}: {error}",
            ) from error

    async def _ca_bundle(self, model: ModelResource) -> bytes | None:
        reference = model.spec.source.ca_bundle
        if reference is None:
            return None
        found = await self._objects.entry(model.namespace, reference, "source.caBundle")
        if not _holds_certificates(found):
            raise CredentialsError(
                Reason.CREDENTIALS_MISSING,
                f"{describe_reference(model.namespace, reference)}: the entry {reference.key} contains no PEM "
                "certificates, which source.caBundle needs",
            )
        return found


def decode(data: Mapping[str, str], secret: str, uri: str) -> dict[str, str]:
    """The entries of a Secret.

    Args:
        data: Values in base64, as the API server returns them.
        secret: `NAMESPACE/NAME`, for the message.
        uri: URI of the source; its scheme says which keys are needed.

    Raises:
        CredentialsError: A required key is missing, or a value is no text.
    """
    missing = missing_credentials(uri, {key for key, value in data.items() if value})
    if missing:
        raise CredentialsError(
            Reason.CREDENTIALS_MISSING, f"Secret {secret} is incomplete: it needs {missing}"
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
            Reason.CREDENTIALS_MISSING, f"Secret {secret} contains a value that is not text"
        ) from error


@lru_cache(maxsize=64)
def _holds_certificates(pem: bytes) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return False
    return True
