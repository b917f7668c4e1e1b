from __future__ import annotations

import json

import pytest

from slipway_server.app.process import termination_message
from slipway_server.app.readiness import Report, report
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.errors import Code, ServingError


def _state(
    version: int, availability: Availability, error: ServingError | None = None
) -> VersionState:
    return VersionState("m", version, availability, error)


BROKEN = ServingError(Code.DATA_LOSS, "cannot parse")


@pytest.mark.parametrize(
    ("states", "trouble", "flags", "expected"),
    [
        ([_state(1, Availability.AVAILABLE)], "", {}, Report({"m": True}, ())),
        (
            [_state(2, Availability.LOADING), _state(1, Availability.AVAILABLE)],
            "",
            {},
            Report({"m": True}, ()),
        ),
        (
            [_state(1, Availability.LOADING)],
            "",
            {},
            Report({"m": False}, ("Model m: version 1 is LOADING",)),
        ),
        (
            [_state(1, Availability.END, BROKEN)],
            "",
            {},
            Report({"m": False}, ("Model m: version 1 is END (DATA_LOSS: cannot parse)",)),
        ),
        ([], "", {}, Report({"m": False}, ("Model m: no version has been found yet",))),
        ([], "no such path", {}, Report({"m": False}, ("Model m: no such path",))),
        ([], "", {"started": False}, Report({"m": False}, ("The server is starting",))),
        (
            [_state(1, Availability.AVAILABLE)],
            "",
            {"draining": True},
            Report({"m": True}, ("The server is draining: it is shutting down",)),
        ),
    ],
)
def test_readiness(
    states: list[VersionState], trouble: str, flags: dict[str, bool], expected: Report
) -> None:
    found = report({"m": states}, {"m": trouble}, **{"started": True, "draining": False, **flags})
    assert found == expected
    assert found.ready == (not expected.reasons)


def test_every_model_must_have_a_version() -> None:
    states = {"a": [_state(1, Availability.AVAILABLE)], "b": []}
    found = report(states, {}, started=True, draining=False)
    assert not found.ready
    assert found.models == {"a": True, "b": False}


def test_a_server_that_had_models_and_has_none_is_not_ready() -> None:
    """Else clients would be sent to a server whose models somebody has taken away."""
    never = report({}, {}, started=True, draining=False)
    assert never.ready, "models may be brought by the first reload"
    found = report({}, {}, started=True, draining=False, had_models=True)
    assert found == Report({}, ("No model is configured any more: the list of models is empty",))


def test_the_monitor_keeps_the_newest_state_and_lists_the_highest_version_first() -> None:
    monitor = StateMonitor()
    heard: list[VersionState] = []
    monitor.listen(heard.append)
    for state in (
        _state(1, Availability.START),
        _state(10, Availability.LOADING),
        _state(1, Availability.AVAILABLE),
    ):
        monitor.publish(state)
    assert [(one.version, one.availability) for one in monitor.of("m")] == [
        (10, Availability.LOADING),
        (1, Availability.AVAILABLE),
    ]
    assert len(heard) == 3
    assert monitor.available("m")
    assert not monitor.available("other")


@pytest.mark.parametrize(
    "message", ["short", "line\nbreak  and\tspace", "x" * 9000, "é" * 3000, "\x00" * 3000]
)
def test_the_termination_log_is_one_small_json_object(message: str) -> None:
    text = termination_message("LoadFailed", message)
    parsed = json.loads(text)
    assert len(text) <= 4096
    assert parsed["reason"] == "LoadFailed"
    assert "\n" not in parsed["message"]
    assert parsed["message"][:5] == " ".join(message.split())[:5]
