"""What keeps the operator from starting, and how Ctrl-C ends it."""

from __future__ import annotations

import asyncio

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
