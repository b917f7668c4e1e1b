"""§4.4: what may begin beside what is under way, and what is tried again."""

from __future__ import annotations

import pytest

from slipway_server.core.load_retry import Bounds, RetryRule
from slipway_server.core.managed_version import AspiredVersion, ManagedVersion
from slipway_server.core.version_state_machine import State, VersionStateMachine
from slipway_server.errors import Code, ServingError

TRANSIENT = ServingError(Code.UNAVAILABLE, "busy")
PERMANENT = ServingError(Code.DATA_LOSS, "broken")
NOW = 100.0


def version(state: State = State.NEW, *, busy: bool = False) -> ManagedVersion[str]:
    machine = VersionStateMachine("m version 1")
    machine._history.append(state)
    return ManagedVersion("m", AspiredVersion(1, "/m/1", "print"), machine, busy=busy)


@pytest.mark.parametrize(
    ("rule", "attempts", "aspired", "error", "expected"),
    [
        (RetryRule(2), 1, True, TRANSIENT, True),
        (RetryRule(2), 2, True, TRANSIENT, True),
        (RetryRule(2), 3, True, TRANSIENT, False),
        (RetryRule(2), 1, False, TRANSIENT, False),
        (RetryRule(2), 1, True, PERMANENT, False),
        (RetryRule(2, permanent_errors=True), 1, True, PERMANENT, True),
    ],
)
def test_an_attempt_is_repeated(
    rule: RetryRule,
    attempts: int,
    error: ServingError,
    *,
    aspired: bool,
    expected: bool,
) -> None:
    managed = version(State.LOADING)
    managed.attempts, managed.aspired = attempts, aspired
    assert rule.again(managed, error) is expected


@pytest.mark.parametrize(
    ("state", "fingerprint", "failed_at", "expected"),
    [
        (State.READY, "other", 0.0, False),
        (State.ERROR, "other", NOW, True),
        (State.ERROR, "print", NOW - 60, True),
        (State.ERROR, "print", NOW - 59, False),
    ],
)
def test_a_version_that_failed_begins_anew(
    state: State, fingerprint: str, failed_at: float, *, expected: bool
) -> None:
    managed = version(state)
    managed.failed_at = failed_at
    aspired = AspiredVersion(1, "/m/1", fingerprint)
    assert RetryRule(failed_versions=True).anew(managed, aspired, NOW) is expected
    assert RetryRule().anew(managed, aspired, NOW) is (expected and fingerprint == "other")


def test_the_first_loads_have_a_bound_of_their_own() -> None:
    busy = [version(State.LOADING, busy=True)] * 2
    idle = [version(State.READY)] * 5
    bounds = Bounds(loads=2, initial_loads=3)
    assert not bounds.may_load([*busy, *idle], initial=False)
    assert bounds.may_load([*busy, *idle], initial=True)
    assert not Bounds(loads=2).may_load(busy, initial=True)


def test_what_waits_for_its_last_request_counts_as_going() -> None:
    going = [version(state) for state in (State.QUIESCING, State.QUIESCED, State.UNLOADING)]
    staying = [version(State.READY), version(State.DISABLED)]
    assert Bounds(unloads=4).may_unload([*going, *staying])
    assert not Bounds(unloads=3).may_unload([*going, *staying])
    assert Bounds().may_unload(going)
