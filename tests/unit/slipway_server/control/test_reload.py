"""§2: changing the models at run time: what is refused, what is waited for, and that nothing waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from slipway_server.control.config_file import ConfigFile
from slipway_server.control.reload import ConfiguredModels, ReloadRule
from slipway_server.core.availability_waiter import AvailabilityWaiter
from slipway_server.core.labels import LabelRule
from slipway_server.core.serving_map import ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.errors import Code, ServingError, invalid_argument, not_found
from slipway_server.observability.families import Families, counter_values
from slipway_server.storage.file_system_source import FileSystemSource
from slipway_server.storage.source import ModelConfig

START, LOADING, AVAILABLE, END = (
    Availability.START,
    Availability.LOADING,
    Availability.AVAILABLE,
    Availability.END,
)
BROKEN = ServingError(Code.DATA_LOSS, "broken")


class World:
    """Models over a source that is never polled: the test says what becomes of versions."""

    def __init__(self, rule: ReloadRule | None = None) -> None:
        self.given: list[list[str]] = []
        self.monitor = StateMonitor()
        self.serving: ServingMap[str] = ServingMap()
        self.source = FileSystemSource((), lambda *_: None, interval=-1)
        self.models = ConfiguredModels(
            self.source,
            self.serving,
            self.monitor,
            rule or ReloadRule(timeout=30),
            changed=lambda names: self.given.append(list(names)),
        )

    def say(self, version: int, state: Availability, error: ServingError | None = None) -> None:
        self.monitor.publish(VersionState("m", version, state, error))

    def reload(self, *configs: ModelConfig, deadline: float | None = None) -> threading.Thread:
        """Begin a reload in a thread; its outcome is in `outcome` after the thread's end."""
        self.outcome: list[str] = []

        def run() -> None:
            try:
                self.models.apply_and_wait(configs, deadline)
                self.outcome.append("OK")
            except ServingError as error:
                self.outcome.append(str(error))

        begun = threading.Event()
        self.models._changed = lambda _names: begun.set()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert begun.wait(60)
        return thread


def config(name: str = "m", **more: Any) -> ModelConfig:
    return ModelConfig(name, f"/{name}", **more)


def test_a_reload_waits_for_new_models_only() -> None:
    world = World()
    world.models.apply((config("a"),))
    world.models.apply_and_wait((config("a", labels={"x": 1}),), None)
    world.models.apply_and_wait((), None)
    assert world.given == [["a"], ["a"], []]


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        pytest.param([(1, START), (1, LOADING), (1, AVAILABLE)], "OK", id="available"),
        pytest.param([(2, END, BROKEN), (1, AVAILABLE)], "OK", id="one is enough"),
        pytest.param(
            [(1, START), (1, LOADING), (1, END, BROKEN)],
            "UNKNOWN: 1 model(s) did not become available: "
            "{{name: m version: 1} due to error: DATA_LOSS: broken, }",
            id="failed",
        ),
        pytest.param(
            [(1, START), (2, START), (1, END, BROKEN), (2, END, BROKEN)],
            "UNKNOWN: 1 model(s) did not become available: "
            "{{name: m version: 2} due to error: DATA_LOSS: broken, }",
            id="all failed",
        ),
    ],
)
def test_what_decides_a_model(events: list[Any], outcome: str) -> None:
    world = World()
    thread = world.reload(config())
    for event in events[:-1]:
        world.say(*event)
        assert world.outcome == []
    world.say(*events[-1])
    thread.join(60)
    assert world.outcome == [outcome]


def test_what_ended_before_or_ends_as_it_should_decides_nothing() -> None:
    """Such as the versions of a model that was removed a moment ago and is named again."""
    world = World()
    world.say(1, AVAILABLE)
    world.say(1, END, BROKEN)
    waiter = world.models.waiter(["m"])
    assert not waiter._decided("m")
    world.say(1, END)
    assert not waiter._decided("m")
    world.say(1, AVAILABLE)
    waiter.wait(None)


def test_a_base_path_without_versions_decides_at_once() -> None:
    world = World()
    thread = world.reload(config())
    world.models.nothing_found("other", not_found("x"))
    world.models.nothing_found("m", invalid_argument("Could not find base path /m"))
    thread.join(60)
    assert world.outcome == [
        (
            "UNKNOWN: 1 model(s) did not become available: "
            "{{name: m} due to error: INVALID_ARGUMENT: Could not find base path /m, }"
        )
    ]
    assert world.models.names == ("m",)


def test_no_versions_can_be_the_error_itself() -> None:
    world = World(ReloadRule(fail_without_versions=True))
    thread = world.reload(config())
    world.models.nothing_found("m", not_found("No versions of servable m found"))
    thread.join(60)
    assert world.outcome == ["NOT_FOUND: No versions of servable m found"]


def test_a_reload_never_hangs_and_blocks_no_other() -> None:
    world = World(ReloadRule(timeout=30))
    thread = world.reload(config())
    world.say(1, LOADING)
    # Another change while the first one waits.
    world.models.apply((config(), config("n")))
    assert world.models.names == ("m", "n")
    world.say(1, AVAILABLE)
    thread.join(60)
    assert world.outcome == ["OK"]
    for rule, deadline in ((ReloadRule(timeout=0.01), None), (ReloadRule(timeout=30), 0.0)):
        world = World(rule)
        world.reload(config(), deadline=deadline).join(60)
        assert world.outcome == [
            (
                "UNKNOWN: 1 model(s) did not become available: "
                "{{name: m} due to error: DEADLINE_EXCEEDED: no version started to load, }"
            )
        ]
    world = World(ReloadRule(timeout=0))
    world.reload(config()).join(60)
    assert world.outcome == ["OK"]


def test_a_wait_for_ever_may_be_asked_for() -> None:
    waiter = AvailabilityWaiter(["m"])
    clock = threading.Event()

    def now() -> float:
        clock.set()
        return 0.0

    waiting = threading.Thread(target=waiter.wait, args=(float("inf"), now), daemon=True)
    waiting.start()
    assert clock.wait(60)
    waiter.hear(VersionState("m", 1, AVAILABLE))
    waiting.join(60)
    assert not waiting.is_alive()


def test_a_watch_names_what_still_loads() -> None:
    waiter = AvailabilityWaiter(["m"])
    waiter.hear(VersionState("m", 3, LOADING))
    with pytest.raises(ServingError) as error:
        waiter.wait(0.0, lambda: 1.0, noun="servable(s)")
    assert error.value.message == (
        "1 servable(s) did not become available: "
        "{{name: m version: 3} due to error: DEADLINE_EXCEEDED: it is still LOADING, }"
    )


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (
            (config(platform="tflite"),),
            (
                "INVALID_ARGUMENT: Illegal to change a model's platform. For model m platform was tensorflow and new "
                "platform requested is tflite"
            ),
        ),
        (
            # A change of platform is what is said, whatever else is wrong.
            (config("new", platform="x"), config(platform="tflite", labels={"a": 9})),
            (
                "INVALID_ARGUMENT: Illegal to change a model's platform. For model m platform was tensorflow and new "
                "platform requested is tflite"
            ),
        ),
        (
            (config(labels={"a": 1}), config("new", platform="x")),
            "INVALID_ARGUMENT: Model new requests unsupported platform x",
        ),
        (
            (config(labels={"a": 1, "b": 9}),),
            (
                "FAILED_PRECONDITION: Request to assign label to version 9 of model m, which is not currently "
                "available for inference"
            ),
        ),
    ],
)
def test_what_is_refused_changes_nothing(after: tuple[ModelConfig, ...], message: str) -> None:
    world = World(ReloadRule(LabelRule(strict=True)))
    world.say(1, AVAILABLE)
    before = (config(labels={"a": 1}),)
    world.models.apply(before)
    for change in (world.models.apply, lambda configs: world.models.apply_and_wait(configs, None)):
        with pytest.raises(ServingError) as error:
            change(after)
        assert str(error.value) == message
    assert world.models.configs == before
    assert world.serving.labels() == {"m": {"a": 1}}
    assert world.given == [["m"]]


def test_a_removed_model_may_come_back_as_another_platform() -> None:
    world = World(ReloadRule(platforms=frozenset({"tensorflow", "tflite"})))
    for configs in ((config(),), (), (config(platform="tflite"),)):
        world.models.apply(configs)
    assert world.models.names == ("m",)


class File:
    """A config file whose content the test sets, polled by hand."""

    def __init__(self) -> None:
        self.says: Callable[[], tuple[ModelConfig, ...] | None] = lambda: ()
        self.present: tuple[ModelConfig, ...] = ()
        self.applied: list[tuple[ModelConfig, ...]] = []
        self.file = ConfigFile(self.read, lambda: self.present, self.apply, 1.0)

    def read(self) -> tuple[ModelConfig, ...] | None:
        return self.says()

    def apply(self, configs: tuple[ModelConfig, ...]) -> None:
        self.applied.append(configs)
        if any(one.labels for one in configs):
            raise ServingError(Code.FAILED_PRECONDITION, "labels")
        self.present = configs


def test_the_config_file_is_applied_when_it_says_something_else() -> None:
    world = File()
    world.says = lambda: (config(),)
    for _ in range(3):
        world.file.look()
    assert world.applied == [(config(),)]
    # The method has changed the models meanwhile: the file is what is wanted.
    world.present = ()
    world.file.look()
    assert world.present == (config(),)
    world.says = lambda: None
    world.file.look()
    assert world.present == (config(),)


def test_a_config_file_that_is_refused_is_tried_again() -> None:
    world = File()
    world.says = lambda: (config(labels={"a": 1}),)
    world.file.look()
    world.file.look()
    assert len(world.applied) == 2

    def broken() -> None:
        raise invalid_argument("Invalid protobuf file: 'f'")

    world.says = broken
    world.file.look()
    world.says = lambda: (config(),)
    world.file.look()
    assert world.present == (config(),)


def test_counters_by_every_name_they_have() -> None:
    registry = CollectorRegistry()
    counter = Counter("slipway_things", "", ("kind",), registry=registry)
    Gauge("slipway_level", "", registry=registry).set(7)
    names = ("slipway_things", "slipway_things_total", "slipway_level", "none")
    assert counter_values(registry, names) == {"slipway_things": 0, "slipway_things_total": 0}
    counter.labels("a").inc(2)
    counter.labels("b").inc(3)
    assert counter_values(registry, names) == {"slipway_things": 5, "slipway_things_total": 5}


def test_both_spellings_of_one_counter_are_answered() -> None:
    registry = CollectorRegistry()
    count = Families(registry).classic_counter(":tensorflow:serving:x", "", ("kind",))
    count.labels("a").inc(2)
    names = ("/tensorflow/serving/x", ":tensorflow:serving:x")
    assert counter_values(registry, names) == dict.fromkeys(names, 2)
