"""§11: what is told of runs, loads, memory and requests in flight."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_server.core.states import Availability, VersionState
from slipway_server.errors import Code, ServingError
from slipway_server.observability import run_metrics
from slipway_server.observability.load_metrics import InFlight, LoadMetrics, resident_bytes
from slipway_server.observability.run_metrics import RunMetrics
from slipway_server.observability.telemetry import Telemetry

MB = 1 << 20
PATH = "/models/m/1"


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry({"m"}.__contains__)


def _lines(telemetry: Telemetry) -> list[str]:
    return telemetry.text().decode().splitlines()


def test_runs_by_both_names(telemetry: Telemetry) -> None:
    runs = RunMetrics(telemetry.registry)
    runs.ran("Predict", "m", 3, "s", 15e-6)
    runs.ran("Predict", "m", 4, "s", 1.0)
    lines = _lines(telemetry)
    own = 'method="Predict",model="m",signature="s",version="3"'
    assert f'slipway_run_seconds_bucket{{le="1.8e-05",{own}}} 1.0' in lines
    assert f"slipway_run_seconds_count{{{own}}} 1.0" in lines
    classic = ":tensorflow:serving:runtime_latency"
    labels = 'API="Predict",model_name="m",runtime="TF1"'
    bucket = 'API="Predict",le="{}",model_name="m",runtime="TF1"'
    assert f"# TYPE {classic} histogram" in lines
    assert f"{classic}_bucket{{{bucket.format(10)}}} 0.0" in lines
    assert f"{classic}_bucket{{{bucket.format(18)}}} 1.0" in lines
    assert f"{classic}_count{{{labels}}} 2.0" in lines
    assert _value(telemetry, f"{classic}_sum{{{labels}}}") == pytest.approx(1_000_015)
    assert sum(line.startswith(f"{classic}_bucket") for line in lines) == 34


def test_examples_are_counted(telemetry: Telemetry) -> None:
    runs = RunMetrics(telemetry.registry)
    for examples in (1, 3, 100_000):
        runs.ran("Classify", "m", 1, "s", 0.1, examples)
    lines = _lines(telemetry)
    name = ":tensorflow:serving:request_example_count"
    assert f"# TYPE {name}s histogram" in lines
    assert f'{name}s_bucket{{le="1",model="m"}} 1.0' in lines
    assert f'{name}s_bucket{{le="4",model="m"}} 2.0' in lines
    assert f'{name}s_bucket{{le="16384",model="m"}} 2.0' in lines
    assert f'{name}s_bucket{{le="+Inf",model="m"}} 3.0' in lines
    assert f"# TYPE {name}_total counter" in lines
    assert f'{name}_total{{model="m"}} 100004.0' in lines


def test_series_of_runs_are_bounded(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_metrics, "_MAX_SERIES", 2)
    runs = RunMetrics(telemetry.registry)
    for number in range(10):
        runs.ran("Predict", "m", 1, f"s{number}", 0.1)
    counts = [line for line in _lines(telemetry) if line.startswith("slipway_run_seconds_count")]
    assert [line.rpartition(" ")[2] for line in counts] == ["1.0", "1.0", "8.0"]


class World:
    """A process whose memory and clock the test sets."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.now = 0.0
        self.resident = 100 * MB
        self.gone = False
        self.metrics = LoadMetrics(
            telemetry.registry,
            estimated=self._estimated,
            resident=lambda: self.resident,
            clock=lambda: self.now,
        )

    def _estimated(self, _path: str) -> int:
        if self.gone:
            raise FileNotFoundError(PATH)
        return 12 * MB

    def state(self, availability: Availability, version: int = 1, code: Code | None = None) -> None:
        error = ServingError(code, "no") if code else None
        self.metrics.changed(VersionState("m", version, availability, error), PATH)


@pytest.fixture
def world(telemetry: Telemetry) -> World:
    return World(telemetry)


def _value(telemetry: Telemetry, series: str) -> Any:
    found = [line.rpartition(" ") for line in _lines(telemetry)]
    return next((float(value) for name, _, value in found if name == series), None)


def test_a_load_that_is_alone_is_measured(telemetry: Telemetry, world: World) -> None:
    world.state(Availability.LOADING)
    world.resident += 30 * MB
    world.now = 2.0
    world.state(Availability.AVAILABLE)
    labels = 'model="m",source="{}",version="1"'
    memory = "slipway_model_version_resident_bytes"
    assert _value(telemetry, f"{memory}{{{labels.format('measured')}}}") == 30 * MB
    assert _value(telemetry, f"{memory}{{{labels.format('estimated')}}}") is None
    version = 'model="m",version="1"'
    assert _value(telemetry, f"slipway_model_version_state{{{version}}}") == 30
    assert _value(telemetry, f"slipway_model_version_load_seconds{{{version}}}") == 2
    assert _value(telemetry, 'slipway_model_load_seconds_sum{model="m",outcome="OK"}') == 2
    classic = ":tensorflow:cc:saved_model:"
    attempts = f'{classic}load_attempt_count{{model_path="{PATH}",status="success"}}'
    assert _value(telemetry, attempts) == 1
    assert _value(telemetry, f'{classic}load_latency{{model_path="{PATH}"}}') == 2e6
    assert f"# TYPE {classic}load_latency counter" in _lines(telemetry)
    world.state(Availability.UNLOADING)
    world.state(Availability.END)
    assert _value(telemetry, f"{memory}{{{labels.format('measured')}}}") is None
    assert _value(telemetry, f"slipway_model_version_state{{{version}}}") == 50


def test_loads_side_by_side_are_estimated(telemetry: Telemetry, world: World) -> None:
    world.state(Availability.LOADING, 1)
    world.state(Availability.LOADING, 2)
    world.resident += 30 * MB
    world.state(Availability.AVAILABLE, 2)
    world.state(Availability.AVAILABLE, 1)
    for version in "12":
        series = f'model="m",source="estimated",version="{version}"'
        assert _value(telemetry, f"slipway_model_version_resident_bytes{{{series}}}") == 12 * MB


def test_files_that_are_gone_after_the_load_are_no_fault(
    telemetry: Telemetry, world: World
) -> None:
    world.gone = True
    world.state(Availability.LOADING, 1)
    world.state(Availability.LOADING, 2)
    world.state(Availability.AVAILABLE, 2)
    series = 'model="m",source="estimated",version="2"'
    assert _value(telemetry, f"slipway_model_version_resident_bytes{{{series}}}") is None
    assert _value(telemetry, 'slipway_model_version_load_seconds{model="m",version="2"}') == 0


def test_a_failed_load_after_several_attempts_is_one(telemetry: Telemetry, world: World) -> None:
    for now in (0.0, 5.0):
        world.now = now
        world.state(Availability.LOADING, code=Code.UNKNOWN)
    world.now = 7.0
    world.state(Availability.END, code=Code.DATA_LOSS)
    assert _value(telemetry, 'slipway_model_load_seconds_sum{model="m",outcome="DATA_LOSS"}') == 7
    name = ":tensorflow:cc:saved_model:load_attempt_count"
    assert _value(telemetry, f'{name}{{model_path="{PATH}",status="fail"}}') == 1


def test_a_version_that_ends_before_it_was_loaded(telemetry: Telemetry, world: World) -> None:
    world.state(Availability.START)
    world.state(Availability.END)
    state = 'slipway_model_version_state{model="m",version="1"}'
    assert _value(telemetry, state) == 50


def test_in_flight(telemetry: Telemetry) -> None:
    InFlight(telemetry.registry, lambda: {("m", 3): 5}, lambda: {"GRPC": 2})
    assert _value(telemetry, 'slipway_requests_in_flight{model="m",version="3"}') == 5
    assert _value(telemetry, 'slipway_requests_waiting{protocol="GRPC"}') == 2


def test_the_process_is_told_of(telemetry: Telemetry, world: World) -> None:
    assert world.resident
    resident = _value(telemetry, "process_resident_memory_bytes")
    assert resident == pytest.approx(resident_bytes(), rel=0.5)


def test_classic_names_have_types_and_no_help(telemetry: Telemetry, world: World) -> None:
    RunMetrics(telemetry.registry).ran("Predict", "m", 1, "s", 0.1)
    world.state(Availability.LOADING)
    call = telemetry.begin("Predict", "GRPC")
    call.model = "m"
    telemetry.end(call, Code.OK)
    lines = _lines(telemetry)
    assert not [line for line in lines if line.startswith("# HELP :")]
    types = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE :")}
    assert types[":tensorflow:serving:request_count"] == "counter"
    assert types[":tensorflow:serving:request_latency"] == "histogram"
    assert types[":tensorflow:cc:saved_model:load_attempt_count"] == "counter"
    assert any(line.startswith("# HELP slipway_") for line in lines)
