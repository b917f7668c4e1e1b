"""A local HTTP server that stands for somebody at the edge: it answers as told and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from certificates import Pair
from http_server import HttpHandler, LocalHttpServer


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


class _Handler(HttpHandler):
    owner: Edge

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.request_body()
        call = Call(self.command, parts.path, parse_qs(parts.query), self.header_map(), body)
        self.owner.calls.append(call)
        reply = self.owner.answer(call)
        if reply.hold is None:
            self.send_body(reply.status, reply.body, reply.headers)
            return
        self.send_body(reply.status, reply.body, reply.headers, cut=1)
        self.wfile.flush()
        reply.hold.wait(30)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 (the server's names)


class Edge(LocalHttpServer):
    """`with Edge(answer) as edge:` serves at `edge.url`; `edge.calls` holds what came."""

    handler = _Handler

    def __init__(self, answer: Callable[[Call], Reply], tls: Pair | None = None) -> None:
        self.answer = answer
        self.tls = None if tls is None else _context(tls)
        self.calls: list[Call] = []


def _context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context
