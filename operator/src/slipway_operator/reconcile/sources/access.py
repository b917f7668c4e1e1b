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
from slipway_operator.reconcile.sources.referenced_objects import Lookup, called
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
        options: For the store.
        identity: What the pods need to have the same identity; None when that is not a
            ServiceAccount's.
        public_keys: Ed25519 keys that exports may be signed with; empty when they need no signature.
    """

    options: StoreOptions
    identity: CloudIdentity | None = None
    public_keys: tuple[bytes, ...] = ()


class Accesses:
    """Finds out how sources are reached."""

    def __init__(self, lookup: Lookup, identities: Identities, installation: StoreOptions) -> None:
        """Use what the installation decides for all sources: addresses and proxy."""
        self._lookup = lookup
        self._identities = identities
        self._installation = installation

    async def of(self, model: ModelResource, *, fresh: bool = False) -> Access:
        """How a Model's source is reached.

        Args:
            model: Whose source it is.
            fresh: Believe nothing that was read a moment ago.

        Raises:
            CredentialsError: What it needs cannot be had.
            SourceError: Nobody grants it credentials.
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
            identity, known = await self._identities.of_account(model, options, fresh=fresh)
        elif source.identity == "Ambient":
            identity = self._identities.of_surroundings(model, options)
        else:
            return Access(options, public_keys=keys)
        # Now, so that what goes wrong is told in its own words.
        await identity.granted()
        return Access(replace(options, identity=identity), known, keys)

    async def renewed(self, model: ModelResource, refused: Access) -> Access | None:
        """How the source is reached when its credentials were refused; None when there are no others.

        Raises:
            CredentialsError: What it needs cannot be had any more.
            SourceError: Nobody grants it credentials.
        """
        identity = refused.options.identity
        if identity is not None:
            return await self.of(model, fresh=True) if identity.refuse() else None
        if not model.spec.source.credentials_secret:
            return None
        access = await self.of(model, fresh=True)
        return None if access.options.credentials == refused.options.credentials else access

    async def _credentials(self, model: ModelResource, *, fresh: bool) -> Mapping[str, str]:
        """The Secret's entries, or nothing when the source needs none."""
        name = model.spec.source.credentials_secret
        if not name:
            return {}
        uri = model.spec.source.uri
        missing = f"create it with {missing_credentials(uri, ())}"
        secret = await self._lookup.get(SECRETS, model.namespace, name, missing, fresh=fresh)
        return decode(secret.get("data") or {}, f"{model.namespace}/{name}", uri)

    async def _public_keys(self, model: ModelResource) -> tuple[bytes, ...]:
        signature = model.spec.source.signature
        if signature is None:
            return ()
        reference = signature.public_key
        field = "source.signature.publicKey"
        found = await self._lookup.entry(model.namespace, reference, field)
        try:
            return read_public_keys(found)
        except PublicKeyError as error:
            raise CredentialsError(
                Reason.CREDENTIALS_MISSING,
                f"{called(model.namespace, reference)}: the entry {reference.key} is not valid as "
                f"{field}: {error}",
            ) from error

    async def _ca_bundle(self, model: ModelResource) -> bytes | None:
        reference = model.spec.source.ca_bundle
        if reference is None:
            return None
        found = await self._lookup.entry(model.namespace, reference, "source.caBundle")
        if not _holds_certificates(found):
            raise CredentialsError(
                Reason.CREDENTIALS_MISSING,
                f"{called(model.namespace, reference)}: the entry {reference.key} contains no PEM "
                "certificates, which source.caBundle needs",
            )
        return found


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
