"""§4: the states of a version and the ways between them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from slipway_server.core.version_state_machine import (
    FORGETTABLE,
    TRANSITIONS,
    IllegalTransitionError,
    State,
    VersionStateMachine,
)

WHOLE_LIFE = [
    State.NEW,
    State.LOAD_REQUESTED,
    State.LOAD_APPROVED,
    State.LOADING,
    State.READY,
    State.UNLOAD_REQUESTED,
    State.QUIESCING,
    State.QUIESCED,
    State.UNLOADING,
    State.DISABLED,
]


def test_the_table_knows_every_state_and_allows_one_life_and_errors() -> None:
    assert TRANSITIONS.keys() == set(State)
    expected = {(a, b) for a, b in pairwise(WHOLE_LIFE)}
    expected |= {(state, State.ERROR) for state in WHOLE_LIFE if state is not State.DISABLED}
    assert {(a, b) for a, followers in TRANSITIONS.items() for b in followers} == expected


def test_a_whole_life() -> None:
    life = VersionStateMachine("m version 1")
    for state in WHOLE_LIFE[1:]:
        life.to(state)
    assert life.state is State.DISABLED


@pytest.mark.parametrize("first", [State.NEW, State.LOADING, State.READY])
@pytest.mark.parametrize("following", list(State))
def test_what_the_table_does_not_allow_is_refused_with_the_history(
    first: State, following: State
) -> None:
    life = VersionStateMachine("m version 1")
    for state in WHOLE_LIFE[1 : WHOLE_LIFE.index(first) + 1]:
        life.to(state)
    if following in TRANSITIONS[first]:
        life.to(following)
        assert life.state is following
    else:
        with pytest.raises(IllegalTransitionError, match=f"m version 1: {first} may not .*New"):
            life.to(following)
        assert life.state is first


def test_only_what_holds_nothing_is_forgotten() -> None:
    assert {State.NEW, State.DISABLED, State.ERROR} == FORGETTABLE
