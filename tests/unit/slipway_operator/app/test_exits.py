"""What keeps the operator from starting, and how Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace
from typing import Any, cast

import kopf
import pytest
from structlog.testing import capture_logs

from slipway_operator.app import process
from slipway_operator.app.exits import ExitCode, no_answer, no_cluster, no_port


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (0, ExitCode.CLUSTER_UNAVAILABLE, "cannot be reached (Connection refused);"),
        (401, ExitCode.ACCESS_DENIED, "does not accept these credentials (Connection refused);"),
        (403, ExitCode.ACCESS_DENIED, "allows these credentials too little (Connection refused);"),
        (500, ExitCode.CLUSTER_UNAVAILABLE, "answered 500 (Connection refused);"),
    ],
)
def test_a_request_that_fails_is_one_sentence(status: int, code: ExitCode, words: str) -> None:
    error = no_answer("https://api:6443", status, "Connection\n  refused.")
    assert error.code is code
    assert str(error).startswith(f"the API server https://api:6443 {words}")
    assert "\n" not in str(error)


def test_every_file_that_was_looked_for_is_named() -> None:
    error = no_cluster(["/a", "/b"], "bad\nyaml")
    assert "and /a, /b is no usable kubeconfig (bad yaml)" in str(error)
    assert error.code is ExitCode.UNUSABLE


def test_a_port_that_is_taken_is_named() -> None:
    assert str(no_port(8080, "Address already in use")).startswith(
        "port 8080 cannot be listened on (Address already in use); free it"
    )


def test_the_first_interrupt_stops_in_order_and_the_second_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(process.os, "_exit", codes.append)
    stop = asyncio.Event()
    with capture_logs() as logs:
        process._interrupted(stop)
        assert stop.is_set()
        assert codes == []
        process._interrupted(stop)
    assert codes == [130]
    assert "a second Ctrl-C ends at once" in logs[0]["message"]


def test_signals_are_the_operators_own_after_kopf_has_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `kopf.spawn_tasks` does it: its handlers replace those that were there."""
    taken: list[int] = []
    stop = asyncio.Event()

    async def spawn_tasks(**_: object) -> tuple[()]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, taken.append, number)
        return ()

    async def run_tasks(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()

    monkeypatch.setattr(process.kopf, "spawn_tasks", spawn_tasks)
    monkeypatch.setattr(process.kopf, "run_tasks", run_tasks)
    never: Any = SimpleNamespace(
        acquire=asyncio.Event().wait, keep=asyncio.Event().wait, held=asyncio.Event()
    )

    async def body() -> None:
        async with asyncio.timeout(60):
            await process._until_stopped(
                cast("Any", None), kopf.OperatorRegistry(), never,
                cast("Any", SimpleNamespace(namespaces=())), "me", stop, asyncio.Event(),
            )  # fmt: skip

    with capture_logs() as logs:
        asyncio.run(body())
    assert taken == []
    assert [line["event"] for line in logs] == ["stopping"]
