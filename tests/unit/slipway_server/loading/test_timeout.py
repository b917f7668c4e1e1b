"""A load that takes too long ends the version, not the server (a deliberate difference to §4.3)."""

from __future__ import annotations

import threading

import pytest

from slipway_server.errors import Code, ServingError, not_found
from slipway_server.loading.timeout import LoadTimeoutError, TimeoutLoader


class Slow:
    """Loads when it is let go."""

    def __init__(self, outcome: str | Exception = "content") -> None:
        self.go = threading.Event()
        self.unloaded = threading.Event()
        self.outcome = outcome

    def load(self, model: str, version: int, path: str) -> str:
        assert (model, version, path) == ("m", 1, "/p")
        assert self.go.wait(30)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def unload(self, content: str) -> None:
        assert content == "content"
        self.unloaded.set()


def test_a_load_in_time_is_handed_on() -> None:
    slow = Slow()
    slow.go.set()
    loader = TimeoutLoader(slow, 30)
    assert loader.load("m", 1, "/p") == "content"
    assert not slow.unloaded.is_set()
    loader.unload("content")
    assert slow.unloaded.is_set()


def test_a_failure_in_time_is_handed_on() -> None:
    slow = Slow(not_found("nothing there"))
    slow.go.set()
    with pytest.raises(ServingError, match="nothing there"):
        TimeoutLoader(slow, 30).load("m", 1, "/p")


def test_a_late_load_is_an_error_and_released_when_it_ends() -> None:
    slow = Slow()
    with pytest.raises(LoadTimeoutError) as error:
        TimeoutLoader(slow, 0.05).load("m", 1, "/p")
    assert error.value.code is Code.DEADLINE_EXCEEDED
    assert error.value.message == (
        "Version 1 of model m was still not loaded after 0.05 s (--load_timeout_seconds)"
    )
    assert not error.value.transient
    assert not slow.unloaded.is_set()
    slow.go.set()
    assert slow.unloaded.wait(30)
