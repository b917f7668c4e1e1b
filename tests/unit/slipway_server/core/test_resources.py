"""§4.4: room for one more version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_server.core.resources import HOLDING, MemoryClaim, Room, estimate, room
from slipway_server.core.version_state_machine import State

LIMIT = 100


@pytest.mark.parametrize(
    ("claims", "needed", "expected"),
    [
        pytest.param([], 100, Room.RESERVED, id="the limit itself fits"),
        pytest.param([], 101, Room.INSUFFICIENT, id="more than everything never fits"),
        pytest.param([MemoryClaim(State.READY, 60)], 40, Room.RESERVED, id="beside what serves"),
        pytest.param([MemoryClaim(State.READY, 60)], 41, Room.INSUFFICIENT, id="nothing will go"),
        pytest.param([MemoryClaim(State.UNLOADING, 60)], 41, Room.WAIT, id="something is going"),
        pytest.param(
            [MemoryClaim(State.QUIESCING, 60)], 41, Room.WAIT, id="something is about to go"
        ),
        pytest.param([MemoryClaim(State.LOADING, 60)], 41, Room.WAIT, id="a load may fail"),
        pytest.param(
            [MemoryClaim(State.LOAD_APPROVED, 60)], 41, Room.WAIT, id="an approval counts"
        ),
        pytest.param([MemoryClaim(State.DISABLED, 60)], 100, Room.RESERVED, id="what has gone"),
        pytest.param([MemoryClaim(State.ERROR, 60)], 100, Room.RESERVED, id="what has failed"),
        pytest.param(
            [MemoryClaim(State.LOAD_REQUESTED, 60)], 100, Room.RESERVED, id="what only asks"
        ),
        pytest.param([MemoryClaim(State.NEW, 60)], 100, Room.RESERVED, id="what does not even ask"),
    ],
)
def test_room(claims: list[MemoryClaim], needed: int, expected: Room) -> None:
    assert room(LIMIT, claims, needed) is expected


claims = st.lists(st.builds(MemoryClaim, st.sampled_from(State), st.integers(0, 60)), max_size=5)


@given(claims, st.integers(0, 120))
def test_a_reservation_never_passes_the_limit_and_a_refusal_is_final(
    held: list[MemoryClaim], needed: int
) -> None:
    verdict = room(LIMIT, held, needed)
    total = sum(claim.memory for claim in held if claim.state in HOLDING)
    assert (verdict is Room.RESERVED) == (total + needed <= LIMIT)
    if verdict is Room.INSUFFICIENT:
        assert all(claim.state is State.READY for claim in held if claim.state in HOLDING)


@pytest.mark.parametrize(
    ("files", "memory"), [(0, 0), (1, 1), (5, 6), (10**15 + 5, 12 * 10**14 + 6)]
)
def test_the_estimate_is_one_point_two_times_the_files(files: int, memory: int) -> None:
    assert estimate(files) == memory
