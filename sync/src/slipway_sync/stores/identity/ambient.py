"""What the process's surroundings give: variables, and the machine's metadata service.

Only where the administrator allows it: whoever may create a Model uses it then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from slipway_sync.store_kinds import Cloud, kind_of
from slipway_sync.stores.base import SourceError, StoreOptions
from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.egress.clients import endpoint_url
from slipway_sync.stores.identity import aws, azure, google
from slipway_sync.stores.identity.federated import require_own_host, token_file
from slipway_sync.stores.identity.refresh import CachedIdentity
from slipway_sync.stores.identity.token_http import TokenClient

_ECS: Final = "http://169.254.170.2"
_IMDS: Final = "http://169.254.169.254"
_GOOGLE: Final = "metadata.google.internal"


def ambient(uri: str, environment: Mapping[str, str], options: StoreOptions) -> CachedIdentity:
    """Return the identity that the surroundings give for a source's cloud; no request is made.

    Args:
        uri: The source's; its scheme names the cloud.
        environment: Variables of the process.
        options: How the source is reached.

    Raises:
        SourceError: The source is none of that cloud's, or the variables cannot be.
    """
    kind = kind_of(uri)
    if kind is None or kind.cloud is None:
        raise SourceError("InvalidSource", "identity Ambient is for s3://, gs:// and az:// only")
    require_own_host(kind.scheme, options)
    return CachedIdentity(_FIND[kind.cloud](environment, options))


def _amazon(
    env: Mapping[str, str], options: StoreOptions
) -> Callable[[], Awaitable[TemporaryCredentials]]:
    asker = TokenClient.of(options)
    if env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY"):
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        held = TemporaryCredentials({name: env[name] for name in names if env.get(name)}, None)
        return _held(held)
    if env.get("AWS_WEB_IDENTITY_TOKEN_FILE") and env.get("AWS_ROLE_ARN"):
        region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or options.region
        regional = env.get("AWS_STS_REGIONAL_ENDPOINTS") != "legacy"
        # Never the Model's own endpoint: this token is not the Model's.
        sts = env.get("AWS_ENDPOINT_URL_STS") or aws.sts_url(
            region or "us-east-1", regional=regional
        )
        role = aws.Role(env["AWS_ROLE_ARN"], endpoint_url(sts))
        return _exchanged(role.take_on, asker, env["AWS_WEB_IDENTITY_TOKEN_FILE"])
    if url := _container_url(env):
        return lambda: _of_container(asker.metadata(), url, env)
    if env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        raise SourceError(
            "InvalidSource",
            "the environment provides no AWS identity, and AWS_EC2_METADATA_DISABLED is true",
        )
    endpoint = endpoint_url(env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _IMDS)
    return lambda: aws.of_instance(asker.metadata(), endpoint)


def _google(
    env: Mapping[str, str], options: StoreOptions
) -> Callable[[], Awaitable[TemporaryCredentials]]:
    host = env.get("GCE_METADATA_HOST") or _GOOGLE
    return lambda: google.of_metadata(TokenClient.of(options).metadata(), host)


def _microsoft(
    env: Mapping[str, str], options: StoreOptions
) -> Callable[[], Awaitable[TemporaryCredentials]]:
    asker = TokenClient.of(options)
    client, tenant = env.get("AZURE_CLIENT_ID", ""), env.get("AZURE_TENANT_ID", "")
    if client and tenant and (path := env.get("AZURE_FEDERATED_TOKEN_FILE")):
        authority = endpoint_url(env.get("AZURE_AUTHORITY_HOST") or azure.AUTHORITY)
        return _exchanged(azure.Application(client, tenant, authority).log_in, asker, path)
    return lambda: azure.of_machine(asker.metadata(), _IMDS, client)


def _held(granted: TemporaryCredentials) -> Callable[[], Awaitable[TemporaryCredentials]]:
    async def given() -> TemporaryCredentials:
        return granted

    return given


def _exchanged(
    exchange: Callable[[TokenClient, str], Awaitable[TemporaryCredentials]],
    asker: TokenClient,
    path: str,
) -> Callable[[], Awaitable[TemporaryCredentials]]:
    token = token_file(Path(path))

    async def given() -> TemporaryCredentials:
        return await exchange(asker, await token())

    return given


async def _of_container(
    asker: TokenClient, url: str, env: Mapping[str, str]
) -> TemporaryCredentials:
    authorization = env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if path := env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        authorization = await token_file(Path(path))()
    return await aws.of_container(asker, url, authorization)


def _container_url(env: Mapping[str, str]) -> str:
    if relative := env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        return f"{_ECS}/{relative.lstrip('/')}"
    return env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")


_FIND: Final = {Cloud.AMAZON: _amazon, Cloud.GOOGLE: _google, Cloud.MICROSOFT: _microsoft}
