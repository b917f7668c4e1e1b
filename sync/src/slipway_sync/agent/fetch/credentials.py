"""Whose credentials a sync uses: a mounted Secret's, or an identity's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from slipway_sync.agent.errors import SyncError, of_source
from slipway_sync.agent.fetch.credential_refresh import RenewedStore
from slipway_sync.exports import ExitCode
from slipway_sync.stores import (
    SourceError,
    Store,
    StoreOptions,
    credential_names,
    open_store,
)
from slipway_sync.stores.credentials import Identity


class IdentityKind(StrEnum):
    """Instead of a Secret."""

    NONE = ""
    SERVICE_ACCOUNT = "ServiceAccount"
    AMBIENT = "Ambient"


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """Where the credentials come from; at most one of them.

    Attributes:
        secret: Directory with files named like AWS_ACCESS_KEY_ID, or None.
        identity: Who is to be believed.
        token: File with the ServiceAccount's token, which the kubelet replaces.
        settings: `NAME=VALUE`, what the ServiceAccount is in the cloud.
    """

    secret: Path | None = None
    identity: IdentityKind = IdentityKind.NONE
    token: Path | None = None
    settings: Sequence[str] = ()


def opened(
    source: str,
    options: StoreOptions,
    credential_source: CredentialSource,
    environment: Mapping[str, str],
) -> Store:
    """Open a source with the credentials of now, and with later ones when those are refused.

    Raises:
        SyncError: The source, the credentials or the identity cannot be.
    """
    try:
        if credential_source.identity is not IdentityKind.NONE:
            return _with_identity(source, options, credential_source, environment)
        if credential_source.secret is not None:
            return _with_secret(source, options, credential_source.secret)
        return open_store(source, options)
    except SourceError as error:
        raise of_source(error) from error


def _with_secret(source: str, options: StoreOptions, directory: Path) -> Store:
    used = read_secret(directory, source)

    def renew() -> Store | None:
        nonlocal used
        try:
            found = read_secret(directory, source)
        except SyncError:
            return None
        if found == used:
            return None
        used = found
        return open_store(source, replace(options, credentials=found))

    return RenewedStore(open_store(source, replace(options, credentials=used)), renew)


def _with_identity(
    source: str,
    options: StoreOptions,
    credential_source: CredentialSource,
    environment: Mapping[str, str],
) -> Store:
    identity = _identity(source, options, credential_source, environment)
    options = replace(options, identity=identity)

    def renew() -> Store | None:
        return open_store(source, options) if identity.refuse() else None

    return RenewedStore(open_store(source, options), renew)


def _identity(
    source: str,
    options: StoreOptions,
    credential_source: CredentialSource,
    environment: Mapping[str, str],
) -> Identity:
    # It brings an HTTP client along, a tenth of a second that most syncs need not spend.
    from slipway_sync.stores.identity import ambient, federated, token_file  # noqa: PLC0415

    if credential_source.secret is not None:
        raise SyncError(ExitCode.USAGE, "--identity and --credentials are mutually exclusive")
    if credential_source.identity is IdentityKind.AMBIENT:
        return ambient(source, environment, options)
    if credential_source.token is None:
        raise SyncError(ExitCode.USAGE, "--identity ServiceAccount needs --identity-token")
    settings = dict(text.partition("=")[::2] for text in credential_source.settings)
    return federated(source, settings, token_file(credential_source.token), options)


def read_secret(directory: Path, source: str) -> dict[str, str]:
    """Read the known names of a mounted Secret, and nothing else of it.

    Raises:
        SyncError: None is there, or one cannot be read.
    """
    found = {}
    try:
        for name in credential_names(source):
            path = directory / name
            if path.is_file():
                found[name] = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SyncError(ExitCode.USAGE, f"--credentials {directory} cannot be read") from error
    if not found:
        raise SyncError(
            ExitCode.ACCESS_DENIED,
            f"--credentials {directory} holds none of {', '.join(credential_names(source))}: "
            "check the Secret's keys",
        )
    return found
