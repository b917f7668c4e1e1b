"""AWS S3 and compatible stores: s3://bucket/prefix."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import obstore
from obstore.store import S3Store

from slipway_sync.exports import printable
from slipway_sync.store_kinds import S3
from slipway_sync.stores.backends.bucket import Bucket, Clients, provider
from slipway_sync.stores.backends.deletion import SignedEraser
from slipway_sync.stores.backends.object_store import ObjectStore
from slipway_sync.stores.backends.zero_copy import ZeroCopy
from slipway_sync.stores.base import StoreOptions
from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.egress.clients import (
    endpoint_url,
    invalid,
    retry,
)
from slipway_sync.stores.egress.proxy import shared

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Credential

    from slipway_sync.stores.egress.token import ProxyToken

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", re.ASCII)
_KEY_PAIR = S3.auth_methods[0]
_SIGNED_FOR = timedelta(minutes=10)
"""A URL is used at once; the rest is for clocks that differ."""


def open_s3(uri: str, options: StoreOptions) -> ObjectStore:
    """Open `s3://bucket/prefix`; no request is made.

    Raises:
        SourceError: The URI or an option cannot be.
    """
    bucket = Bucket.read(S3, uri, _BUCKET)
    config, origin = _config(bucket.name, options)
    credential_provider = provider(options.identity, _credential)
    clients: Clients[S3Store] = Clients(uri, options, origin)

    def build(url: str, given: ClientConfig) -> S3Store:
        return S3Store(
            bucket.name,
            config={**config, "endpoint": url},
            client_options=given,
            retry_config=retry(options),
            credential_provider=credential_provider,
        )

    def at_folder(key: str) -> tuple[S3Store, ProxyToken]:
        return clients.make(
            lambda url, given: S3Store(
                bucket.name,
                config=_at_folder(bucket.name, key, {**config, "endpoint": url}),
                client_options=given,
                credential_provider=credential_provider,
            )
        )

    client, egress = clients.make(build)

    def signed(key: str) -> str:
        return obstore.sign(client, "GET", key, _SIGNED_FOR)

    direct = ZeroCopy(signed, partial(shared().connect, egress), options.patience)
    folders = SignedEraser(at_folder)
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
        direct=direct if _is_direct(config, origin) and egress.route.proxy is None else None,
    )


def _is_direct(config: S3Config, origin: str) -> bool:
    """Whether plain HTTP is spoken and there are keys: without, the library would look for an identity to sign with."""
    return "access_key_id" in config and origin.startswith("http://")


def _at_folder(bucket: str, key: str, config: S3Config) -> S3Config:
    """Return the configuration of a client to which the empty key is `key/`."""
    endpoint = config["endpoint"]
    if not config["virtual_hosted_style_request"]:
        endpoint = f"{endpoint}/{bucket}"
    return {
        **config,
        "endpoint": f"{endpoint}/{quote(key)}",
        "virtual_hosted_style_request": True,
    }


def _config(bucket: str, options: StoreOptions) -> tuple[S3Config, str]:
    credentials = {name: value.strip() for name, value in options.credentials.items()}
    config: S3Config = {
        "region": options.region
        or credentials.get("AWS_REGION")
        or credentials.get("AWS_DEFAULT_REGION")
        or "us-east-1",
        "virtual_hosted_style_request": options.addressing == "virtual",
    }
    if options.addressing not in {"path", "virtual"}:
        raise invalid(f"addressing is {printable(options.addressing)}: write path or virtual")
    origin = _origin(bucket, config["region"], options)
    if options.identity is not None:
        return config, origin
    given = [name for name in _KEY_PAIR if credentials.get(name)]
    if not given:
        config["skip_signature"] = True
    elif len(given) < len(_KEY_PAIR):
        missing = next(name for name in _KEY_PAIR if name not in given)
        raise invalid(f"the credentials hold {given[0]} but no {missing}")
    else:
        config["access_key_id"] = credentials["AWS_ACCESS_KEY_ID"]
        config["secret_access_key"] = credentials["AWS_SECRET_ACCESS_KEY"]
        if credentials.get("AWS_SESSION_TOKEN"):
            config["session_token"] = credentials["AWS_SESSION_TOKEN"]
    return config, origin


def _origin(bucket: str, region: str, options: StoreOptions) -> str:
    endpoint = endpoint_url(options.endpoint or f"https://s3.{region}.amazonaws.com")
    if options.addressing != "virtual":
        return endpoint
    parts = urlsplit(endpoint)
    if parts.netloc.startswith(f"{bucket}."):
        return endpoint
    # The library wants the bucket in the endpoint.
    return f"{parts.scheme}://{bucket}.{parts.netloc}{parts.path}"


def _credential(granted: TemporaryCredentials) -> S3Credential:
    values = granted.values
    return {
        "access_key_id": values["AWS_ACCESS_KEY_ID"],
        "secret_access_key": values["AWS_SECRET_ACCESS_KEY"],
        "token": values.get("AWS_SESSION_TOKEN"),
        "expires_at": granted.expires,
    }
