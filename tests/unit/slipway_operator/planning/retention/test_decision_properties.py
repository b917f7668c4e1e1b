"""What retention may never delete, and that it ends, over random histories of a simulated fleet."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet import Fleet
from histories import Event, History
from retaining import EVENTS_AND_RETENTION, OFTEN, Retention
from slipway_operator.planning.retention.decision import protected


def world_of(versions: int, keep: int, *, dry_run: bool = False) -> Retention:
    fleet = Fleet()
    for number in range(1, versions + 1):
        fleet.upload(number)
    return Retention(History(fleet), keep, dry_run=dry_run)


def pass_until_quiet(world: Retention) -> None:
    """A minute between passes, until nothing more is named."""
    for _ in range(12):
        world.fleet.now += timedelta(seconds=62)
        world.history.come_to_rest()
        world.one_pass()


@settings(max_examples=5 * settings().max_examples)
@given(
    history=st.lists(st.tuples(st.sampled_from(OFTEN), st.integers(0, 2**16)), max_size=40),
    keep=st.integers(1, 3),
)
def test_nothing_that_is_needed_is_ever_deleted_and_all_else_is_in_the_end(
    history: list[Event], keep: int
) -> None:
    world = world_of(4, keep)
    world.play(history)
    fleet = world.fleet
    # No more faults: what was uploaded is complete, and retention is on.
    for number, export in list(fleet.exports.items()):
        if not export.complete and number not in world.begun:
            fleet.finish_upload(number)
    fleet.edit(retention={"keep": keep, "dryRun": False})
    world.history.recover()
    pass_until_quiet(world)
    guard = protected(fleet.observe())
    complete = sorted((n for n, e in fleet.exports.items() if e.complete), reverse=True)
    left = {n for n in complete[keep:] if guard.allows(n)}
    assert not left, world.history.describe()


def test_a_dry_run_says_each_version_once_and_deletes_nothing() -> None:
    world = world_of(5, 2, dry_run=True)
    pass_until_quiet(world)
    assert set(world.fleet.exports) == {1, 2, 3, 4, 5}
    assert [event.reason for event in world.events] == ["WouldDelete"] * 3
    assert world.fleet.status.retention is not None
    assert world.fleet.status.retention.message == (
        "retention: versions 1, 2, 3 would be deleted (dryRun): 12 objects, 36 B; "
        "versions 5, 4 stay"
    )


def test_each_version_is_named_and_then_deleted() -> None:
    world = world_of(4, 2)
    world.one_pass()
    assert set(world.fleet.exports) == {1, 2, 3, 4}
    assert [event.reason for event in world.events] == ["WouldDelete", "WouldDelete"]
    pass_until_quiet(world)
    assert set(world.fleet.exports) == {3, 4}
    assert [event.reason for event in world.events[2:]] == ["Deleted", "Deleted"]
    assert world.events[2].message == (
        "version 1 was deleted from the source (4 objects, 12 B; 1/)"
    )


def test_every_kill_in_mid_deletion_is_recovered_from() -> None:
    for lives in range(8):
        world = world_of(4, 2)
        world.one_pass()
        world.fleet.now += timedelta(seconds=62)
        world.history.come_to_rest()
        world.one_pass(lives)
        pass_until_quiet(world)
        assert set(world.fleet.exports) == {3, 4}, lives


def test_every_event_can_happen() -> None:
    world = world_of(3, 1)
    for name in EVENTS_AND_RETENTION:
        world.play([(name, 11)])
