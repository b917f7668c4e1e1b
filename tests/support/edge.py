"""A local HTTP server that stands for somebody at the edge: it answers as told and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

from certificates import Pair


@dataclass(frozen=True)
class Call:
    """A request."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """Its answer.

    Attributes:
        hold: Waited for in mid-body; the answer is one byte long until then.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None

    @classmethod
    def document(cls, value: Any, status: int = 200) -> Reply:
        return cls(status, json.dumps(value).encode())


class Edge:
    """`with Edge(answer) as edge:` serves at `edge.url`; `edge.calls` holds what came."""

    def __init__(self, answer: Callable[[Call], Reply], tls: Pair | None = None) -> None:
        self.answer = answer
        self._tls = tls
        self.calls: list[Call] = []

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"edge": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if self._tls is not None:
            self._server.socket = _context(self._tls).wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    edge: Edge

    @override
    def handle(self) -> None:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            super().handle()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        call = Call(self.command, parts.path, parse_qs(parts.query), headers, body)
        self.edge.calls.append(call)
        reply = self.edge.answer(call)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.hold is not None:
            self.wfile.write(reply.body[:1])
            self.wfile.flush()
            reply.hold.wait(30)
            self.close_connection = True
            return
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 (the server's names)
