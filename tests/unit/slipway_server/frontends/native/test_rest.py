"""Between the extension module's REST port and the handlers: what each is told of the other."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from slipway_server.frontends.http.messages import HttpRequest, HttpResponse
from slipway_server.frontends.http.server import RestLimits
from slipway_server.frontends.native.rest import NativeRestServer


class Module:
    """Stands for the extension module's class, and keeps what it is told."""

    def __init__(self, answer: Any, page: Any, **options: Any) -> None:
        self.answer, self.page, self.options = answer, page, options
        self.pages: dict[str, Any] = {}
        self.ready: bool | None = None
        self.bound: list[tuple[int, bool]] = []

    def bind(self, port: int, pages_only: bool) -> int:  # noqa: FBT001 - as the module has it
        if port == 1:
            raise OSError("Permission denied")
        self.bound.append((port, pages_only))
        return port

    def serve(self) -> None:
        pass

    def set_page(self, path: str, of: Any) -> None:
        self.pages[path] = of

    def set_ready(self, ready: bool) -> None:  # noqa: FBT001 - as the module has it
        self.ready = ready


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("slipway_server._native")
    vars(fake)["NativeRest"] = Module
    monkeypatch.setitem(sys.modules, fake.__name__, fake)


def _port(*numbers: int | None, **more: Any) -> tuple[NativeRestServer, Module]:
    port, health = numbers or (8501, None)
    more = {"fixed": {}, "pages": {}, **more}
    server = NativeRestServer(port, RestLimits(threads=1), health_port=health, **more)
    front: Any = server._front
    return server, front


def test_a_handler_sees_the_last_of_equal_headers_and_how_long_it_may_take() -> None:
    server, front = _port()
    seen: list[HttpRequest] = []

    def api(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse(200, b"{}", headers=(("A", "b"),))

    server.serve(api)
    headers = [(b"x", b"1"), (b"x", b"2"), (b"x-request-id", b"id-1")]
    reply = front.answer("POST", b"/v1/a?b", headers, b"body", "1.2.3.4:5", 7.0)
    assert reply == (
        200,
        "application/json",
        [("A", "b"), ("X-Request-Id", "id-1")],
        b"{}",
        False,
    )
    [request] = seen
    assert (request.method, request.path, request.body, request.peer) == (
        "POST",
        "/v1/a",
        b"body",
        "1.2.3.4:5",
    )
    assert request.headers[b"x"] == b"2"
    assert request.deadline is not None
    front.answer("POST", b"/", [], b"", "", None)
    assert seen[1].deadline is None


def test_a_handler_that_raises_is_an_internal_error_and_one_that_is_missing_a_refusal() -> None:
    server, front = _port()
    assert front.answer("GET", b"/v1/models", [], b"", "", None)[0] == 503

    def broken(_request: HttpRequest) -> HttpResponse:
        raise ValueError("no such model")

    server.serve(broken)
    status, _, _, body, _ = front.answer("GET", b"/v1/models", [], b"", "", None)
    assert (status, body) == (500, b'{"error":"Internal error: ValueError: no such model"}')


def test_pages_are_told_at_the_start_and_with_each_change() -> None:
    now = {"text": b"starting"}

    def broken() -> HttpResponse:
        raise ValueError("no series")

    server, front = _port(
        fixed={"/livez": lambda: HttpResponse(200, b"ok")},
        pages={"/readyz": lambda: HttpResponse(503, now["text"])},
        slow_pages={"/metrics": broken},
    )
    assert [(path, of[3]) for path, of in front.options["fixed"]] == [("/livez", b"ok")]
    assert [(path, of[3]) for path, of in front.options["last"]] == [("/readyz", b"starting")]
    now["text"] = b"loading"
    server.refresh(ready=False)
    assert (front.pages["/readyz"][3], front.ready) == (b"loading", False)
    assert front.page("/readyz")[3] == b"loading"
    assert front.page("/metrics")[0] == 500


def test_the_health_port_has_pages_alone_and_a_port_that_is_taken_is_named() -> None:
    assert _port(8501, 8501)[1].bound == [(8501, False), (8501, True)]
    assert _port(None, 8502)[1].bound == [(8502, True)]
    with pytest.raises(OSError, match=r"^Cannot listen on port 1 for HTTP: Permission denied$"):
        _port(1, None)
