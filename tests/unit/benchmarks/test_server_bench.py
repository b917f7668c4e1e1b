"""The benchmark's own arithmetic, and how it reads what the load generators print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server_bench.generators import GrpcCall, Load, RestCall
from server_bench.report import Verdict
from server_bench.statistics import interleaved, interval
from server_bench.subjects import Goal, goals

HEY = """
Summary:
  Total:	0.5005 secs
  Requests/sec:	5140.9

Latency distribution:
  10%% in 0.0021 secs
  50%% in 0.0030 secs
  99%% in 0.0091 secs

Status code distribution:
  [200]	2571 responses
  [503]	2 responses

Error distribution:
  [3]	Post "http://127.0.0.1:1": connection refused
"""


def test_drift_of_the_machine_touches_all_alike() -> None:
    order = interleaved("AB", 6)
    positions = {name: sum(at for at, one in enumerate(order) if one == name) for name in "AB"}
    assert order[:4] == ["A", "B", "B", "A"]
    assert positions["A"] == positions["B"]


def test_the_interval_holds_the_ratio_of_medians_and_widens_with_noise() -> None:
    def ratio(a: float, b: float) -> float:
        return a / b

    calm = interval([[10, 10.1, 9.9, 10, 10], [5, 5, 5.1, 4.9, 5]], ratio)
    rough = interval([[10, 15, 6, 10, 12], [5, 3, 5.1, 8, 5]], ratio)
    assert calm[0] == pytest.approx(2.0)
    assert calm[1] <= calm[0] <= calm[2]
    assert rough[2] - rough[1] > 5 * (calm[2] - calm[1])


@pytest.mark.parametrize(
    ("value", "low", "high", "callers", "word"),
    [
        (1.2, 1.1, 1.3, 16, "met"),
        (1.4, 1.3, 1.6, 16, "met, within noise"),
        (1.6, 1.4, 1.7, 16, "missed, within noise"),
        (1.9, 1.8, 2.0, 16, "missed"),
        (1.9, 1.8, 2.0, 1, ""),
    ],
)
def test_a_verdict_is_no_better_than_its_interval(
    value: float, low: float, high: float, callers: int, word: str
) -> None:
    goal = Goal("a", (), lambda: 0.0, 1.5)
    assert Verdict(goal, callers, value, low, high).word == word


def test_the_floor_is_the_echo_plus_the_bare_call() -> None:
    floor = next(goal for goal in goals(10.0) if "TensorFlow call" in goal.name)
    assert floor.figure(150.0, 90.0) == pytest.approx(1.5)


def test_reads_hey() -> None:
    load = RestCall("http://127.0.0.1:1", Path("body")).read(HEY)
    assert load == Load(requests=2576, failed=5, rate=5140.9, p50=3.0, p99=9.1)


def test_reads_ghz() -> None:
    said = {
        "count": 10,
        "rps": 2.5,
        "statusCodeDistribution": {"OK": 9, "Unavailable": 1},
        "latencyDistribution": [
            {"percentage": 50, "latency": 2_000_000},
            {"percentage": 99, "latency": 5_000_000},
        ],
    }
    load = GrpcCall("a:1", "a.B.C", Path("set"), Path("body")).read(json.dumps(said))
    assert load == Load(requests=10, failed=1, rate=2.5, p50=2.0, p99=5.0)
