from __future__ import annotations

from typing import Any

import orjson
import pytest

from slipway_server.errors import Code
from slipway_server.frontends.access_log import AccessLog, AccessLogMode, AccessLogRule
from slipway_server.frontends.http.messages import HttpRequest, HttpResponse
from slipway_server.observability.telemetry import Telemetry


class Log:
    def __init__(self, mode: AccessLogMode, sampling: float = 1.0, numbers: Any = (0.5,)) -> None:
        self.written = b""
        drawn = iter(numbers * 100)
        self.log = AccessLog(
            AccessLogRule(mode, sampling),
            random=lambda: next(drawn),
            new_id=lambda: "made-1",
            write=self._write,
            now=lambda: 0.5,
        )
        self.now = 0.0
        self.telemetry = Telemetry(lambda _name: True, ended=self.log.ended, clock=lambda: self.now)

    def _write(self, data: bytes) -> None:
        self.written += data

    def request(self, code: Code = Code.OK, model: str = "m") -> None:
        call = self.telemetry.begin("Predict", "REST")
        call.model, call.version, call.signature = model, 3, "s"
        self.now += 0.25
        self.telemetry.end(call, code)

    def lines(self) -> list[dict[str, Any]]:
        self.log.close()
        return [orjson.loads(line) for line in self.written.splitlines()]


class Context:
    def invocation_metadata(self) -> Any:
        return (("user-agent", "x"), ("x-request-id", "r-2"))

    def peer(self) -> str:
        return "ipv4:10.0.0.1:5"


def test_a_line() -> None:
    log = Log(AccessLogMode.ALL)
    request = HttpRequest(peer="127.0.0.1:9", headers={b"x-request-id": b"r-1"})

    def api(_request: HttpRequest) -> HttpResponse:
        log.request()
        return HttpResponse(200)

    log.log.rest(api)(request)
    assert log.lines() == [
        {
            "event": "request",
            "time": "1970-01-01T00:00:00.500000+00:00",
            "protocol": "REST",
            "method": "Predict",
            "model": "m",
            "version": 3,
            "signature": "s",
            "code": "OK",
            "seconds": 0.25,
            "peer": "127.0.0.1:9",
            "request_id": "r-1",
        }
    ]


def test_who_calls_over_grpc() -> None:
    log = Log(AccessLogMode.ALL)

    def method(_request: bytes, _context: Any) -> bytes:
        log.request()
        return b""

    log.log.rpc({"/p": method})["/p"](b"", Context())  # type: ignore[arg-type]
    (line,) = log.lines()
    assert (line["peer"], line["request_id"]) == ("ipv4:10.0.0.1:5", "r-2")


def test_a_rest_request_without_an_id_gets_one_that_goes_back() -> None:
    log = Log(AccessLogMode.ALL)
    request = HttpRequest()
    log.log.rest(lambda _request: HttpResponse(200))(request)
    assert request.headers[b"x-request-id"] == b"made-1"


@pytest.mark.parametrize(
    ("mode", "sampling", "numbers", "codes"),
    [
        (AccessLogMode.ERRORS, 1.0, (0.5,), ["NOT_FOUND"]),
        (AccessLogMode.ALL, 1.0, (0.999,), ["OK", "NOT_FOUND", "OK"]),
        (AccessLogMode.ALL, 0.0, (0.0,), ["NOT_FOUND"]),
        (AccessLogMode.ALL, 0.5, (0.4, 0.6), ["OK", "NOT_FOUND"]),
    ],
)
def test_which_are_told_of(
    mode: AccessLogMode, sampling: float, numbers: Any, codes: list[str]
) -> None:
    log = Log(mode, sampling, numbers)
    for code in (Code.OK, Code.NOT_FOUND, Code.OK):
        log.request(code)
    assert [line["code"] for line in log.lines()] == codes


def test_long_names_are_cut() -> None:
    log = Log(AccessLogMode.ALL)
    log.request(model="x" * 10_000)
    assert log.lines()[0]["model"] == "x" * 200


def test_lines_that_are_left_out_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(AccessLogMode.ALL)
    offer = log.log._lines.offer
    refusals = iter([False, False])
    monkeypatch.setattr(
        log.log._lines, "offer", lambda *a: next(refusals, None) is None and offer(*a)
    )
    for _ in range(3):
        log.request()
    lines = log.lines()
    assert lines[1:] == [{"event": "requests dropped from the access log", "count": 2}]
