"""Azure Blob Storage: az://container/prefix; the account comes with the credentials or the endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore.store

from slipway_sync.exports import printable
from slipway_sync.store_kinds import AZURE
from slipway_sync.stores.backends.bucket import Bucket, Clients, provider
from slipway_sync.stores.backends.object_store import ObjectStore
from slipway_sync.stores.base import StoreOptions
from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.egress.clients import endpoint_url, invalid, retry

if TYPE_CHECKING:
    from obstore.store import AzureBearerToken, AzureConfig, ClientConfig

_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}|\$(?:root|web)", re.ASCII)
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}", re.ASCII)
_TOKEN_HOSTS = frozenset({"login.microsoftonline.com"})
_APPLICATION = AZURE.auth_methods[-1]


def open_azure(uri: str, options: StoreOptions) -> ObjectStore:
    """Open `az://container/prefix`; no request is made.

    Signed with an account key, a SAS token or an application's secret, whichever is given; without
    them requests are not signed, which is enough for public containers.

    Raises:
        SourceError: The URI or an option cannot be.
    """
    container = Bucket.read(AZURE, uri, _CONTAINER)
    config, origin = _config(uri, options)
    credential_provider = provider(options.identity, _credential)
    clients: Clients[obstore.store.AzureStore] = Clients(uri, options, origin, _TOKEN_HOSTS)

    def build(url: str, given: ClientConfig) -> obstore.store.AzureStore:
        return obstore.store.AzureStore(
            container.name,
            config={**config, "endpoint": url},
            client_options=given,
            retry_config=retry(options),
            credential_provider=credential_provider,
        )

    client, egress = clients.make(build)
    return ObjectStore(
        container.uri,
        container.prefix,
        client,
        egress,
        signed="skip_signature" not in config,
        credential_provider=credential_provider,
        patience=options.patience,
        bulk=clients.bulk(build),
    )


def _config(uri: str, options: StoreOptions) -> tuple[AzureConfig, str]:
    given = {name: value.strip() for name, value in options.credentials.items() if value.strip()}
    account = given.get("AZURE_STORAGE_ACCOUNT_NAME") or _account_of(options.endpoint)
    if not _ACCOUNT.fullmatch(account):
        raise invalid(
            f"{printable(uri)}: the storage account is unknown: put AZURE_STORAGE_ACCOUNT_NAME into the credentials, "
            "or set the endpoint to https://ACCOUNT.blob.core.windows.net"
        )
    origin = (
        endpoint_url(options.endpoint)
        if options.endpoint
        else f"https://{account}.blob.core.windows.net"
    )
    config: AzureConfig = {"account_name": account}
    if options.identity is not None:
        return config, origin
    application = [name for name in _APPLICATION if name in given]
    if "AZURE_STORAGE_ACCOUNT_KEY" in given:
        config["account_key"] = given["AZURE_STORAGE_ACCOUNT_KEY"]
    elif "AZURE_STORAGE_SAS_TOKEN" in given:
        config["sas_key"] = given["AZURE_STORAGE_SAS_TOKEN"].removeprefix("?")
    elif application:
        if missing := [name for name in _APPLICATION if name not in given]:
            raise invalid(f"the credentials hold {application[0]} but no {missing[0]}")
        config["client_id"] = given["AZURE_CLIENT_ID"]
        config["client_secret"] = given["AZURE_CLIENT_SECRET"]
        config["tenant_id"] = given["AZURE_TENANT_ID"]
    else:
        config["skip_signature"] = True
    return config, origin


def _account_of(endpoint: str) -> str:
    """Return the account that an endpoint names: by its host, or, as emulators do, by its path.

    >>> _account_of("https://models.blob.core.windows.net")
    'models'
    >>> _account_of("http://127.0.0.1:10000/devstoreaccount1")
    'devstoreaccount1'
    """
    if not endpoint:
        return ""
    parts = urlsplit(endpoint)
    return parts.path.strip("/") or (parts.hostname or "").partition(".")[0]


def _credential(granted: TemporaryCredentials) -> AzureBearerToken:
    return {"token": granted.values["AZURE_BEARER_TOKEN"], "expires_at": granted.expires}
