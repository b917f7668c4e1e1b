"""Requests of one connection and the answers to them, one after the other, each held to its limit."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from slipway_sync.stores.egress.answers import PIPE_BYTES, Incoming
from slipway_sync.stores.egress.request_head import ProxyRequest, read_head
from slipway_sync.stores.egress.response_head import (
    ResponseHead,
    read_location,
    read_response_head,
)
from slipway_sync.stores.egress.routes import Proxy
from slipway_sync.stores.egress.token import ANSWER_BYTES, ProxyToken
from slipway_sync.stores.egress.upstream_proxy import (
    AUTHENTICATION_REQUIRED,
    WRONG_CREDENTIALS,
    read_to_empty_line,
)

_ENDLESS: Final = "its answer does not end"
_REQUEST_BYTES: Final = 64
"""No request is as short; what TLS says by itself is."""
_INTERIM: Final = range(100, 200)
_MAX_INTERIM: Final = 16

Admit = Callable[[ProxyRequest], tuple[ProxyToken | None, ProxyRequest]]
"""From a request as it came to whose it is, and what it asks of whom."""


class AnswerMeter:
    """What has come of the answer that is under way on one connection.

    The library takes a listing's page, or a refusal, into memory before it looks at it, and reserves what it announces.
    What it asks for in parts, and what has no limit, it takes piece by piece.
    """

    def __init__(self, owner: ProxyToken) -> None:
        self._owner = owner
        self._bytes = 0

    def asked(self, count: int) -> None:
        """Note that bytes of a request went out."""
        if count > _REQUEST_BYTES:
            self._bytes = 0

    def came(self, count: int) -> None:
        """Note that bytes came.

        Raises:
            OSError: They are too many.
        """
        self._bytes += count
        self._owner.received += count
        if self._owner.most is not None and self._bytes > self._owner.most:
            self._owner.trouble = _ENDLESS
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))

    def announced(self, asked: ProxyRequest, head: ResponseHead) -> bool:
        """Whether an answer may be as long as its head says."""
        good = 200 <= head.status < 300  # noqa: PLR2004 - HTTP
        piecewise = good and (asked.ranged or self._owner.most is None)
        return head.bodiless or piecewise or (head.length or 0) <= ANSWER_BYTES


class Exchange:
    """What one connection to a server is used for. `forward` and `bring_answers` run at once, in a thread each.

    Args:
        client: Who asks.
        server: Who answers, or a proxy on the way.
        owner: The client's token.
        through: That proxy.
        admit: Says what each further request asks for.
    """

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        owner: ProxyToken,
        through: Proxy | None,
        admit: Admit,
    ) -> None:
        self._client = client
        self._server = server
        self._owner = owner
        self._through = through
        self._admit = admit
        self._requests: SimpleQueue[ProxyRequest] = SimpleQueue()
        self._answered: SimpleQueue[bool] = SimpleQueue()
        self._sending = threading.Lock()

    def forward(self, asked: ProxyRequest, rest: bytes) -> None:
        """Pass requests on, one after the other: each to the host that was judged, none with the token."""
        first = asked
        try:
            while (asked.origin, asked.tunnel) == (first.origin, False):
                with self._sending:
                    self._requests.put(asked)
                    rest = self._send(asked, rest)
                asked, rest = read_request(self._client, rest)
                if not self._answered.get():
                    break
                _, asked = self._admit(asked)
        except (OSError, ValueError):
            pass  # The client has gone, or sends what no client of ours does.

    def _send(self, asked: ProxyRequest, rest: bytes) -> bytes:
        """Send a request; return what has come after its body."""
        self._server.sendall(asked.forwarded(self._through))
        body, rest = rest[: asked.body], rest[asked.body :]
        self._server.sendall(body)
        left = asked.body - len(body)
        while left and (chunk := self._client.recv(min(left, PIPE_BYTES))):
            self._server.sendall(chunk)
            left -= len(chunk)
        return rest

    def bring_answers(self) -> None:
        """Bring the answer to each request, until a connection ends or an answer is not to be had."""
        incoming, answer = Incoming(self._server), AnswerMeter(self._owner)
        try:
            incoming.wait(self._sending)
            # A server that speaks without being asked is not listened to.
            while not self._requests.empty():
                answer.asked(PIPE_BYTES)
                if not self._bring_answer(incoming, answer, self._requests.get()):
                    break
                self._answered.put(True)
                incoming.wait(self._sending)
        except ValueError:
            self._owner.trouble = "it does not answer as a web server does"
        except OSError:
            pass  # One of the two has gone, or too much came.
        finally:
            incoming.close()
            shut(self._server)
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_WR)
            self._answered.put(False)

    def _bring_answer(self, incoming: Incoming, answer: AnswerMeter, asked: ProxyRequest) -> bool:
        """Bring one answer; return whether another may follow on this connection."""
        head = read_response_head(incoming.head(), asked.method)
        interim = 0
        while head.status in _INTERIM:
            interim += 1
            if interim > _MAX_INTERIM:
                raise ValueError("no end of interim answers")
            head = read_response_head(incoming.head(), asked.method)
        if not answer.announced(asked, head):
            self._owner.trouble = _ENDLESS
            answer_with(self._client, 502)
            return False
        if head.status == AUTHENTICATION_REQUIRED and self._owner.route.proxy is not None:
            self._owner.denial = WRONG_CREDENTIALS
        location = None if head.location is None else self._led(asked, head.location)
        self._client.sendall(head.written(location))
        if head.bodiless:
            pass
        elif head.chunked:
            incoming.chunks(self._client, answer.came)
        elif head.length is not None:
            incoming.body(self._client, head.length, answer.came)
        else:
            incoming.body_to_end(self._client, answer.came)
        return not head.closes

    def _led(self, asked: ProxyRequest, text: str) -> str:
        """Return where a redirect leads, spelled so that the client comes through here once more.

        To its own host it comes with its token. To another one that speaks TLS it would make a tunnel: it gets a name
        that only this proxy knows, and shows it no credentials. To one that does not it has no way.
        """
        scheme, host, port = asked.origin
        name = f"[{host}]" if ":" in host else host
        place = read_location(f"{scheme}://{name}:{port}{asked.target.decode('ascii')}", text)
        if (place.scheme, place.host, place.port) == asked.origin:
            return f"http://{asked.netloc}{place.target}"
        if place.scheme == "http":
            return f"http://{place.authority}{place.target}"
        return f"http://{self._owner.alias(place.host, place.port)}{place.target}"


def read_request(client: socket.socket, start: bytes) -> tuple[ProxyRequest, bytes]:
    """Read one head; `start` is what has arrived of it, and what comes after it is returned."""
    head, rest = read_to_empty_line(client, start)
    return read_head(head), rest


def shut(server: socket.socket) -> None:
    """End a connection that another thread may read from."""
    with contextlib.suppress(OSError):
        # That of SSLSocket would have the other thread take what is encrypted for what was sent.
        socket.socket.shutdown(server, socket.SHUT_RDWR)


def answer_with(client: socket.socket, status: int) -> None:
    """Answer in a server's stead, and say that nothing more comes."""
    with contextlib.suppress(OSError):
        client.sendall(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
