"""Google Cloud Storage: gs://bucket/prefix."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from obstore.store import GCSStore

from slipway_sync.exports import printable
from slipway_sync.stores.backends.credential_provider import provider
from slipway_sync.stores.backends.deletion import PlainEraser
from slipway_sync.stores.backends.object_store import ObjectStore
from slipway_sync.stores.base import StoreOptions
from slipway_sync.stores.credentials import Granted
from slipway_sync.stores.egress.clients import checked_prefix, endpoint_url, invalid, made, retry

if TYPE_CHECKING:
    from obstore.store import GCSConfig, GCSCredential

    from slipway_sync.stores.egress.proxy import Pass

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)
CREDENTIALS = ("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN")
"""What a Secret may hold, one of them: a service account's key file, or a token that is renewed there."""

WAYS = (("GOOGLE_SERVICE_ACCOUNT_KEY",), ("GOOGLE_BEARER_TOKEN",))
"""What suffices to sign requests."""

_PUBLIC = "https://storage.googleapis.com"
_KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
_TOKEN = "GOOGLE_BEARER_TOKEN"  # noqa: S105 - a name
_ACCOUNT_FIELDS = frozenset({"client_email", "private_key", "private_key_id"})


def open_gcs(uri: str, options: StoreOptions) -> ObjectStore:
    """Open `gs://bucket/prefix`; no request is made.

    Without credentials requests are not signed, which is enough for public buckets.

    Raises:
        SourceError: The URI or an option cannot be.
    """
    bucket, _, path = uri.removeprefix("gs://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise invalid(f"{printable(uri)}: write gs://BUCKET/PATH")
    prefix = checked_prefix(uri, path)
    config = _config(options)
    provided = provider(options.identity, _credential)
    client, way = made(
        uri,
        options,
        lambda given: GCSStore(
            bucket,
            config=config,
            client_options=given,
            retry_config=retry(options),
            credential_provider=provided,
        ),
    )

    def at_folder(key: str) -> tuple[GCSStore, Pass]:
        parent, _, folder = f"{bucket}/{key}".rpartition("/")
        base = f"{config.get('base_url') or _PUBLIC}/{quote(parent)}"
        changed: GCSConfig = {**config, "base_url": base}
        return made(
            uri,
            options,
            lambda given: GCSStore(
                folder,
                config=changed,
                client_options=given,
                retry_config=retry(options),
                credential_provider=provided,
            ),
        )

    folders = PlainEraser(at_folder)
    return ObjectStore(
        f"gs://{bucket}/{prefix}",
        prefix,
        client,
        way,
        folders=folders,
        signed="skip_signature" not in config,
        provided=provided,
        patience=options.patience,
    )


def _config(options: StoreOptions) -> GCSConfig:
    config: GCSConfig = {}
    if options.endpoint:
        config["base_url"] = endpoint_url(options.endpoint)
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


def _credential(granted: Granted) -> GCSCredential:
    return {"token": granted.values[_TOKEN], "expires_at": granted.expires}
