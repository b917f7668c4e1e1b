"""REST ports of both fronts in the test's own process, without TensorFlow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

from slipway_server.frontends.http.messages import HttpRequest, HttpResponse
from slipway_server.frontends.http.server import RestLimits, RestServer
from slipway_server.frontends.native.rest import NativeRestServer

WAIT = 60.0

AnyRest = RestServer | NativeRestServer


class Gate:
    """Work that lasts until the test lets it end."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()

    def pass_through(self) -> None:
        self.entered.release()
        assert self._open.wait(WAIT)

    def let_go(self) -> None:
        self._open.set()


def rest_ports(gate: Gate, front: str) -> Iterator[Any]:
    """Yield what starts a port of one front, and stop all in the end.

    `/busy` waits at the gate, `/echo` answers with the body, `/head` with the headers that came.
    """
    started: list[AnyRest] = []

    def api(request: HttpRequest) -> HttpResponse:
        if request.path == "/busy":
            gate.pass_through()
        if request.path == "/echo":
            return HttpResponse(200, request.body)
        if request.path == "/head":
            head = {name.decode(): value.decode() for name, value in request.headers.items()}
            return HttpResponse(200, json.dumps(head).encode())
        return HttpResponse(200, b"{}")

    def start(limits: RestLimits | None = None, **more: Any) -> AnyRest:
        pages = {"/livez": lambda: HttpResponse(200, b"ok")}
        limits = limits or RestLimits(threads=2)
        server: AnyRest
        if front == "native":
            more = {"pages": {}, **more}
            server = NativeRestServer(0, limits, fixed=pages, **more)
        else:
            server = RestServer(0, pages, limits, **more)
        server.start()
        server.serve(api)
        started.append(server)
        return server

    yield start
    gate.let_go()
    for server in started:
        server.stop(1.0)
