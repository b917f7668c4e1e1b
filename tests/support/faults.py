"""A proxy that stands before a real store and misbehaves by rule, down to the bytes.

    with FaultProxy(server_port) as proxy:
        proxy.rule = on(re.compile("variables"), Fault(reset_after=1000), times=2)

Clients are given `proxy.endpoint`. What they ask is passed on as it is, `Host` included, so that
signatures stay valid; the true answer is then harmed. Nothing here is random.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from typing_extensions import override

from http_server import HttpHandler, LocalHttpServer

_PIECE = 64 << 10
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Asked:
    """A request as it came.

    Attributes:
        target: The request line's path and query, as sent.
        path: Decoded, without the query.
        headers: Lower-case names.
    """

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def start(self) -> int:
        """Where in the object the answer begins."""
        match = _RANGE.match(self.headers.get("range", ""))
        return int(match[1]) if match else 0

    @property
    def conditional(self) -> bool:
        """Whether it is part of a transfer: those name the ETag they expect."""
        return "if-match" in self.headers


@dataclass(frozen=True)
class Fault:
    """What is done to one request's answer. Offsets are bytes of this answer's body.

    Attributes:
        status: Answer with this instead of asking the server at all; 0 asks.
        headers: Of that answer, or put over those of the server's.
        body: Of that answer.
        hold: Wait for this event before anything is answered.
        stall_after: Send so many bytes, then nothing, with the connection open.
        trickle: Bytes a second.
        reset_after: Send so many bytes, then RST.
        cut_after: Send so many bytes, then FIN; the announced length is the whole.
        keep: Send so many bytes and announce just these.
        flip: Change one bit of this byte.
        rewrite: From the server's body to another, whose length is announced.
        excess: Send these bytes behind the body, and announce them.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hold: threading.Event | None = None
    stall_after: int | None = None
    trickle: float | None = None
    reset_after: int | None = None
    cut_after: int | None = None
    keep: int | None = None
    flip: int | None = None
    rewrite: Callable[[bytes], bytes] | None = None
    excess: bytes = b""


Rule = Callable[[Asked], Fault | None]


def clean(_: Asked) -> Fault | None:
    """Do no harm."""
    return None


def on(
    what: Callable[[Asked], bool], fault: Fault, *, times: int | None = None, after: int = 0
) -> Rule:
    """Harm the requests that fit: after so many of them, so many times (None: for ever)."""
    lock = threading.Lock()
    seen = 0

    def rule(asked: Asked) -> Fault | None:
        nonlocal seen
        if not what(asked):
            return None
        with lock:
            seen += 1
            number = seen
        return fault if number > after and (times is None or number <= after + times) else None

    return rule


class _Broken(Exception):  # noqa: N818 - a fault that was asked for
    """The connection ends here."""


class _Handler(HttpHandler):
    owner: FaultProxy

    @override
    def setup(self) -> None:
        super().setup()
        self.owner.track(self.connection)

    @override
    def finish(self) -> None:
        self.owner.track(self.connection, gone=True)
        super().finish()

    def _serve(self) -> None:
        body, headers = self.request_body(), self.header_map()
        if self.path.startswith("http"):  # What a proxy in between makes of it.
            self.path = "/" + self.path.split("/", 3)[3]
        asked = Asked(self.command, self.path, headers)
        self.owner.asked.append(asked)
        fault = self.owner.rule(asked) or Fault()
        try:
            if fault.hold is not None:
                while not fault.hold.wait(0.05) and not self.owner.stopping.is_set():
                    pass
            if fault.status:
                self._begin(fault.status, dict(fault.headers), len(fault.body))
                self._send(fault.body, fault, 0)
            else:
                self._pass_on(body, fault)
        except (_Broken, OSError, http.client.HTTPException):
            self.close_connection = True

    do_HEAD = do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 (the server's names)

    def _pass_on(self, body: bytes, fault: Fault) -> None:
        if self.owner.upstream_tls:
            upstream: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.owner.address, self.owner.upstream, timeout=60, context=self.owner.upstream_tls
            )
        else:
            upstream = http.client.HTTPConnection(
                self.owner.address, self.owner.upstream, timeout=60
            )
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                host = name.lower() == "host" and self.owner.upstream_host
                upstream.putheader(name, host or value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            self._answer(answer, fault)

    def _answer(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        headers = {n: v for n, v in answer.getheaders() if n.lower() not in _HOP}
        for name, value in fault.headers.items():
            headers = {n: v for n, v in headers.items() if n.lower() != name.lower()}
            headers[name] = value
        length = answer.getheader("Content-Length")
        if self.command == "HEAD":
            self._begin(answer.status, headers, int(length or 0))
            return
        if length is None or fault.rewrite is not None or fault.excess or fault.keep is not None:
            content = answer.read()
            if fault.rewrite is not None:
                content = fault.rewrite(content)
            content = content[: fault.keep] + fault.excess
            self._begin(answer.status, headers, len(content))
            self._send(content, fault, 0)
            return
        self._begin(answer.status, headers, int(length))
        position = 0
        while piece := answer.read(_PIECE):
            self._send(piece, fault, position)
            position += len(piece)

    def _begin(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in {204, 304}:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, piece: bytes, fault: Fault, position: int) -> None:
        """Send a piece of the body that begins at `position`."""
        end = position + len(piece)
        if fault.flip is not None and position <= fault.flip < end:
            at = fault.flip - position
            piece = piece[:at] + bytes([piece[at] ^ 0x10]) + piece[at + 1 :]
        limits = [
            n for n in (fault.stall_after, fault.reset_after, fault.cut_after) if n is not None
        ]
        limit = min(limits, default=end)
        self._write(piece[: max(0, limit - position)], fault)
        if not limits or limit >= end:
            return
        self.wfile.flush()
        if limit == fault.stall_after:
            self.owner.stopping.wait()
        elif limit == fault.reset_after:
            # Linger 0 makes close() send RST, provided that nothing said FIN before.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.owner.track(self.connection, gone=True)
            os.close(self.connection.detach())
        raise _Broken

    def _write(self, piece: bytes, fault: Fault) -> None:
        if fault.trickle is None:
            self.wfile.write(piece)
            return
        for at in range(len(piece)):
            self.wfile.write(piece[at : at + 1])
            self.wfile.flush()
            if self.owner.stopping.wait(1 / fault.trickle):
                raise _Broken


class FaultProxy(LocalHttpServer):
    """Listens on a free port of loopback until its `with` block ends.

    Args:
        upstream: Port of the server.
        host: What the server is told as `Host`; "" passes on what the client says, as signatures
            over it need.
        tls: What the clients' side speaks; None is plain HTTP.
        upstream_tls: What the server's side speaks.
        address: Where it listens, and where the server does.
    """

    handler = _Handler

    def __init__(
        self,
        upstream: int,
        *,
        host: str = "",
        tls: ssl.SSLContext | None = None,
        upstream_tls: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.upstream = upstream
        self.address = address
        self.upstream_host = host
        self.rule: Rule = clean
        self.asked: list[Asked] = []
        self.tls = tls
        self.upstream_tls = upstream_tls
        self.stopping = threading.Event()
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return self.url

    def twin(self) -> FaultProxy:
        """Another one before the same server, yet to be entered."""
        return FaultProxy(
            self.upstream, host=self.upstream_host, tls=self.tls, upstream_tls=self.upstream_tls
        )

    def count(self, what: Callable[[Asked], bool]) -> int:
        """How many of the requests so far fit."""
        return sum(1 for asked in list(self.asked) if what(asked))

    def reset(self) -> None:
        """Forget requests, and do no more harm."""
        self.rule = clean
        self.asked = []

    def track(self, client: socket.socket, *, gone: bool = False) -> None:
        with self._lock:
            (self._clients.discard if gone else self._clients.add)(client)

    @override
    def before_close(self) -> None:
        self.stopping.set()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
