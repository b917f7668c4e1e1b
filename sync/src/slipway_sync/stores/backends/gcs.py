"""Google Cloud Storage: gs://bucket/prefix."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from obstore.store import GCSStore

from slipway_sync.store_kinds import GCS
from slipway_sync.stores.backends.bucket import Bucket, Clients, provider
from slipway_sync.stores.backends.deletion import PlainEraser
from slipway_sync.stores.backends.object_store import ObjectStore
from slipway_sync.stores.base import StoreOptions
from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.egress.clients import endpoint_url, invalid, retry

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSConfig, GCSCredential

    from slipway_sync.stores.egress.token import ProxyToken

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)
_PUBLIC = "https://storage.googleapis.com"
_TOKEN_HOSTS = frozenset({"accounts.google.com", "oauth2.googleapis.com", "www.googleapis.com"})
_KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
_TOKEN = "GOOGLE_BEARER_TOKEN"  # noqa: S105 - a name
_ACCOUNT_FIELDS = frozenset({"client_email", "private_key", "private_key_id"})


def open_gcs(uri: str, options: StoreOptions) -> ObjectStore:
    """Open `gs://bucket/prefix`; no request is made.

    Without credentials requests are not signed, which is enough for public buckets.

    Raises:
        SourceError: The URI or an option cannot be.
    """
    bucket = Bucket.read(GCS, uri, _BUCKET)
    origin = endpoint_url(options.endpoint) if options.endpoint else _PUBLIC
    config = _config(options)
    credential_provider = provider(options.identity, _credential)
    clients: Clients[GCSStore] = Clients(uri, options, origin, _TOKEN_HOSTS)

    def build(url: str, given: ClientConfig, name: str = bucket.name) -> GCSStore:
        return GCSStore(
            name,
            config={**config, "base_url": url},
            client_options=given,
            retry_config=retry(options),
            credential_provider=credential_provider,
        )

    def at_folder(key: str) -> tuple[GCSStore, ProxyToken]:
        parent, _, folder = f"{bucket.name}/{key}".rpartition("/")
        return clients.make(lambda url, given: build(f"{url}/{quote(parent)}", given, folder))

    client, egress = clients.make(build)
    folders = PlainEraser(at_folder)
    return ObjectStore(
        bucket.uri,
        bucket.prefix,
        client,
        egress,
        folders=folders,
        signed="skip_signature" not in config,
        credential_provider=credential_provider,
        patience=options.patience,
        bulk=clients.bulk(build),
    )


def _config(options: StoreOptions) -> GCSConfig:
    config: GCSConfig = {}
    if options.identity is not None:
        return config
    if key := options.credentials.get(_KEY, "").strip():
        config["service_account_key"] = _checked_key(key)
    elif token := options.credentials.get(_TOKEN, "").strip():
        config["bearer_token"] = token
    else:
        config["skip_signature"] = True
    return config


def _checked_key(text: str) -> str:
    """Return a service account's key, without what would send the client elsewhere."""
    try:
        account = json.loads(text)
    except ValueError as error:
        raise invalid(
            f"{_KEY} is not JSON: put the whole key file of a service account there"
        ) from error
    if not isinstance(account, dict) or not account.keys() >= _ACCOUNT_FIELDS:
        raise invalid(
            f"{_KEY} lacks {', '.join(sorted(_ACCOUNT_FIELDS))}: put the whole key file there"
        )
    return json.dumps({name: account[name] for name in sorted(_ACCOUNT_FIELDS)})


def _credential(granted: TemporaryCredentials) -> GCSCredential:
    return {"token": granted.values[_TOKEN], "expires_at": granted.expires}
