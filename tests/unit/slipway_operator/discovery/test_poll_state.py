"""What is remembered of a source between polls."""

from datetime import UTC, datetime, timedelta

import pytest

from slipway_operator.api.spec import VersionPolicy
from slipway_operator.discovery.poll_state import PollState, wanted_versions
from slipway_sync.exports import Proof, Verdict, VersionDirectory

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTLE = timedelta(seconds=5)
GOOD = Proof(Verdict.COMPLETE, "", "", "")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def test_a_listing_settles_when_it_has_stood_still_for_so_long() -> None:
    state = PollState().record_listing("1", "a", 9, at(0)).record_listing("1", "a", 9, at(4))
    assert not state.settled("1", SETTLE, at(4.9))
    assert state.settled("1", SETTLE, at(5))


def test_a_listing_that_changes_starts_anew_and_its_proof_is_forgotten() -> None:
    state = PollState().record_listing("1", "a", 9, at(0)).record_proof("1", GOOD)
    assert state.listings["1"].proof is GOOD
    changed = state.record_listing("1", "b", 10, at(20))
    assert changed.listings["1"].proof is None
    assert not changed.settled("1", SETTLE, at(24))
    assert changed.settled("1", SETTLE, at(25))
    assert state.record_listing("1", "a", 9, at(99)).listings["1"].proof is GOOD


def test_a_directory_that_is_gone_is_forgotten_and_settles_anew_when_it_comes_back() -> None:
    state = (
        PollState()
        .record_listing("1", "a", 9, at(0))
        .record_listing("2", "b", 9, at(0))
        .keep_only({"2"})
    )
    assert state.listings.keys() == {"2"}
    assert not state.record_listing("1", "a", 9, at(100)).settled("1", SETTLE, at(101))


def test_the_next_poll_need_not_come_before_something_has_settled() -> None:
    state = PollState().record_listing("1", "a", 9, at(0)).record_listing("2", "b", 9, at(3))
    assert state.next_settled(SETTLE) == at(5)
    assert state.record_proof("1", GOOD).next_settled(SETTLE) == at(8)
    assert state.record_proof("1", GOOD).record_proof("2", GOOD).next_settled(SETTLE) is None


@pytest.mark.parametrize(
    ("policy", "looked_at", "limit"),
    [
        ({"latest": 2}, [10, 9, 3], 2),
        ({"all": True}, [10, 9, 3], None),
        ({"specific": [3, 10, 77]}, [10, 3], None),
    ],
)
def test_the_policy_says_what_is_worth_listing(
    policy: dict[str, object], looked_at: list[int], limit: int | None
) -> None:
    """The highest first, by number and not by name."""
    there = tuple(VersionDirectory(n, f"{n:08d}" if n < 10 else str(n)) for n in (3, 9, 10))
    parsed = VersionPolicy.model_validate(policy)
    assert [v.number for v in wanted_versions(parsed, there)] == looked_at
    assert parsed.latest == limit
