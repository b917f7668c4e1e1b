"""Where the credentials of a Secret may be sent: its owner names hosts, the author of a Model chooses the source."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.conditions import Reason
from slipway_operator.api.source import Source
from slipway_operator.reconcile.sources.errors import CredentialsError

_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
_PLACE: Final = re.compile(_HOST)
_PATTERN: Final = re.compile(rf"(?P<any>\*\.)?{_HOST}")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where requests go; `host` is empty when the URL has none that everybody reads alike."""

    host: str
    port: int
    text: str


def check_hosts(secret: Mapping[str, Any], described: str, source: Source) -> None:
    """Check that a source, and its own proxy, lie where the Secret may be used.

    Args:
        secret: As the API server holds it; without the annotation it may be used for every source.
        described: `NAMESPACE/NAME`, for the message.
        source: The source that names the Secret.

    Raises:
        CredentialsError: They do not.
    """
    hosts = (secret["metadata"].get("annotations") or {}).get(names.HOSTS_ANNOTATION)
    if hosts is None:
        return
    patterns = [pattern.strip().lower() for pattern in hosts.split(",")]
    for place in _places(source, secret.get("data") or {}):
        if not any(_matches(pattern, place) for pattern in patterns):
            raise CredentialsError(
                Reason.HOST_NOT_ALLOWED,
                f"Secret {described} must not be used for {place.text}: its annotation "
                f"{names.HOSTS_ANNOTATION} does not name this host; change the source, or have the owner of the "
                "Secret add the host",
            )


def _places(source: Source, data: Mapping[str, str]) -> Iterator[_Place]:
    """The store, and the proxy that the Model names: with a CA of its choice it could read what passes."""
    scheme = source.uri.partition("://")[0]
    account = _text(data.get("AZURE_STORAGE_ACCOUNT_NAME", ""))
    default = {
        "s3": f"https://s3.{source.region}.amazonaws.com".replace("..", "."),
        "gs": "https://storage.googleapis.com",
        "az": f"https://{account}.blob.core.windows.net",
    }
    yield _place(source.endpoint or default.get(scheme, source.uri))
    if source.proxy:
        yield _place(source.proxy)


def _text(encoded: str) -> str:
    """A value of a Secret; empty when it is not text, which is reported when it is used."""
    try:
        return base64.b64decode(encoded).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _place(url: str) -> _Place:
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0].lower()
    # What is not plain, as user@host or a backslash, is read by one program so and by another one so.
    found = _PLACE.fullmatch(authority)
    if found is None:
        return _Place("", 0, authority)
    port = int(found["port"] or _PORTS.get(scheme.lower(), 0))
    return _Place(found["host"].rstrip("."), port, f"{found['host']}:{port}")


def _matches(pattern: str, place: _Place) -> bool:
    wanted = _PATTERN.fullmatch(pattern)
    if wanted is None or not place.host:
        return False
    if wanted["port"] and int(wanted["port"]) != place.port:
        return False
    if wanted["any"]:
        return place.host.endswith(f".{wanted['host']}")
    return place.host == wanted["host"].rstrip(".")
