"""Deadlines over both protocols (§1: gRPC's own, `rest_api_timeout_in_ms`): what is late is not run.

The model waits until a test lets it go and counts its runs, so a test can tell what was run. One thread for each
protocol: a second request stands behind the first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import savedmodels
from exchanges import Ask, Stubs
from held_runs import HeldRuns
from modelserver import ModelServer, eventually, running

REST_TIMEOUT = 0.6


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    root = tmp_path_factory.mktemp("slow")
    savedmodels.save_slow(root / "slow" / "1")
    with running(
        root,
        "--model_name=slow",
        f"--model_base_path={root}/slow",
        f"--rest_api_timeout_in_ms={REST_TIMEOUT * 1000:.0f}",
        "--grpc_max_threads=1",
        "--rest_api_num_threads=1",
        "--drain_seconds=0",
    ) as server:
        yield server.wait_ready()


@pytest.fixture(scope="module")
def stubs(slow: ModelServer) -> Iterator[Stubs]:
    stubs = Stubs(slow.target)
    yield stubs
    stubs.channel.close()


@pytest.fixture(scope="module")
def held(slow: ModelServer) -> HeldRuns:
    return HeldRuns(slow.log_path.parent / "slow" / "1")


def _runs(stubs: Stubs) -> int:
    ask = Ask({"rows": ("float", [0.0])}, "slow", signature="count")
    reply = stubs.prediction.Predict(stubs.predict_request(ask, content=False))
    return int(reply.outputs["runs"].int_val[0])


def _wait(stubs: Stubs, seconds: float) -> Any:
    return stubs.predict_request(Ask({"seconds": ("float", [seconds])}, "slow"), content=False)


def test_a_grpc_deadline_that_passes_is_answered_then(stubs: Stubs, held: HeldRuns) -> None:
    run = held.hold()
    began = time.monotonic()
    code, _ = stubs.refused(
        lambda request: stubs.prediction.Predict(request, timeout=0.3), _wait(stubs, run)
    )
    # It is told while the run goes on.
    assert (code, time.monotonic() - began > 0.25) == ("DEADLINE_EXCEEDED", True)
    held.let_go(run)


def test_a_grpc_request_whose_deadline_has_passed_is_not_run(stubs: Stubs, held: HeldRuns) -> None:
    before = _runs(stubs)
    run = held.hold()
    first = stubs.prediction.Predict.future(_wait(stubs, run))
    held.wait_for(run)
    code, _ = stubs.refused(
        lambda request: stubs.prediction.Predict(request, timeout=0.5), _wait(stubs, 0.0)
    )
    assert code == "DEADLINE_EXCEEDED"
    held.let_go(run)
    assert list(first.result().outputs["size"].int_val) == [1]
    assert _runs(stubs) == before + 1


def test_a_deadline_that_is_far_enough_changes_nothing(stubs: Stubs) -> None:
    reply = stubs.prediction.Predict(_wait(stubs, 0.0), timeout=20)
    assert list(reply.outputs["size"].int_val) == [1]


def test_rest_answers_504_when_its_time_is_over_and_runs_nothing_late(
    slow: ModelServer, stubs: Stubs, held: HeldRuns
) -> None:
    before = _runs(stubs)
    answers: list[tuple[int, float]] = []

    def call(seconds: float) -> None:
        began = time.monotonic()
        answer = slow.predict("slow", {"instances": [seconds]})
        answers.append((answer.status_code, time.monotonic() - began))
        assert answer.json() == {"error": "Timed out waiting for the model to answer"}

    run = held.hold()
    calls = [threading.Thread(target=call, args=(run,)) for _ in range(2)]
    for one in calls:
        one.start()
    for one in calls:
        one.join(60)
    # Both are told while the run of the first goes on.
    assert [status for status, _ in answers] == [504, 504]
    assert all(seconds > REST_TIMEOUT * 0.9 for _, seconds in answers)
    assert held.begun(run)
    held.let_go(run)
    # The one worker is free again when its run has ended; what stood behind it was not begun.
    eventually(
        "the worker is free", lambda: slow.predict("slow", {"instances": [0.0]}).status_code == 200
    )
    assert _runs(stubs) == before + 2
