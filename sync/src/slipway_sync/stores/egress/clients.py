"""What every client of the library is made with: timeouts, retries, the gate, and no environment."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from obstore.exceptions import BaseError

from slipway_sync.exports import hostile_key, printable
from slipway_sync.stores.base import SourceError, StoreOptions
from slipway_sync.stores.egress.proxy import Pass, shared
from slipway_sync.stores.egress.routes import Exceptions, Proxy, Route

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

FOREIGN = (BaseError, OSError, ValueError)
"""Everything that the library documents to raise."""

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
) -> tuple[_Client, Pass]:
    """Make a client that goes through the gate; no request is made.

    Args:
        uri: What sentences call it.
        options: For its certificates and addresses.
        make: Calls the library's constructor.
        further: Options of this client beside those of all.

    Raises:
        SourceError: The library refuses the options.
    """
    way = shared().issue(options.addresses, route(options))
    client: ClientConfig = {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=options.patience.connect),
        # A stalled connection ends here; a slow one may take as long as `timeout` for one request.
        "read_timeout": timedelta(seconds=options.patience.stall),
        "timeout": timedelta(seconds=options.patience.request),
        **(further or {}),
        "proxy_url": way.url,
    }
    if options.ca_bundle is not None:
        client["root_certificate"] = options.ca_bundle
    try:
        with _no_environment():
            return make(client), way
    except FOREIGN as error:
        what = (
            "the CA bundle contains no certificate" if options.ca_bundle is not None else "refused"
        )
        raise invalid(f"{uri}: {what}") from error


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
