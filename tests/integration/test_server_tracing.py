"""A real server's traces, as a collector receives them over OpenTelemetry's protocol."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from exchanges import Ask, Stubs
from http_server import HttpHandler, LocalHttpServer
from modelserver import ModelServer, eventually, free_port, running
from savedmodels import save_double

OVER_GRPC, OVER_REST, THIRD = "1" * 32, "2" * 32, "3" * 32
BATCHING = "max_batch_size { value: 2 } batch_timeout_micros { value: 60000000 }"
FLAGS = ("--model_name=m", "--enable_batching", f"--batching_parameters={BATCHING}")


class _Receive(HttpHandler):
    def do_POST(self) -> None:  # noqa: N802
        asked = ExportTraceServiceRequest.FromString(self.request_body())
        self.owner.received.append((self.path, asked))
        self.send_body(200, ExportTraceServiceResponse().SerializeToString())


class Collector(LocalHttpServer):
    handler = _Receive

    def __init__(self) -> None:
        self.received: list[tuple[str, ExportTraceServiceRequest]] = []

    def spans(self) -> list[Span]:
        return [
            span
            for _, asked in self.received
            for resource in asked.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("traced")
    save_double(root / "m" / "1", 1)
    return root


def ask_over_grpc(server: ModelServer, trace: str) -> None:
    stubs = Stubs(server.target)
    request = stubs.predict_request(Ask({"x": ("float", [1.0])}, model="m"), content=True)
    stubs.prediction.Predict(request, metadata=(("traceparent", f"00-{trace}-{'a' * 16}-01"),))
    stubs.channel.close()


def ask_over_rest(server: ModelServer, trace: str, model: str = "m") -> int:
    headers = {"traceparent": f"00-{trace}-{'b' * 16}-01"}
    path = f"/v1/models/{model}:predict"
    return server.http.post(path, json={"instances": [1.0]}, headers=headers).status_code


def test_one_trace_leads_from_a_request_of_either_protocol_through_its_batch(models: Path) -> None:
    with (
        Collector() as collector,
        running(
            models, f"--model_base_path={models / 'm'}", *FLAGS,
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "digits"},
        ) as server,
        ThreadPoolExecutor(2) as pool,
    ):  # fmt: skip
        server.wait_ready()
        both = [
            pool.submit(ask_over_grpc, server, OVER_GRPC),
            pool.submit(ask_over_rest, server, OVER_REST),
        ]
        for one in both:
            one.result()
        assert ask_over_rest(server, THIRD, "unknown") == 404
        assert server.terminate() == 0
        path, first = collector.received[0]
    assert path == "/v1/traces"
    resource = {
        one.key: one.value.string_value for one in first.resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "digits"
    assert resource["service.version"]
    by_trace: dict[str, dict[str, Span]] = defaultdict(dict)
    for span in collector.spans():
        by_trace[span.trace_id.hex()][span.name] = span
    assert set(by_trace) == {OVER_GRPC, OVER_REST, THIRD}
    assert set(by_trace[THIRD]) == {"Predict"}
    for trace, caller, protocol in ((OVER_GRPC, "a", "grpc"), (OVER_REST, "b", "rest")):
        request, run, batch = (by_trace[trace][name] for name in ("Predict", "run", "batch"))
        assert request.parent_span_id.hex() == caller * 16
        assert run.parent_span_id == batch.parent_span_id == request.span_id
        about = {one.key: one.value for one in request.attributes}
        assert about["rpc.system"].string_value == protocol
        assert about["slipway.version"].int_value == 1
        sizes = {one.key: one.value.int_value for one in batch.attributes}
        assert sizes["slipway.batch.requests"] == sizes["slipway.batch.size"] == 2
        assert request.start_time_unix_nano <= batch.start_time_unix_nano < batch.end_time_unix_nano


def test_a_collector_that_is_away_holds_up_nobody(models: Path) -> None:
    away = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    with running(models, f"--model_base_path={models / 'm'}", "--model_name=m", env=away) as server:
        server.wait_ready()
        for _ in range(20):
            assert ask_over_rest(server, OVER_REST) == 200
        eventually("it is told", lambda: server.events("traces are not sent"))
        assert ask_over_rest(server, OVER_REST) == 200
        assert server.terminate() == 0
    assert len(server.events("traces are not sent")) == 1
    assert "Traceback" not in server.log_path.read_text()
