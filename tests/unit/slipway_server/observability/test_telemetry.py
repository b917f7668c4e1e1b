"""§11: requests counted and timed under both families of names."""

from __future__ import annotations

import threading

import pytest

from slipway_server.errors import Code
from slipway_server.observability.histogram import CLASSIC_MICROSECONDS
from slipway_server.observability.run_metrics import RunMetrics
from slipway_server.observability.telemetry import SECONDS, PredictCounts, Telemetry


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry(frozenset({"m"}).__contains__, clock=clock)


def _request(
    telemetry: Telemetry,
    clock: Clock,
    method: str = "Predict",
    protocol: str = "GRPC",
    *,
    seconds: float = 0.0,
    code: Code = Code.OK,
    model: str = "m",
) -> None:
    call = telemetry.begin(method, protocol)
    call.model, call.version, call.signature = model, 3, "s"
    clock.now += seconds
    telemetry.end(call, code)


def _lines(telemetry: Telemetry) -> list[str]:
    return telemetry.text().decode().splitlines()


def test_slipways_names(telemetry: Telemetry, clock: Clock) -> None:
    for seconds, code in ((0.0004, Code.OK), (0.002, Code.OK), (40.0, Code.INTERNAL)):
        _request(telemetry, clock, seconds=seconds, code=code)
    lines = _lines(telemetry)
    labels = 'method="Predict",model="m",protocol="GRPC",signature="s",version="3"'
    assert f'slipway_requests_total{{code="OK",{labels}}} 2.0' in lines
    assert f'slipway_requests_total{{code="INTERNAL",{labels}}} 1.0' in lines
    latency = {"0.0005": 1, "0.001": 1, "0.0025": 2, "30": 2, "+Inf": 3}
    for limit, count in latency.items():
        assert f'slipway_request_seconds_bucket{{le="{limit}",{labels}}} {count}.0' in lines
    assert f"slipway_request_seconds_count{{{labels}}} 3.0" in lines
    assert f"slipway_request_seconds_sum{{{labels}}} 40.0024" in lines
    assert "# TYPE slipway_requests_total counter" in lines


def test_tensorflow_servings_names(telemetry: Telemetry, clock: Clock) -> None:
    _request(telemetry, clock, seconds=0.000015)
    _request(telemetry, clock, seconds=0.000015, code=Code.NOT_FOUND)
    _request(telemetry, clock, protocol="REST", seconds=0.000009)
    _request(telemetry, clock, "GetModelStatus", "REST")
    _request(telemetry, clock, "GetModelStatus", "GRPC")
    lines = _lines(telemetry)
    name = ":tensorflow:serving:request"
    assert f"# TYPE {name}_count counter" in lines
    assert f'{name}_count{{model_name="m",status="OK"}} 3.0' in lines
    assert f'{name}_count{{model_name="m",status="NOT_FOUND"}} 1.0' in lines
    grpc = 'API="Predict",entrypoint="GRPC"'
    assert f'{name}_latency_bucket{{{grpc},le="10",model_name="m"}} 0.0' in lines
    assert f'{name}_latency_bucket{{{grpc},le="18",model_name="m"}} 1.0' in lines
    assert f'{name}_latency_count{{{grpc},model_name="m"}} 1.0' in lines
    rest = 'API="predict",entrypoint="REST"'
    assert f'{name}_latency_bucket{{{rest},le="10",model_name="m"}} 1.0' in lines
    assert not any("GetModelStatus" in line for line in lines if line.startswith(f"{name}_latency"))


def test_names_that_callers_invent_make_no_series(telemetry: Telemetry, clock: Clock) -> None:
    for number in range(50):
        _request(telemetry, clock, model=f"invented-{number}", code=Code.NOT_FOUND)
    assert "invented" not in telemetry.text().decode()
    assert ':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"} 50.0' in _lines(
        telemetry
    )


def test_no_count_is_lost_between_threads(telemetry: Telemetry, clock: Clock) -> None:
    threads = [
        threading.Thread(target=lambda: [_request(telemetry, clock) for _ in range(2000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 8000.0' in _lines(
        telemetry
    )


def test_what_was_counted_elsewhere_is_added_to_the_same_series(clock: Clock) -> None:
    seconds = [0] * (len(SECONDS) + 1)
    classic = [0] * (len(CLASSIC_MICROSECONDS) + 1)
    seconds[0], classic[3] = 5, 5
    outside = [
        PredictCounts("m", 3, "s", seconds, classic, 0.5, classic, 0.25),
        PredictCounts("idle", 1, "s", [0] * len(seconds), [0] * len(classic), 0, [], 0),
    ]
    telemetry = Telemetry(frozenset({"m"}).__contains__, clock=clock, outside=lambda: outside)
    RunMetrics(telemetry.registry, outside=lambda: outside).ran("Predict", "m", 3, "s", 2.0)
    for method in ("Predict", "Classify"):
        call = telemetry.begin(method, "GRPC")
        call.model, call.version, call.signature = "m", 3, "s"
        clock.now += 1.0
        telemetry.end(call, Code.OK)
    page = telemetry.text().decode().splitlines()
    of = 'model="m",protocol="GRPC",signature="s",version="3"'
    assert f'slipway_requests_total{{code="OK",method="Predict",{of}}} 6.0' in page
    assert f'slipway_requests_total{{code="OK",method="Classify",{of}}} 1.0' in page
    assert f'slipway_request_seconds_sum{{method="Predict",{of}}} 1.5' in page
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 7.0' in page
    assert (
        'slipway_run_seconds_sum{method="Predict",model="m",signature="s",version="3"} 2.25' in page
    )
    assert not any("idle" in line for line in page)
