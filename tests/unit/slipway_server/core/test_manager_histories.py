"""§4: what holds for every history of the manager, whatever is aspired, loaded, failed and finished in which order.

The real manager decides; a list of tasks that hypothesis runs in any order stands for its threads.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from slipway_server.core.load_retry import Bounds, RetryRule
from slipway_server.core.managed_version import AspiredVersion
from slipway_server.core.manager import Manager
from slipway_server.core.policies import POLICIES
from slipway_server.core.resources import HOLDING
from slipway_server.core.serving_map import Selector, ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.core.version_state_machine import State
from slipway_server.errors import Code, ServingError

MODELS = ("a", "b")
PERMANENT = ServingError(Code.DATA_LOSS, "broken")
PASSING = ServingError(Code.UNAVAILABLE, "busy")
FILES = {1: 10, 2: 20, 3: 30, 4: 100}
LIMIT = 60
INTERVAL = 10.0


class Histories(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from(sorted(POLICIES)), bounded=st.booleans())
    def begin(self, policy: str, bounded: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.policy = policy
        self.bounds = Bounds(2, 3, 1, LIMIT) if bounded else Bounds(1)
        self.now = 0.0
        self.outcome: ServingError | None = None
        self.tasks: list[tuple[str, Callable[[], None]]] = []
        self.serving: ServingMap[str] = ServingMap()
        self.serving.set_labels({})
        self.monitor = StateMonitor()
        self.monitor.listen(self.hear)
        # Versions that were in every list since they became available.
        self.steady: dict[str, set[int]] = {model: set() for model in MODELS}
        self.newest: dict[str, set[int]] = {model: set() for model in MODELS}
        self.manager: Manager[str] = Manager(
            self,
            self.serving,
            self.monitor,
            POLICIES[policy],
            retry=RetryRule(max_retries=2, interval=INTERVAL),
            bounds=self.bounds,
            measure=lambda path: FILES[int(path)],
            clock=lambda: self.now,
            spawn=lambda name, task: self.tasks.append((name, task)),
        )

    def load(self, model: str, version: int, path: str) -> str:
        if self.outcome:
            raise self.outcome
        return f"{model} {version} {path}"

    def unload(self, content: str) -> None:
        model, version, _ = content.split()
        assert int(version) not in self.serving.versions(model)

    def versions(self, model: str) -> list[Any]:
        known = self.manager._models.get(model)
        return list(known.versions.values()) if known else []

    def hear(self, state: VersionState) -> None:
        model, version = state.model, state.version
        if state.availability is Availability.AVAILABLE:
            assert version in self.serving.versions(model), "published after it can answer"
            if version in self.newest[model]:
                self.steady[model].add(version)
        elif state.availability is Availability.UNLOADING:
            assert version not in self.steady[model], "a steady version is never unloaded"
            serving = set(self.serving.versions(model))
            if version in serving and self.policy == "availability_preserving":
                wanted = [one for one in self.versions(model) if one.aspired]
                assert not wanted or serving - {version}, "the last one stays while others come"
        elif state.availability is Availability.LOADING and self.policy == "resource_preserving":
            assert not [
                one
                for one in self.versions(model)
                if not one.aspired and one.state in HOLDING and one.version != version
            ], "what nobody wants is gone before a load begins"

    def settle(self) -> None:
        while True:
            try:
                event = self.manager._events.get_nowait()
            except queue.Empty:
                return
            self.manager.decide(event)

    @rule(
        model=st.sampled_from(MODELS),
        versions=st.sets(st.sampled_from(sorted(FILES)), max_size=2),
        fingerprint=st.sampled_from("xy"),
    )
    def aspire(self, model: str, versions: set[int], fingerprint: str) -> None:
        self.newest[model] = versions
        self.steady[model] &= versions
        self.manager.aspire(
            model, [AspiredVersion(one, str(one), fingerprint) for one in sorted(versions)]
        )
        self.settle()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), outcome=st.sampled_from([None, None, PERMANENT, PASSING]))
    def end_of_a_task(self, data: st.DataObject, outcome: ServingError | None) -> None:
        which = data.draw(st.integers(0, len(self.tasks) - 1))
        self.run_task(which, outcome)

    def run_task(self, which: int, outcome: ServingError | None) -> None:
        self.outcome = outcome
        _, task = self.tasks.pop(which)
        task()
        self.settle()

    @rule()
    def time_passes(self) -> None:
        self.now += INTERVAL
        self.manager.decide(None)

    @invariant()
    def within_bounds(self) -> None:
        if not hasattr(self, "manager"):
            return
        everything = [one for model in MODELS for one in self.versions(model)]
        loads = sum(name.startswith(("load", "measure")) for name, _ in self.tasks)
        allowed = max(self.bounds.loads, self.bounds.initial_loads or 0)
        assert loads <= allowed
        if self.bounds.memory is not None:
            held = sum(one.memory for one in everything if one.state in HOLDING)
            assert held <= self.bounds.memory
        for model in MODELS:
            ready = [one.version for one in self.versions(model) if one.state is State.READY]
            assert sorted(ready) == list(self.serving.versions(model))
            if ready:
                with self.serving.open(Selector(model)) as handle:
                    assert handle.version == max(ready)

    def teardown(self) -> None:
        """From wherever it stands, with loads that succeed, it comes to rest where it should."""
        if not hasattr(self, "manager"):
            return
        for _ in range(100):
            if self.tasks:
                self.run_task(0, None)
            else:
                self.time_passes()
        assert not self.tasks
        for model in MODELS:
            states = {one.version: one.state for one in self.versions(model)}
            wanted = self.newest[model]
            assert all(states[one] in {State.READY, State.ERROR} for one in wanted)
            others = {one for one in states if one not in wanted}
            if (
                any(states[one] is State.READY for one in wanted)
                or not wanted
                or self.policy == "resource_preserving"
            ):
                assert not others
            else:
                assert len(others) <= 1
        published = {
            (model, state.version): state.availability
            for model in MODELS
            for state in self.monitor.of(model)
        }
        for (model, version), availability in published.items():
            serves = version in self.serving.versions(model)
            assert availability is (Availability.AVAILABLE if serves else Availability.END)


Histories.TestCase.settings = hypothesis_settings(
    max_examples=150, stateful_step_count=30, deadline=None
)


def test_every_history() -> None:
    case = Histories.TestCase("runTest")
    case.runTest()


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_history_by_hand(policy: str) -> None:
    """The machine above does what it says: version 1, then version 2 in its place."""
    world = Histories()
    world.begin(policy, bounded=False)
    world.aspire("a", {1}, "x")
    world.run_task(0, None)
    world.aspire("a", {2}, "x")
    first = [name.partition("-")[0] for name, _ in world.tasks]
    assert first == (["load"] if policy == "availability_preserving" else ["quiesce"])
    world.teardown()
    assert world.serving.versions("a") == (2,)
