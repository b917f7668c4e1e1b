"""§4.1, §4.2: the two aspired-version policies: a table of snapshots, and what must hold for every history."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_server.core.policies import (
    Action,
    Policy,
    Snapshot,
    Step,
    availability_preserving,
    resource_preserving,
)
from slipway_server.core.version_state_machine import State

NEW, LOADING, READY, UNLOADING = State.NEW, State.LOADING, State.READY, State.UNLOADING
DISABLED, ERROR, QUIESCING = State.DISABLED, State.ERROR, State.QUIESCING
WANTED, UNWANTED = True, False


def load(version: int) -> Action:
    return Action(Step.LOAD, version)


def unload(version: int) -> Action:
    return Action(Step.UNLOAD, version)


Rows = list[tuple[str, list[tuple[int, State, bool]], Action | None]]

AVAILABILITY: Rows = [
    ("nothing managed, nothing to do", [], None),
    ("the first version is loaded", [(1, NEW, WANTED)], load(1)),
    (
        "the highest new version is loaded first",
        [(1, NEW, WANTED), (3, NEW, WANTED), (2, NEW, WANTED)],
        load(3),
    ),
    (
        "the old one stays while the new one is new",
        [(1, READY, UNWANTED), (2, NEW, WANTED)],
        load(2),
    ),
    (
        "the old one stays while the new one loads",
        [(1, READY, UNWANTED), (2, LOADING, WANTED)],
        None,
    ),
    (
        "the old one goes once the new one serves",
        [(1, READY, UNWANTED), (2, READY, WANTED)],
        unload(1),
    ),
    (
        "the old one stays for ever when the new one failed",
        [(1, READY, UNWANTED), (2, ERROR, WANTED)],
        None,
    ),
    ("when nothing is wanted, all go", [(1, READY, UNWANTED)], unload(1)),
    (
        "the lowest of the unwanted goes first",
        [(2, READY, UNWANTED), (1, READY, UNWANTED)],
        unload(1),
    ),
    (
        "several old ones are trimmed to one before anything is loaded",
        [(1, READY, UNWANTED), (2, READY, UNWANTED), (3, NEW, WANTED)],
        unload(1),
    ),
    (
        "a load in progress does not hold up another",
        [(1, NEW, WANTED), (2, LOADING, WANTED)],
        load(1),
    ),
    (
        "an unwanted version that is no longer new is left alone",
        [(1, LOADING, UNWANTED), (2, NEW, WANTED)],
        load(2),
    ),
    ("unwanted new versions are not loaded", [(1, NEW, UNWANTED)], None),
    ("nothing to do when all is as wanted", [(1, READY, WANTED), (2, READY, WANTED)], None),
]

RESOURCE: Rows = [
    ("nothing managed, nothing to do", [], None),
    ("the first version is loaded", [(1, NEW, WANTED)], load(1)),
    ("the highest new version is loaded first", [(1, NEW, WANTED), (3, NEW, WANTED)], load(3)),
    (
        "the old one goes before the new one comes",
        [(1, READY, UNWANTED), (2, NEW, WANTED)],
        unload(1),
    ),
    (
        "the first in managed order goes first",
        [(2, READY, UNWANTED), (1, READY, UNWANTED)],
        unload(2),
    ),
    (
        "nothing comes while the old one is going",
        [(1, QUIESCING, UNWANTED), (2, NEW, WANTED)],
        None,
    ),
    (
        "nothing comes while the old one still loads",
        [(1, LOADING, UNWANTED), (2, NEW, WANTED)],
        None,
    ),
    (
        "nothing comes while the old one is not forgotten",
        [(1, NEW, UNWANTED), (2, NEW, WANTED)],
        None,
    ),
    (
        "the new one comes when the old one is gone",
        [(1, DISABLED, UNWANTED), (2, NEW, WANTED)],
        load(2),
    ),
    ("a failed old one is gone, too", [(1, ERROR, UNWANTED), (2, NEW, WANTED)], load(2)),
    ("a wanted version that serves stays", [(1, READY, WANTED), (2, NEW, WANTED)], load(2)),
    ("a failed new one leaves nothing to do", [(1, DISABLED, UNWANTED), (2, ERROR, WANTED)], None),
]


def _cases(rows: Rows) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize(
        ("managed", "expected"), [pytest.param(*row[1:], id=row[0]) for row in rows]
    )


def _snapshots(managed: list[tuple[int, State, bool]]) -> list[Snapshot]:
    return [Snapshot(*one) for one in managed]


@_cases(AVAILABILITY)
def test_availability_preserving(
    managed: list[tuple[int, State, bool]], expected: Action | None
) -> None:
    assert availability_preserving(_snapshots(managed)) == expected


@_cases(RESOURCE)
def test_resource_preserving(
    managed: list[tuple[int, State, bool]], expected: Action | None
) -> None:
    assert resource_preserving(_snapshots(managed)) == expected


snapshots = st.lists(
    st.builds(Snapshot, st.integers(1, 8), st.sampled_from(State), st.booleans()),
    unique_by=lambda one: one.version,
)
policies = st.sampled_from([availability_preserving, resource_preserving])


@given(policies, snapshots)
def test_a_policy_only_loads_what_is_new_and_wanted_and_unloads_what_serves_and_is_not(
    policy: Policy, managed: list[Snapshot]
) -> None:
    action = policy(managed)
    assert policy(managed) == action
    if action is None:
        return
    [chosen] = [one for one in managed if one.version == action.version]
    wanted_state = (State.NEW, True) if action.step is Step.LOAD else (State.READY, False)
    assert (chosen.state, chosen.aspired) == wanted_state


@given(snapshots)
def test_availability_the_last_serving_version_stays_until_a_wanted_one_serves(
    managed: list[Snapshot],
) -> None:
    action = availability_preserving(managed)
    serving = [one for one in managed if one.state is State.READY]
    if action and action.step is Step.UNLOAD and any(one.aspired for one in managed):
        assert len(serving) > 1


@given(snapshots)
def test_resource_old_and_new_are_never_in_memory_together(managed: list[Snapshot]) -> None:
    action = resource_preserving(managed)
    if action and action.step is Step.LOAD:
        assert all(one.aspired or one.state in {State.DISABLED, State.ERROR} for one in managed)


@given(
    policies,
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=6, unique_by=lambda one: one[0]),
)
def test_following_a_policy_ends_with_exactly_the_wanted_versions(
    policy: Policy, start: list[tuple[int, bool]]
) -> None:
    """From "unwanted ones serve, wanted ones are new", when every step succeeds at once."""
    managed = {version: (State.NEW if wanted else State.READY, wanted) for version, wanted in start}
    for _ in range(20):
        action = policy([Snapshot(version, *rest) for version, rest in managed.items()])
        if action is None:
            break
        state = State.READY if action.step is Step.LOAD else State.DISABLED
        managed[action.version] = (state, managed[action.version][1])
    assert all(
        state is (State.READY if wanted else State.DISABLED) for state, wanted in managed.values()
    )
