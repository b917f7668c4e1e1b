"""`POST /v1/notifications`: a store says that something has changed, and the Models are polled at once.

Its own port, beside /livez and /metrics, so that it alone can be shown to the outside. Only the replica
that leads polls; the others pass a notification on to it, once.
"""

import asyncio
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp import web

from slipway_operator import metrics
from slipway_operator.notifications import signatures
from slipway_operator.notifications.messages import (
    MAX_BYTES,
    Notification,
    NotificationError,
    read,
)

PATH: Final = "/v1/notifications"
_FORWARDED: Final = "X-Slipway-Forwarded"
_BODY_SECONDS: Final = 10.0
_FORWARD_SECONDS: Final = 5.0
_RETRY_AFTER: Final = "5"
_ACCEPTED: Final = 202
_NOT_YET: Final = 503

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReceiverDeps:
    """What the receiver needs of the rest of the operator.

    Attributes:
        token: Called for each request, so that the token can be rotated.
        leads: Whether this replica polls.
        leader: `http://IP:PORT` of the replica that does; empty when it is not known.
        notify: Polls the Models whose source holds one of these object URIs; returns how many.
    """

    token: Callable[[], str]
    leads: Callable[[], bool]
    leader: Callable[[], str]
    notify: Callable[[Iterable[str]], int]


def token_in(path: Path) -> Callable[[], str]:
    """What a file holds; empty while it cannot be read, and then nobody is let in."""

    def token() -> str:
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError):
            return ""

    return token


def application(deps: ReceiverDeps) -> web.Application:
    """The endpoint."""

    async def post(request: web.Request) -> web.Response:
        body = await _body(request, deps.token())
        if isinstance(body, web.Response):
            return body
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            found = read(body, headers)
        except NotificationError as error:
            return _answer("invalid", 400, str(error))
        if found.answer is not None:
            metrics.NOTIFICATIONS.labels(found.kind, "validated").inc()
            return web.json_response(dict(found.answer))
        if deps.leads():
            return _accept(found, deps)
        return await _forward(request, body, found, deps)

    async def options(request: web.Request) -> web.Response:
        """The handshake of CloudEvents: whoever knows the token may send."""
        if not allowed(request, deps.token()):
            return _answer("refused", 401, "the token is missing or wrong")
        origin = request.headers.get("WebHook-Request-Origin", "*")
        return web.Response(
            headers={"Allow": "POST", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}
        )

    app = web.Application(client_max_size=MAX_BYTES)
    app.router.add_post(PATH, post)
    app.router.add_route("OPTIONS", PATH, options)
    return app


async def _body(request: web.Request, token: str) -> bytes | web.Response:
    """The body of a request that shows the token or is signed with it, or the refusal of any other."""
    signature = request.headers.get(signatures.HEADER, "")
    shown = allowed(request, token)
    if not shown and not signatures.is_signed(token, signature):
        return _answer("refused", 401, "the token is missing or wrong")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return _answer("too-large", 413, f"the body is larger than {MAX_BYTES} bytes")
    except TimeoutError:
        return _answer("invalid", 408, f"the body was not received within {_BODY_SECONDS:g} s")
    if not shown and not signatures.covers(signature, request.headers, body):
        return _answer("refused", 401, "the signature is another notification's")
    return body


def allowed(request: web.Request, token: str) -> bool:
    """Whether a request shows the token, as a bearer or, for those who cannot, in its query."""
    if not token:
        return False
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    shown = [bearer.strip() if scheme == "Bearer" else "", request.query.get("token", "")]
    # Both are compared, whatever the first says: the time taken must reveal nothing.
    matches = [
        hmac.compare_digest(one.encode(errors="surrogateescape"), token.encode()) for one in shown
    ]
    return any(matches)


def _accept(found: Notification, deps: ReceiverDeps) -> web.Response:
    if found.confirm:
        # A person decides; an address that anyone may send here is never asked.
        parts = urlsplit(found.confirm)
        _log.warning(
            "a subscription needs to be confirmed: open the URL if it is yours",
            host=parts.hostname,
            url=found.confirm,
        )
    polled = deps.notify(found.uris) if found.uris else 0
    metrics.NOTIFICATIONS.labels(found.kind, "accepted").inc()
    return web.json_response({"objects": len(found.uris), "models": polled}, status=_ACCEPTED)


async def _forward(
    request: web.Request, body: bytes, found: Notification, deps: ReceiverDeps
) -> web.Response:
    """Forward to the leader; a notification is never forwarded twice."""
    leader = deps.leader()
    if not leader or _FORWARDED in request.headers:
        return _answer("no-leader", _NOT_YET, "no replica is the leader at the moment")
    # The client would add a type, and what is signed is what arrives.
    headers = {"content-type": "application/octet-stream"} | signatures.relevant(request.headers)
    headers |= {signatures.HEADER: signatures.sign(deps.token(), headers, body), _FORWARDED: "1"}
    timeout = aiohttp.ClientTimeout(total=_FORWARD_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                f"{leader}{PATH}", data=BytesIO(body), headers=headers, allow_redirects=False
            ) as answer,
        ):
            if answer.status == _ACCEPTED:
                metrics.NOTIFICATIONS.labels(found.kind, "forwarded").inc()
                return web.json_response(await answer.json(), status=_ACCEPTED)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        _log.warning("notification not forwarded", error=type(error).__name__)
    return _answer("no-leader", _NOT_YET, "the leader does not answer")


def _answer(result: str, status: int, sentence: str) -> web.Response:
    metrics.NOTIFICATIONS.labels("", result).inc()
    headers = {"Retry-After": _RETRY_AFTER} if status == _NOT_YET else {}
    return web.json_response({"error": sentence}, status=status, headers=headers)
