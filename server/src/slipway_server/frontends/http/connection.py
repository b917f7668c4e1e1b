"""HTTP/1.1 on one connection: bytes in, requests out, answers back in order.

The protocol runs on the event loop's thread and never computes: a complete request goes to `dispatch`, whose answer
comes back through `answer`. One request of a connection is worked on at a time; while it is, at most one read's worth
of pipelined requests waits and reading stops, so a client cannot queue without bound. Sizes are checked while bytes
arrive, before they are kept.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from time import monotonic
from typing import Any, Final

import httptools
from typing_extensions import override

from slipway_server.frontends.http.body import ArrivingBody
from slipway_server.frontends.http.budget import BodyBudget
from slipway_server.frontends.http.head import ONCE, head_fault
from slipway_server.frontends.http.listener import has_unread, peer_address
from slipway_server.frontends.http.messages import Headers, HttpRequest, HttpResponse, failure
from slipway_server.frontends.http.rendering import rendered, with_headers, with_request_id

_HEAD_PIECE: Final = 16 << 10

_HEADER_EXTRA: Final = 4
"""A colon, a space and the line's end."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may send.

    Attributes:
        body: bytes of one request's body, as sent.
        head: bytes of the request line and headers.
        head_seconds: from a request's first byte to the end of its headers.
        request_seconds: from a request's first byte to its last; ends slow senders.
        idle_seconds: between two requests.
    """

    body: int = 512 << 20
    head: int = 64 << 10
    head_seconds: float = 20.0
    request_seconds: float = 300.0
    idle_seconds: float = 600.0


_NONE: Final = HttpRequest()
"""Stands for no request between two of them."""


class _Phase(Enum):
    IDLE = "between requests"
    HEAD = "a request's headers are arriving"
    BODY = "a request's body is arriving"
    CLOSING = "nothing more is read"


Dispatch = Callable[["HttpConnection", HttpRequest], None]


class HttpConnection(asyncio.Protocol):
    """One client connection.

    Args:
        dispatch: takes a complete request; calls `answer` on the loop's thread once, whenever it likes.
        draining: whether answers should ask the client to go elsewhere.
        register: called when the connection begins (True) and when it has ended (False).
        budget: of the bodies of all connections.
        headers: returns further headers of the answer to a request, which may have been understood in part only.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        limits: ConnectionLimits,
        draining: Callable[[], bool],
        register: Callable[["HttpConnection", bool], None],
        budget: BodyBudget,
        headers: Callable[[HttpRequest], Headers] = lambda _request: (),
    ) -> None:
        self._dispatch = dispatch
        self._limits = limits
        self._draining = draining
        self._register = register
        self._headers = headers
        self._body = ArrivingBody(budget)
        self._held = False
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._phase = _Phase.IDLE
        self._since = monotonic()
        self._request = _NONE
        self._repeated: set[bytes] = set()
        self._head_size = 0
        self._head_fed = 0
        self._begun = False
        self._refusal: HttpResponse | None = None
        self._waiting: deque[HttpRequest] = deque()
        self._current: HttpRequest | None = None
        self._writable = True
        self._half_closes = True
        self._peer = ""
        self.asked_api: bool | None = None
        """Whether there was a request other than for a page; None before the first request."""

    # ---- asyncio.Protocol --------------------------------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection and note its peer."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server promises
        self._transport = transport
        # TLS knows no half-closed connection.
        self._half_closes = transport.get_extra_info("sslcontext") is None
        self._peer = peer_address(transport.get_extra_info("peername"))
        self._register(self, True)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what has arrived; the answer that is being computed is discarded later."""
        self._transport = None
        self._phase = _Phase.CLOSING
        # The parser holds this object: without the reference back, all of it goes at once.
        self._parser = None
        self._drop_arriving()
        self._drop_waiting()
        self._register(self, False)

    @override
    def data_received(self, data: bytes) -> None:
        """Parse what arrived; refuse malformed input; pause reading while a request is in flight and another waits."""
        if self._phase is _Phase.CLOSING:
            return
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade:
            # An offer to speak another protocol (h2c) is declined by answering in this one.
            pass
        except httptools.HttpParserError as error:
            self._start_next()
            self._refuse(
                self._refusal or failure(400, f"Malformed HTTP request: {error}", close=True)
            )
            return
        self._start_next()
        if self._waiting and self._transport is not None:
            self._transport.pause_reading()

    def _feed(self, data: bytes) -> None:
        """Give the parser what arrived: in small pieces where headers may be in it.

        The parser keeps a header until its line ends and tells of it only then, so what it holds is counted here.
        """
        at = 0
        while at < len(data):
            size = len(data) if self._phase is _Phase.BODY else _HEAD_PIECE
            piece = data[at : at + size]
            at += size
            self._begun = False
            self._parser.feed_data(piece)
            if self._phase is not _Phase.HEAD or self._begun:
                self._head_fed = 0
                continue
            self._head_fed += len(piece)
            if self._head_fed > self._limits.head:
                self._refusal = self._head_too_large()
                raise httptools.HttpParserError("head too large")

    @override
    def eof_received(self) -> bool:
        """Keep the write side while an answer is due: half-closing clients still get it."""
        if not self._half_closes or (self._current is None and not self._waiting):
            return False
        self._phase = _Phase.CLOSING
        return True

    @override
    def pause_writing(self) -> None:
        """The client does not read: start no further request for it."""
        self._writable = False

    @override
    def resume_writing(self) -> None:
        """The client reads again: start the next request."""
        self._writable = True
        self._start_next()
        self._read_on()

    # ---- Sender (`budget`) -------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Read nothing more: all bodies together are at their limit."""
        self._held = True
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read again, unless there is another reason not to."""
        self._held = False
        self._since = monotonic()  # The time that it was held is not the client's.
        self._read_on()

    def give_way(self) -> None:
        """Give up the body that arrives."""
        text = "Timed out receiving the request body, and others need its place"
        self._refuse(failure(408, text, close=True))

    def _read_on(self) -> None:
        blocked = self._held or self._waiting or self._phase is _Phase.CLOSING
        if self._transport is not None and not blocked:
            self._transport.resume_reading()

    # ---- httptools ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Reset what is collected for a request."""
        self._request = HttpRequest(peer=self._peer)
        self._repeated.clear()
        self._head_size = 0
        self._phase = _Phase.HEAD
        self._begun = True
        self._since = monotonic()

    def on_url(self, url: bytes) -> None:
        """Append to the target, within the limit of the head."""
        self._request.target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, within the limit of the head; the last of equal names wins."""
        key, headers = name.lower(), self._request.headers
        if key in ONCE and key in headers:
            self._repeated.add(key)
        headers[key] = value
        self._count_head(len(name) + len(value) + _HEADER_EXTRA)

    def on_headers_complete(self) -> None:
        """Check what the headers announce before a byte of the body is taken."""
        self._phase = _Phase.BODY
        request = self._request
        request.method = self._parser.get_method().decode("latin-1")
        request.keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        fault = head_fault(self._parser.get_http_version(), request.headers, self._repeated)
        if fault is not None:
            self._refusal = fault
            raise ValueError("bad head")
        announced = request.headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limits.body:
            self._too_large(int(announced))
        if (
            request.headers.get(b"expect", b"").lower() == b"100-continue"
            and self._transport is not None
        ):
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Append to the body, within its limit."""
        size = self._body.size + len(body)
        if size > self._limits.body:
            self._too_large(size)
        self._body.add(self, body)

    def on_message_complete(self) -> None:
        """Queue the complete request."""
        # An idle connection does not keep its last request.
        request, self._request = self._request, _NONE
        self._body.complete(self, request)
        self._waiting.append(request)
        self._held = False  # What is held is a body that arrives; reading goes on with the answer.
        self._phase = _Phase.IDLE
        self._since = monotonic()

    # ---- answering ---------------------------------------------------------------------------------------------

    def answer(self, response: HttpResponse) -> None:
        """Send the answer to the request that was dispatched last."""
        request, self._current = self._current, None
        if request is None:
            return
        if not request.working:
            request.release()
        if self._transport is None:
            return
        close = response.close or not request.keep_alive or self._draining()
        request_id = request.headers.get(b"x-request-id")
        if request_id is not None:
            response = with_request_id(response, request_id)
        response = with_headers(response, self._headers(request))
        head_only = request.method == "HEAD"
        self._transport.write(rendered(response, close=close, head_only=head_only))
        if close:
            self._drop_arriving()
            self._drop_waiting()
            self._phase = _Phase.CLOSING
            self._transport.close()
            return
        self._since = monotonic()
        self._start_next()
        self._finish()
        self._read_on()

    @property
    def busy(self) -> bool:
        """Whether a request is being received, worked on or still being written."""
        unsent = self._transport is not None and self._transport.get_write_buffer_size() > 0
        return (
            self._current is not None
            or bool(self._waiting)
            or self._phase in {_Phase.HEAD, _Phase.BODY}
            or unsent
        )

    @property
    def peer(self) -> str:
        """The client's address and port, as in logs."""
        return self._peer

    def sweep(self, now: float) -> None:
        """End the connection when it is idle or sends too slowly; called every few seconds."""
        if self._current is not None or self._transport is None:
            return
        age = now - self._since
        slow_head = self._phase is _Phase.HEAD and age > self._limits.head_seconds
        receiving = self._phase in {_Phase.HEAD, _Phase.BODY}
        if slow_head or (receiving and age > self._limits.request_seconds):
            self._refuse(failure(408, "Timed out receiving the request", close=True))
        elif self._transport.get_write_buffer_size() and age > self._limits.request_seconds:
            self._transport.abort()  # closing would wait for a client that does not read
        elif self._phase is _Phase.IDLE and age > self._limits.idle_seconds:
            self._transport.close()

    def close_idle(self, before: float) -> None:
        """Close the connection if it has been idle since `before` and no unread data has arrived."""
        if self._transport is None or self._phase is not _Phase.IDLE or self.busy:
            return
        if self._since < before and not has_unread(self._transport):
            self._transport.close()

    def close(self) -> None:
        """End the connection after what is already written."""
        if self._transport is not None:
            self._transport.close()

    def _start_next(self) -> None:
        if (
            self._current is None
            and self._waiting
            and self._writable
            and self._transport is not None
        ):
            self._current = self._waiting.popleft()
            self._dispatch(self, self._current)

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._limits.head:
            self._refusal = self._head_too_large()
            raise ValueError("head too large")

    def _head_too_large(self) -> HttpResponse:
        return failure(431, f"The request's headers exceed {self._limits.head} bytes", close=True)

    def _too_large(self, size: int) -> None:
        self._refusal = failure(
            413,
            f"The request body of {size} bytes or more exceeds the limit of {self._limits.body} bytes",
            close=True,
        )
        raise ValueError("body too large")

    def _refuse(self, response: HttpResponse) -> None:
        """Read nothing more; answer what cannot be understood behind the answers that are still due."""
        self._phase = _Phase.CLOSING
        self._refusal = with_headers(response, self._headers(self._request))
        self._drop_arriving()
        self._finish()

    def _drop_arriving(self) -> None:
        self._request = _NONE
        self._body.drop(self)

    def _drop_waiting(self) -> None:
        for request in self._waiting:
            request.release()
        self._waiting.clear()

    def _finish(self) -> None:
        """When nothing more is read and every answer is out, end the connection."""
        done = self._phase is _Phase.CLOSING and self._current is None and not self._waiting
        if done and self._transport is not None:
            if self._refusal:
                self._transport.write(rendered(self._refusal, close=True, head_only=False))
            self._transport.close()
