"""What requests are told while the models of the start are loading."""

from __future__ import annotations

import pytest

from slipway_server.app.startup import Startup
from slipway_server.core.serving_map import Selector, Servable, ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.errors import Code, ServingError, not_found

START, LOADING, AVAILABLE, UNLOADING, END = Availability
BROKEN = ServingError(Code.DATA_LOSS, "broken")
TROUBLE = not_found("No versions of servable m found under base path /m.")


class World:
    """A server that starts with some models; the test says what becomes of their versions."""

    def __init__(self, *models: str) -> None:
        self.monitor = StateMonitor()
        self.startup = Startup(self.monitor.of)
        self.serving: ServingMap[str] = ServingMap(starting=self.startup.refusal)
        self.serving.set_labels({})
        self.monitor.listen(self.startup.hear)
        self.startup.begin(models)

    def say(
        self, model: str, version: int, state: Availability, error: ServingError | None = None
    ) -> None:
        if state is AVAILABLE:
            self.serving.add(Servable(model, version, "content"))
        self.monitor.publish(VersionState(model, version, state, error))

    def asked(self, model: str, version: int | None = None, label: str | None = None) -> str:
        try:
            with self.serving.open(Selector(model, version, label)) as handle:
                return handle.content
        except ServingError as error:
            return str(error)


STARTING = "UNAVAILABLE: the server is starting: "
GONE = "NOT_FOUND: Servable not found for request: Latest"


def test_every_request_is_unavailable_until_the_model_answers() -> None:
    world = World("m")
    assert world.asked("m") == STARTING + "no version of m has been found yet"
    for state in (START, LOADING):
        world.say("m", 7, state)
        for request in ((), (7,), (8,), (None, "stable")):
            for name in ("m", "unknown"):
                assert world.asked(name, *request) == STARTING + "m version 7 is being loaded"
    world.say("m", 7, AVAILABLE)
    assert world.asked("m") == "content"
    assert world.asked("unknown") == f"{GONE}(unknown)"
    assert world.asked("m", 8) == "NOT_FOUND: Servable not found for request: Specific(m, 8)"
    assert world.asked("m", None, "x") == (
        "INVALID_ARGUMENT: Unrecognized servable version label: x"
    )


def test_a_request_without_a_name_is_wrong_whenever_it_comes() -> None:
    assert World("m").asked("") == "INVALID_ARGUMENT: ModelSpec has no name specified."


def test_a_model_that_answers_waits_for_no_other() -> None:
    world = World("a", "b")
    world.say("a", 1, AVAILABLE)
    world.say("b", 2, LOADING)
    assert world.asked("a") == "content"
    assert world.asked("c") == world.asked("b") == STARTING + "b version 2 is being loaded"
    world.say("b", 2, AVAILABLE)
    assert world.asked("c") == f"{GONE}(c)"


def test_a_load_that_is_tried_again_tells_why() -> None:
    world = World("m")
    world.say("m", 1, LOADING, BROKEN)
    assert world.asked("m") == (
        STARTING + "m version 1 is being loaded; the last attempt failed: DATA_LOSS: broken"
    )


@pytest.mark.parametrize("end", ["failed", "removed", "answered before"])
def test_the_start_is_over_for_good(end: str) -> None:
    world = World("m")
    world.say("m", 1, LOADING)
    match end:
        case "failed":
            world.say("m", 1, END, BROKEN)
        case "removed":
            # Its load is cancelled without an error when it had not begun.
            world.startup.configured(())
            world.say("m", 1, END)
        case _:
            world.say("m", 1, AVAILABLE)
            world.serving = ServingMap(starting=world.startup.refusal)
            world.say("m", 1, UNLOADING)
    assert world.asked("m") == f"{GONE}(m)"
    for state in (START, LOADING):
        world.say("m", 2, state)
        assert world.asked("m") == f"{GONE}(m)"


def test_a_version_that_gives_way_to_a_newer_one_decides_nothing() -> None:
    world = World("m")
    world.say("m", 1, START)
    world.say("m", 1, END)
    world.say("m", 2, START)
    assert world.asked("m") == STARTING + "m version 2 is being loaded"
    world.say("m", 3, END, BROKEN)
    assert world.asked("m") == STARTING + "m version 2 is being loaded"


def test_a_model_without_versions_holds_up_requests_for_itself_only() -> None:
    world = World("m", "n")
    world.startup.nothing_found("m", TROUBLE, last=False)
    assert world.asked("unknown") == STARTING + "no version of n has been found yet"
    world.say("n", 1, AVAILABLE)
    assert world.asked("unknown") == f"{GONE}(unknown)"
    assert world.asked("m") == STARTING + TROUBLE.message
    world.say("m", 1, LOADING)
    world.startup.nothing_found("m", TROUBLE, last=False)
    assert world.asked("unknown") == STARTING + "m version 1 is being loaded"


def test_where_nobody_will_look_again_the_start_is_over() -> None:
    world = World("m")
    world.startup.nothing_found("m", TROUBLE, last=True)
    assert world.asked("m") == f"{GONE}(m)"
