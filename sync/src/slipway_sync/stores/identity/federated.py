"""The identity of a ServiceAccount: its token, exchanged for what the source's cloud takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from slipway_sync.store_kinds import Cloud, kind_of
from slipway_sync.stores.base import SourceError, StoreOptions
from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.identity import aws, azure, google
from slipway_sync.stores.identity.endpoints import stranger
from slipway_sync.stores.identity.refresh import CachedIdentity
from slipway_sync.stores.identity.token_http import TokenClient

TokenSource = Callable[[], Awaitable[str]]
"""Returns the ServiceAccount's token as it is now; may raise SourceError."""

_REQUIRED = {
    Cloud.AMAZON: ("role-arn",),
    Cloud.GOOGLE: ("audience",),
    Cloud.MICROSOFT: ("client-id", "tenant-id"),
}


def federated(
    uri: str, settings: Mapping[str, str], token: TokenSource, options: StoreOptions
) -> CachedIdentity:
    """Return the identity that a ServiceAccount has in a source's cloud; no request is made.

    Args:
        uri: The source's; its scheme names the cloud.
        settings: What its Federation says.
        token: For its audience.
        options: How the source is reached; those who grant are asked likewise.

    Raises:
        SourceError: The settings are not enough, or cannot be.
    """
    kind = kind_of(uri)
    cloud = kind.cloud if kind is not None else None
    if kind is None or cloud is None:
        raise SourceError("InvalidSource", "the identity lacks a cloud")
    missing = [name for name in _REQUIRED[cloud] if not settings.get(name)]
    if missing:
        raise SourceError("InvalidSource", f"the identity lacks {' and '.join(missing)}")
    require_own_host(kind.scheme, options)
    exchange = _exchange(cloud, settings, options)

    async def granted() -> TemporaryCredentials:
        return await exchange(TokenClient.of(options), await token())

    return CachedIdentity(granted)


def require_own_host(scheme: str, options: StoreOptions) -> None:
    """Check that a bearer token goes to its cloud only.

    Raises:
        SourceError: The endpoint is a stranger's.
    """
    if owner := stranger(scheme, options.endpoint):
        raise SourceError(
            "InvalidSource",
            f"with an identity the endpoint has to be https and {owner}'s own: a token is sent "
            "nowhere else",
        )


def token_file(path: Path) -> TokenSource:
    """Return a source that reads a file anew each time: the kubelet replaces it."""

    def read() -> str:
        try:
            found = path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError("Unavailable", f"the token {path} cannot be read") from error
        if not found:
            raise SourceError("Unavailable", f"the token {path} is empty")
        return found

    async def token() -> str:
        return await asyncio.to_thread(read)

    return token


def _exchange(
    cloud: Cloud, settings: Mapping[str, str], options: StoreOptions
) -> Callable[[TokenClient, str], Awaitable[TemporaryCredentials]]:
    match cloud:
        case Cloud.AMAZON:
            return aws.role(settings, options).take_on
        case Cloud.GOOGLE:
            return google.pool(settings).enter
        case Cloud.MICROSOFT:
            return azure.application(settings).log_in
