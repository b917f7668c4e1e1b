"""§4, §4.3: the manager with a loader whose every load the test ends by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from slipway_server.core.load_retry import Bounds, RetryRule
from slipway_server.core.managed_version import AspiredVersion
from slipway_server.core.manager import Manager
from slipway_server.core.policies import availability_preserving, resource_preserving
from slipway_server.core.serving_map import Selector, ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.errors import Code, ServingError

START, LOADING, AVAILABLE = Availability.START, Availability.LOADING, Availability.AVAILABLE
UNLOADING, END = Availability.UNLOADING, Availability.END
BROKEN = ServingError(Code.DATA_LOSS, "broken")
BUSY = ServingError(Code.UNAVAILABLE, "busy")


@dataclass
class PuppetLoader:
    """Loads when it is told to: each load waits until `finish` names its version."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    outcomes: dict[int, list[str | ServingError]] = field(default_factory=dict)
    began: list[int] = field(default_factory=list)
    unloaded: list[str] = field(default_factory=list)

    def load(self, model: str, version: int, path: str) -> str:
        with self.changed:
            self.began.append(version)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.outcomes.get(version), 10), (model, path)
            outcome = self.outcomes[version].pop(0)
        if isinstance(outcome, ServingError):
            raise outcome
        return outcome

    def unload(self, content: str) -> None:
        self.unloaded.append(content)

    def finish(self, version: int, outcome: str | ServingError = "") -> None:
        with self.changed:
            self.outcomes.setdefault(version, []).append(outcome or f"v{version}")
            self.changed.notify_all()

    def wait_begun(self, *versions: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.began == list(versions), 10), self.began


class World:
    def __init__(
        self, policy: str = "availability", *, retries: int = 0, interval: float = 0.0
    ) -> None:
        self.loader = PuppetLoader()
        self.serving: ServingMap[str] = ServingMap()
        self.monitor = StateMonitor()
        self.history: list[tuple[int, Availability]] = []
        self._changed = threading.Condition()
        self.monitor.listen(self._hear)
        self.manager: Manager[str] = Manager(
            self.loader,
            self.serving,
            self.monitor,
            availability_preserving if policy == "availability" else resource_preserving,
            retry=RetryRule(retries, interval),
            bounds=Bounds(loads=2),
        )
        self.manager.start()

    def _hear(self, state: VersionState) -> None:
        with self._changed:
            self.history.append((state.version, state.availability))
            self._changed.notify_all()

    def aspire(self, *versions: int, model: str = "m", fingerprint: str = "") -> None:
        self.manager.aspire(
            model, [AspiredVersion(one, f"/m/{one}", fingerprint) for one in versions]
        )

    def wait(self, version: int, availability: Availability, count: int = 1) -> None:
        step = (version, availability)
        with self._changed:
            assert self._changed.wait_for(lambda: self.history.count(step) >= count, 10), (
                step,
                self.history,
            )

    def load(self, version: int) -> None:
        self.aspire(version)
        self.loader.finish(version)
        self.wait(version, AVAILABLE)

    def answers(self) -> tuple[int, ...]:
        return self.serving.versions("m")


@pytest.fixture
def make() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def build(*args: str, **settings: float) -> World:
        worlds.append(World(*args, **settings))  # type: ignore[arg-type]
        return worlds[-1]

    yield build
    for world in worlds:
        world.manager.stop()


def test_a_version_becomes_available_after_it_answers(make: Callable[..., World]) -> None:
    world = make()
    seen: list[tuple[int, ...]] = []
    world.monitor.listen(
        lambda state: seen.append(world.answers()) if state.availability is AVAILABLE else None
    )
    world.load(1)
    assert world.history == [(1, START), (1, LOADING), (1, AVAILABLE)]
    assert seen == [(1,)]


def test_availability_the_old_version_answers_until_the_new_one_does(
    make: Callable[..., World],
) -> None:
    world = make()
    world.load(1)
    world.aspire(2)
    world.loader.wait_begun(1, 2)
    assert world.answers() == (1,)
    world.loader.finish(2)
    world.wait(1, END)
    assert world.answers() == (2,)
    assert world.loader.unloaded == ["v1"]
    assert world.history[3:] == [(2, START), (2, LOADING), (2, AVAILABLE), (1, UNLOADING), (1, END)]


def test_resource_the_old_version_is_gone_before_the_new_one_is_read(
    make: Callable[..., World],
) -> None:
    world = make("resource")
    world.load(1)
    world.aspire(2)
    world.loader.wait_begun(1, 2)
    assert world.loader.unloaded == ["v1"]
    assert world.answers() == ()
    world.loader.finish(2)
    world.wait(2, AVAILABLE)


def test_an_unload_waits_for_requests_in_flight(make: Callable[..., World]) -> None:
    world = make()
    world.load(1)
    with world.serving.open(Selector("m")) as handle:
        world.load(2)
        world.wait(1, UNLOADING)
        # Another model's whole load shows that the manager had time enough to do the wrong thing.
        world.aspire(5, model="other")
        world.loader.finish(5)
        world.wait(5, AVAILABLE)
        assert (handle.content, world.loader.unloaded) == ("v1", [])
        assert (1, END) not in world.history
    world.wait(1, END)
    assert world.loader.unloaded == ["v1"]


def test_a_permanent_error_is_not_tried_again_and_the_old_version_stays(
    make: Callable[..., World],
) -> None:
    world = make(retries=5)
    world.load(1)
    world.aspire(2)
    world.loader.finish(2, BROKEN)
    world.wait(2, END)
    assert world.monitor.of("m")[0].error is BROKEN
    assert world.answers() == (1,)
    world.aspire(2)
    world.aspire(2, model="other")  # a second model shows that the manager has been round since
    world.loader.wait_begun(1, 2, 2)
    world.loader.finish(2)


def test_a_failed_version_is_tried_again_when_its_directory_changes(
    make: Callable[..., World],
) -> None:
    world = make()
    world.aspire(1, fingerprint="half")
    world.loader.finish(1, BROKEN)
    world.wait(1, END)
    world.aspire(1, fingerprint="whole")
    world.loader.finish(1)
    world.wait(1, AVAILABLE)
    assert world.monitor.of("m")[0].error is None


def test_a_passing_error_is_tried_again_as_often_as_allowed(make: Callable[..., World]) -> None:
    world = make(retries=2)
    world.aspire(1)
    for _ in range(3):
        world.loader.finish(1, BUSY)
    world.wait(1, END)
    assert world.loader.began == [1, 1, 1]
    assert [step for step in world.history if step[1] is END] == [(1, END)]


def test_a_passing_error_that_passes(make: Callable[..., World]) -> None:
    world = make(retries=2)
    world.aspire(1)
    world.loader.finish(1, BUSY)
    world.loader.finish(1)
    world.wait(1, AVAILABLE)
    assert world.monitor.of("m")[0].error is None


def test_a_version_that_is_no_longer_wanted_is_not_tried_again(make: Callable[..., World]) -> None:
    world = make(retries=5, interval=3600.0)
    world.aspire(1)
    world.loader.finish(1, BUSY)
    world.wait(1, LOADING, count=2)
    world.aspire()
    world.wait(1, END)
    assert world.loader.began == [1]


def test_a_load_that_is_no_longer_wanted_is_unloaded_and_never_answers(
    make: Callable[..., World],
) -> None:
    world = make()
    world.aspire(1)
    world.loader.wait_begun(1)
    world.aspire(2)
    world.loader.wait_begun(1, 2)
    world.loader.finish(1)
    world.wait(1, END)
    assert (1, AVAILABLE) not in world.history
    [state] = [one for one in world.monitor.of("m") if one.version == 1]
    assert str(state.error) == "CANCELLED: Loading of servable cancelled"
    world.loader.finish(2)
    world.wait(2, AVAILABLE)


def test_a_version_wanted_again_comes_back_only_after_it_has_gone(
    make: Callable[..., World],
) -> None:
    world = make()
    world.load(1)
    with world.serving.open(Selector("m")):
        world.load(2)
        world.wait(1, UNLOADING)
        world.aspire(1, 2)
    world.loader.finish(1)
    world.wait(1, AVAILABLE, count=2)
    assert world.history.index((1, END)) < len(world.history) - 1
    assert world.answers() == (1, 2)


def test_a_load_that_never_ends_holds_up_no_other_model(make: Callable[..., World]) -> None:
    world = make()
    world.aspire(1, model="stuck")
    world.loader.wait_begun(1)
    world.load(2)
    assert world.answers() == (2,)
    world.loader.finish(1)


def test_only_so_many_loads_at_a_time(make: Callable[..., World]) -> None:
    world = make()
    world.aspire(1, 2, 3)
    world.loader.wait_begun(3, 2)
    world.loader.finish(3)
    world.loader.wait_begun(3, 2, 1)
    world.loader.finish(1)
    world.loader.finish(2)


def test_a_loader_with_a_bug_does_not_leave_the_version_loading(make: Callable[..., World]) -> None:
    world = make()

    def explode(model: str, version: int, path: str) -> str:
        raise KeyError(model, version, path)

    world.loader.load = explode  # type: ignore[method-assign]
    world.aspire(1)
    world.wait(1, END)
    error = world.monitor.of("m")[0].error
    assert error is not None
    assert error.code is Code.INTERNAL


def test_a_listener_that_fails_ends_nothing(make: Callable[..., World]) -> None:
    world = make()

    def fail(state: VersionState) -> None:
        raise FileNotFoundError(f"/m/{state.version}")

    world.monitor.listen(fail)
    world.load(1)
    world.load(2)
    world.wait(1, END)
    assert world.answers() == (2,)


def test_a_fault_in_one_decision_is_not_the_end_of_all(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    decide = world.manager.decide

    def fail_once(_event: object) -> None:
        monkeypatch.setattr(world.manager, "decide", decide)
        raise RuntimeError("a fault")

    monkeypatch.setattr(world.manager, "decide", fail_once)
    world.aspire(7, model="other")
    world.load(1)
    assert world.answers() == (1,)


def test_stopping_before_the_start_is_no_error() -> None:
    manager: Manager[str] = Manager(
        PuppetLoader(),
        ServingMap(),
        StateMonitor(),
        availability_preserving,
        retry=RetryRule(),
        bounds=Bounds(),
    )
    manager.stop()
    manager.start()
    manager.stop()
