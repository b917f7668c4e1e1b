"""Requests to those who grant credentials: through the egress proxy, in bounded time and size.

Whoever may create a Model, or annotate a ServiceAccount, may choose whom is asked. So the answer is
as little trusted as a store's: nothing of it but a plain error code reaches a sentence.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpcore

from slipway_sync.stores.addresses import AddressPolicy
from slipway_sync.stores.base import SourceError, StoreOptions
from slipway_sync.stores.egress.clients import route
from slipway_sync.stores.egress.proxy import shared
from slipway_sync.stores.egress.routes import Route
from slipway_sync.stores.egress.tls import trust
from slipway_sync.stores.egress.token import ProxyToken
from slipway_sync.stores.errors import egress_error

_SECONDS: Final = 20.0
"""For a whole exchange, however slowly its answer trickles in."""
_TIMEOUT: Final = {"timeout": {"connect": 5.0, "read": 10.0, "write": 10.0, "pool": 10.0}}
_MAX_BYTES: Final = 256 << 10
_XML_CODE: Final = re.compile(r"<Code>([A-Za-z0-9._]{1,64})</Code>")
_WORD: Final = re.compile(r"[A-Za-z0-9._]{1,64}", re.ASCII)
_FOREIGN: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
    ValueError,
)
"""Everything that the library documents to raise."""
_METADATA: Final = tuple(
    ip_network(text)
    for text in (
        "169.254.169.254/32",  # AWS, Azure and Google Cloud
        "169.254.170.2/32",  # AWS ECS
        "169.254.170.23/32",  # AWS EKS Pod Identity
        "fd00:ec2::254/128",
        "fd00:ec2::23/128",
        "fd20:ce::254/128",  # Google Cloud
        "127.0.0.0/8",  # an agent beside the process, such as AWS's signing helper
        "::1/128",
    )
)
"""Asked only at addresses that are constants or stand in the environment of the process."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of at most some hundred KiB."""

    status: int
    body: bytes

    def fields(self) -> Mapping[str, Any]:
        """Return its JSON object; empty when it is none."""
        try:
            parsed = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def text(self) -> str:
        """Return it as text, whatever it is."""
        return self.body.decode(errors="replace")

    def code(self) -> str:
        """Return its error code, when that is one plain word."""
        if found := _XML_CODE.search(self.text()):
            return found[1]
        told = self.fields().get("error", "")
        if isinstance(told, dict):
            told = told.get("status", "")
        return told if isinstance(told, str) and _WORD.fullmatch(told) else ""


@dataclass(frozen=True, slots=True)
class TokenClient:
    """Asks those who grant credentials.

    Attributes:
        addresses: Where they may be.
        ca_bundle: PEM certificates to trust beside the system's.
        route: Which way leads there.
        clock: Tells the time, from which an answer's seconds are counted.
    """

    addresses: AddressPolicy
    ca_bundle: bytes | None = None
    route: Route = field(default_factory=Route)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @classmethod
    def of(cls, options: StoreOptions) -> TokenClient:
        """Ask as the store is asked."""
        return cls(options.addresses, options.ca_bundle, route(options))

    def metadata(self) -> TokenClient:
        """Return one that also reaches the machine's own metadata service, straight."""
        allowed = AddressPolicy((*self.addresses.allowed, *_METADATA))
        return replace(self, addresses=allowed, route=Route())

    async def ask(
        self,
        what: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send one request and return its answer, whatever its status.

        Args:
            what: Subject of the sentence when nobody answers.
            method: Of HTTP.
            url: May be anybody's choice.
            headers: May hold secrets.
            form: Body, form-encoded; may hold secrets.
            document: Body, as JSON; may hold secrets.

        Raises:
            SourceError: There is no answer, or it is too long.
        """
        where = f"{what}: {urlsplit(url).hostname or 'the address'}"
        egress = shared().issue_token(self.addresses, self.route)
        content, kind = _body(form, document)
        sent: list[tuple[bytes | str, bytes | str]] = [("Accept-Encoding", "identity")]
        sent += [*kind.items(), *(headers or {}).items()]
        try:
            async with (
                asyncio.timeout(_SECONDS),
                _through(egress, trust(self.ca_bundle)) as pool,
                pool.stream(
                    method, _url(url), headers=sent, content=content, extensions=_TIMEOUT
                ) as response,
            ):
                if egress.refusal is not None or egress.trouble is not None:
                    # To plain http it is the egress proxy itself that answers.
                    raise httpcore.ConnectError("the egress proxy")
                body = b""
                async for chunk in response.aiter_stream():
                    body += chunk
                    if len(body) > _MAX_BYTES:
                        raise SourceError("InvalidSource", f"{where} sends more than credentials")
                return Answer(response.status, body)
        except TimeoutError as error:
            raise SourceError("Unavailable", f"{where} does not answer in time") from error
        except _FOREIGN as error:
            raise egress_error(error, where, egress) from error


def _through(egress: ProxyToken, context: ssl.SSLContext) -> httpcore.AsyncHTTPProxy:
    parts = urlsplit(egress.url)
    return httpcore.AsyncHTTPProxy(
        f"http://{parts.hostname}:{parts.port}",
        proxy_auth=(parts.username or "", parts.password or ""),
        ssl_context=context,
    )


def _url(url: str) -> httpcore.URL:
    """Return a URL for the library, whose proxies forget the brackets of an address."""
    parsed = httpcore.URL(url)
    if b":" in parsed.host and parsed.scheme == b"http":
        parsed.host = b"[%b]" % parsed.host
    return parsed


def _body(
    form: Mapping[str, str] | None, document: Mapping[str, Any] | None
) -> tuple[bytes | None, dict[str, str]]:
    """Return a body and the headers that belong to it."""
    if form is not None:
        content, kind = urlencode(form).encode(), "application/x-www-form-urlencoded"
    elif document is not None:
        content, kind = json.dumps(document).encode(), "application/json"
    else:
        return None, {}
    return content, {"Content-Type": kind, "Content-Length": str(len(content))}


def moment(text: Any) -> datetime | None:
    """Return the time that an answer tells; None when it is none, or of no zone."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else None


def refused(what: str, answer: Answer, advice: str) -> SourceError:
    """Return the error for an answer that grants nothing.

    Args:
        what: Subject of the sentence.
        answer: What came.
        advice: What to check when it is a refusal.
    """
    told = f"{answer.status} {answer.code()}".strip()
    if answer.status in {408, 425, 429} or answer.status >= 500:  # noqa: PLR2004 - HTTP
        return SourceError("Unavailable", f"{what}: the answer is {told}")
    if answer.status < 400:  # noqa: PLR2004 - HTTP
        return SourceError("InvalidSource", f"{what}: the answer ({told}) contains no credentials")
    return SourceError("AccessDenied", f"{what}: refused ({told}): {advice}")
