"""What every client of the library is made with: timeouts, retries, the egress proxy, and no environment."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from obstore.exceptions import BaseError

from slipway_sync.exports import hostile_key, printable
from slipway_sync.stores.base import SourceError, StoreOptions
from slipway_sync.stores.egress.proxy import shared
from slipway_sync.stores.egress.routes import Exceptions, Proxy, Route
from slipway_sync.stores.egress.tls import trust
from slipway_sync.stores.egress.token import ProxyToken

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

FOREIGN = (BaseError, OSError, ValueError)
"""Everything that the library documents to raise."""

_TLS_PORT = 443
_MAX_PAUSE = timedelta(seconds=3)
_ENVIRONMENT = ("AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "MSI_")
_environment_lock = threading.Lock()

_Client = TypeVar("_Client")

PROXY_CREDENTIALS = ("PROXY_USERNAME", "PROXY_PASSWORD")
"""What a Secret may hold for a proxy on the way, whatever the source."""


def made(
    uri: str,
    options: StoreOptions,
    make: Callable[[ClientConfig], _Client],
    further: ClientConfig | None = None,
    *,
    origin: str,
    token_hosts: Container[str] = (),
    tunnel: bool = False,
) -> tuple[_Client, ProxyToken]:
    """Make a client that goes through the egress proxy; no request is made.

    Args:
        uri: What sentences call it.
        options: For its certificates and addresses.
        make: Calls the library's constructor.
        further: Options of this client beside those of all.
        origin: URL of the store. The library is to be given `plain(origin)`: TLS is spoken by the egress proxy.
        tunnel: Whether the library speaks TLS itself, which is faster: only for content in large parts, which
            only the agent takes.
        token_hosts: Where the library fetches tokens by itself, over TLS of its own.

    Raises:
        SourceError: The library refuses the options.
    """
    trust(options.ca_bundle)
    parts = urlsplit(origin)
    egress = shared().issue_token(
        options.addresses,
        route(options),
        ca_bundle=options.ca_bundle,
        tls_port=(parts.port or _TLS_PORT) if parts.scheme == "https" and not tunnel else None,
        tunnels=None if tunnel else token_hosts,
    )
    client: ClientConfig = {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=options.patience.connect),
        # A stalled connection ends here; a slow one may take as long as `timeout` for one request.
        "read_timeout": timedelta(seconds=options.patience.stall),
        "timeout": timedelta(seconds=options.patience.request),
        **(further or {}),
        "proxy_url": egress.url,
    }
    if options.ca_bundle is not None:
        client["root_certificate"] = options.ca_bundle
    try:
        with _no_environment():
            return make(client), egress
    except FOREIGN as error:
        what = (
            "the CA bundle contains no certificate" if options.ca_bundle is not None else "refused"
        )
        raise invalid(f"{uri}: {what}") from error


def plain(url: str) -> str:
    """Return a URL as the library gets it: what is https there, the egress proxy makes of it.

    >>> plain("https://s3.example:443/path")
    'http://s3.example/path'
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        return url
    return f"http://{parts.netloc.removesuffix(f':{_TLS_PORT}')}{parts.path}"


def retry(options: StoreOptions) -> RetryConfig:
    """Return how often a client repeats a request by itself."""
    first = timedelta(seconds=options.patience.pause)
    return {
        "max_retries": options.patience.retries,
        "retry_timeout": timedelta(seconds=30),
        "backoff": {"init_backoff": first, "max_backoff": max(first, _MAX_PAUSE), "base": 2},
    }


def route(options: StoreOptions) -> Route:
    """Return the way that the options prescribe.

    Raises:
        SourceError: They hold a proxy or an exception that cannot be.
    """
    try:
        exceptions = Exceptions.read(options.no_proxy)
        if not options.proxy:
            return Route(exceptions=exceptions)
        name, word = (options.credentials.get(key, "").strip() for key in PROXY_CREDENTIALS)
        return Route(Proxy.read(options.proxy, name, word), exceptions)
    except ValueError as error:
        raise invalid(str(error)) from error


def checked_prefix(uri: str, path: str) -> str:
    """Return the prefix of a source's keys, "" or with a `/` at its end.

    Raises:
        SourceError: It could lead elsewhere.
    """
    prefix = path.strip("/")
    if prefix and (found := hostile_key([prefix])) is not None:
        raise invalid(f"{printable(uri)}: the path {found[1]}")
    return f"{prefix}/" if prefix else ""


def endpoint_url(endpoint: str) -> str:
    """Return an endpoint without a `/` at its end.

    Raises:
        SourceError: It is no http(s) URL, or carries more than a place.
    """
    try:
        parts = urlsplit(endpoint)
        valid = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        valid = False
    if not valid or parts.username or parts.password or parts.query or parts.fragment:
        raise invalid("the endpoint is not an http(s)://HOST[:PORT] URL without credentials")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def invalid(message: str) -> SourceError:
    """Return the error for a configuration that cannot be."""
    return SourceError("InvalidSource", message)


@contextmanager
def _no_environment() -> Iterator[None]:
    """Hide the clouds' variables of this process while a client is made.

    The library's builders read all of them, credentials and endpoints alike, beside what they are
    given, and have no switch for that. They read them at no other time.
    """
    with _environment_lock:
        hidden = {
            name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)
        }
        for name in hidden:
            del os.environ[name]
        try:
            yield
        finally:
            os.environ.update(hidden)
