"""Spans of requests, of runs and of batches: whose they are, how long, and what they say."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from slipway_server.errors import Code
from slipway_server.observability import tracing as module
from slipway_server.observability.telemetry import Call
from slipway_server.observability.tracing import Tracing, open_tracing

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"}
SECOND = 1_000_000_000


class Traced:
    """What was traced, at times that the test sets."""

    def __init__(self) -> None:
        self.now = 100 * SECOND
        self._kept = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracing = Tracing(provider, now=lambda: self.now)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._kept.get_finished_spans() if span.name == name]


@pytest.fixture
def traced() -> Iterator[Traced]:
    one = Traced()
    yield one
    one.tracing.close()


def call(code: Code = Code.OK) -> tuple[Call, Code]:
    return Call("Predict", "GRPC", 0.0, "digits", 3, "serving_default"), code


def test_a_request_goes_on_with_the_trace_of_its_caller(traced: Traced) -> None:
    with traced.tracing.request("x", CALLER):
        traced.tracing.ran(2.0)
        traced.tracing.ended(*call())
    [span], [run] = traced.spans("Predict"), traced.spans("run")
    assert f"{span.context.trace_id:032x}" == f"{run.context.trace_id:032x}" == TRACE
    assert span.parent
    assert f"{span.parent.span_id:016x}" == PARENT
    assert run.parent == span.context
    assert (run.start_time, run.end_time) == (98 * SECOND, 100 * SECOND)
    assert dict(span.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.method": "Predict",
        "slipway.model": "digits",
        "slipway.version": 3,
        "slipway.signature": "serving_default",
        "slipway.code": "OK",
    }


@pytest.mark.parametrize(
    "headers", [{}, {"traceparent": "nonsense"}, {"traceparent": "00-" + "0" * 60}]
)
def test_without_a_usable_caller_it_begins_a_trace(traced: Traced, headers: dict[str, str]) -> None:
    with traced.tracing.request("x", headers):
        pass
    [span] = traced.spans("x")
    assert span.parent is None


def test_what_the_caller_does_not_want_recorded_is_not(traced: Traced) -> None:
    with traced.tracing.request("x", {"traceparent": f"00-{TRACE}-{PARENT}-00"}):
        traced.tracing.ran(1.0)
    assert traced.spans("x") == traced.spans("run") == []


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.OK, "UNSET"),
        (Code.NOT_FOUND, "UNSET"),
        (Code.INTERNAL, "ERROR"),
        (Code.UNAVAILABLE, "ERROR"),
    ],
)
def test_only_faults_of_the_server_are_errors(traced: Traced, code: Code, status: str) -> None:
    with traced.tracing.request("x", {}):
        traced.tracing.ended(*call(code))
    [span] = traced.spans("Predict")
    assert span.status.status_code.name == status


def test_a_batch_is_in_the_trace_of_each_of_its_requests(traced: Traced) -> None:
    waiting = []
    for number in (1, 2):
        with traced.tracing.request(f"r{number}", {}):
            waiting.append(traced.tracing.waiting())
    traced.now += 5 * SECOND
    traced.tracing.ran_batch([*waiting, None], [1.0, 3.0, 0.5], rows=4, size=8)
    requests = [traced.spans(f"r{number}")[0] for number in (1, 2)]
    batches = traced.spans("batch")
    assert [batch.parent for batch in batches] == [request.context for request in requests]
    assert [batch.start_time for batch in batches] == [101 * SECOND, 103 * SECOND]
    assert {batch.end_time for batch in batches} == {105 * SECOND}
    assert dict(batches[0].attributes or {}) == {
        "slipway.batch.requests": 3,
        "slipway.batch.rows": 4,
        "slipway.batch.size": 8,
    }


def test_other_threads_and_later_requests_are_not_in_the_trace(traced: Traced) -> None:
    with traced.tracing.request("x", {}):
        other = threading.Thread(target=traced.tracing.ran, args=(1.0,))
        other.start()
        other.join()
    traced.tracing.ran(1.0)
    traced.tracing.ended(*call())
    assert traced.tracing.waiting() is None
    assert traced.spans("run") == []
    assert len(traced.spans("x")) == 1


def test_a_request_that_fails_ends_its_span(traced: Traced) -> None:
    with pytest.raises(KeyError), traced.tracing.request("x", {}):
        raise KeyError
    assert len(traced.spans("x")) == 1
    assert traced.tracing.waiting() is None


@pytest.mark.parametrize(
    "environment", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}],
)  # fmt: skip
def test_nobody_pays_who_does_not_ask(environment: dict[str, str]) -> None:
    assert open_tracing(environment, "1") is None


def test_a_missing_package_is_told_once_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # As where another package has brought the API alone.
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with capture_logs() as lines:
        assert open_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "1") is None
    [line] = lines
    assert line["problem"].startswith(
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed ("
    )
    assert line["problem"].endswith("): pip install 'slipway-server[tracing]'")


def test_a_variable_that_cannot_be_used_is_told_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with capture_logs() as lines:
        assert open_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "1") is None
    [line] = lines
    assert "OpenTelemetry cannot be set up as its variables say" in line["problem"]


def test_a_collector_that_is_away_is_told_once_a_minute() -> None:
    now = [1000.0]
    handler = module._OnceAMinute(lambda: now[0])
    record = logging.LogRecord("opentelemetry", logging.ERROR, "", 1, "no %s", ("way",), None)
    with capture_logs() as lines:
        for _ in range(3):
            handler.emit(record)
        now[0] += 61
        handler.emit(record)
    assert [line["problem"] for line in lines] == ["no way", "no way"]
