"""When retention deletes nothing, one doubt after the other; and what it says."""

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from signed_exports import PUBLIC, signed
from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.status import RetentionStatus
from slipway_operator.discovery.old_exports import (
    ExportChangedError,
    ExportDeletion,
    list_old_exports,
    old_export,
)
from slipway_operator.discovery.poll_state import PollState
from slipway_operator.model.retention import OldExport, Protected, Survey
from slipway_operator.model.source import Readiness, SourceObservation, SourceVersion
from slipway_operator.planning.retention.decision import (
    RetentionDecision,
    after,
    concerns,
    decide,
    key_of,
    protected,
    rests,
)
from slipway_operator.planning.status.degraded import RETENTION_FAILURES
from slipway_sync.exports import Requirements
from slipway_sync.stores import LocalStore
from slipway_sync.stores.base import Pages
from small_exports import contents, write
from snapshots import T0, deployment, listed, listed_as, model, observed, pods, service

GUARD = Protected(floor=5, versions={5}, needed={5})
OLD = tuple(
    OldExport(n, str(n), f"{n}".ljust(64, "0"), 3, 4_000_000, T0, Readiness.UNSEEN) for n in (2, 1)
)


def survey_of(*states: Readiness, old: tuple[OldExport, ...] = OLD) -> Survey:
    """Versions from 5 down, then 2 and 1."""
    top = tuple(
        OldExport(5 - n, str(5 - n), "r", 0, 0, None, state) for n, state in enumerate(states)
    )
    return Survey((*top, *old), frozenset(e.number for e in (*top, *old)))


WHOLE = survey_of(*[Readiness.COMPLETE] * 3)


class World:
    """A Model whose passes remember."""

    def __init__(self, **spec: Any) -> None:
        self.of: ModelResource = model(retention={"keep": 3} | spec.pop("retention", {}), **spec)
        self.now = T0
        self.source: SourceObservation = listed(1, 2, 3, 4, 5)
        self.survey = WHOLE
        self.guard = GUARD

    def edit(self, **spec: Any) -> None:
        changed = model(**({"retention": {"keep": 3}} | spec))
        self.of = replace(changed, status=self.of.status)

    def decide(self, *, later: int = 0) -> RetentionDecision:
        self.now += timedelta(seconds=later)
        decision = decide(self.of, self.source, self.survey, self.guard, self.now)
        self.remember(decision.status)
        return decision

    def remember(self, retention: object) -> None:
        status = self.of.status.model_copy(update={"retention": retention})
        self.of = replace(self.of, status=status)

    @property
    def said(self) -> RetentionStatus:
        retention = self.of.status.retention
        assert retention is not None
        return retention

    @property
    def message(self) -> str:
        return self.said.message


def test_the_first_pass_says_and_the_second_deletes() -> None:
    world = World()
    first = world.decide()
    assert not first.delete
    assert [(event.reason, event.warning) for event in first.events] == [("WouldDelete", False)] * 2
    assert first.events[0].message == (
        "version 1 would be deleted from the source (3 objects, 4.0 MB; 1/): "
        "it goes in 60 s at the earliest"
    )
    assert first.again == timedelta(seconds=61)
    assert world.message == (
        "retention: versions 1, 2 will be deleted after 12:01:00Z: 6 objects, 8.0 MB; "
        "versions 5, 4, 3 stay"
    )
    assert not world.decide(later=60).delete
    second = world.decide(later=1)
    assert [doomed.version for doomed in second.delete] == [1, 2]
    assert not second.events
    assert world.message.startswith("retention: versions 1, 2 are being deleted")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {
                "source": SourceObservation(
                    polled=True, error_reason="Unavailable", error_message="x"
                )
            },
            "the source was not listed: x",
        ),
        ({"source": SourceObservation()}, "the source was not listed: not polled yet"),
        ({"survey": Survey((), frozenset())}, "the source is empty"),
        (
            {"source": replace(listed(1, 2, 3, 4, 5), warnings=("3 is spelled twice",))},
            "3 is spelled twice",
        ),
        (
            {"survey": survey_of(Readiness.COMPLETE, Readiness.COMPLETE)},
            "version 3 was removed from the source since the last poll",
        ),
        (
            {
                "survey": survey_of(
                    *[Readiness.COMPLETE] * 2, Readiness.SETTLING, Readiness.COMPLETE
                )
            },
            "version 3 is not complete yet",
        ),
        (
            {"survey": survey_of(Readiness.INCOMPLETE, *[Readiness.COMPLETE] * 3)},
            "version 5 is not complete yet",
        ),
        ({"guard": Protected(None, set(), set())}, "no version serves or can serve"),
        (
            {"guard": Protected(5, {5, 9}, {5, 9})},
            "version 9 serves and is not in the source",
        ),
    ],
)
def test_a_doubt_stops_what_was_due_and_a_minute_must_pass_after_it(
    change: dict[str, Any], why: str
) -> None:
    world = World()
    world.decide()
    before = (world.source, world.survey, world.guard)
    for name, value in change.items():
        setattr(world, name, value)
    doubtful = world.decide(later=300)
    assert not doubtful.delete
    assert world.message == f"retention: nothing is deleted: {why}"
    world.source, world.survey, world.guard = before
    believed = world.decide(later=300)
    assert not believed.delete
    assert not believed.events, "it was named before"
    assert not world.decide(later=60).delete
    assert [doomed.version for doomed in world.decide(later=1).delete] == [1, 2]


def test_a_paused_model_deletes_nothing() -> None:
    world = World(paused=True)
    world.decide()
    assert not world.decide(later=300).delete
    assert world.message == "retention: nothing is deleted: spec.paused is true"


@pytest.mark.parametrize(
    "changed",
    [
        {"retention": {"keep": 3, "dryRun": True}},
        {"source": {"uri": "s3://other/digits"}},
        {"source": {"uri": "s3://models/digits", "endpoint": "http://elsewhere:9000"}},
    ],
)
def test_a_change_of_retention_or_of_the_source_starts_anew(changed: dict[str, Any]) -> None:
    world = World()
    world.decide()
    world.edit(**changed)
    world.now += timedelta(hours=1)
    fresh = world.decide()
    assert not fresh.delete
    assert [event.reason for event in fresh.events] == ["WouldDelete"] * 2
    world.edit()
    assert key_of(world.of.spec) != world.said.key
    assert not world.decide(later=3600).delete


def test_an_export_that_changes_after_it_was_named_is_named_again() -> None:
    world = World()
    world.decide()
    other = (OLD[0], replace(OLD[1], revision="f" * 64))
    world.survey = survey_of(*[Readiness.COMPLETE] * 3, old=other)
    second = world.decide(later=61)
    assert [doomed.version for doomed in second.delete] == [2]
    assert [event.message[:9] for event in second.events] == ["version 1"]
    assert [doomed.version for doomed in world.decide(later=61).delete] == [1, 2]


def test_what_is_no_export_or_cannot_be_named_is_left_alone() -> None:
    world = World()
    old = (replace(OLD[0], is_export=False), replace(OLD[1], hostile="the key a/../b holds '..'"))
    world.survey = survey_of(*[Readiness.COMPLETE] * 3, old=old)
    world.decide()
    assert not world.decide(later=300).delete
    assert not world.said.versions


def test_a_deletion_that_is_refused_is_told_once_and_tried_again_later() -> None:
    world = World()
    world.decide()
    due = world.decide(later=61)
    assert due.status
    failure = (Reason.RETENTION_DENIED, "version 1 was not deleted: access denied")
    status, events = after(due.status, None, failure, world.now)
    assert [(event.reason, event.warning) for event in events] == [("RetentionDenied", True)]
    assert Reason.RETENTION_DENIED in RETENTION_FAILURES
    world.remember(status)
    waiting = world.decide(later=10)
    assert not waiting.delete
    assert world.message == failure[1]
    again = world.decide(later=300)
    assert [doomed.version for doomed in again.delete] == [1, 2]
    assert again.status
    status, events = after(again.status, None, failure, world.now)
    assert not events, "it was told"
    status, events = after(status, again.delete[0], None, world.now)
    assert (status.reason, [n.reason for n in events]) == ("", ["Deleted"])
    assert [doomed.version for doomed in status.versions] == [2]


def test_a_deletion_of_which_nobody_lived_to_tell_is_told_by_the_next_pass() -> None:
    world = World()
    world.decide()
    world.decide(later=61)
    world.survey = survey_of(*[Readiness.COMPLETE] * 3, old=OLD[:1])
    told = world.decide(later=5)
    assert [event.message[:21] for event in told.events] == ["version 1 was deleted"]
    assert [doomed.version for doomed in told.delete] == [2]


def test_too_few_versions_are_no_doubt() -> None:
    world = World()
    world.survey = survey_of(Readiness.SETTLING, Readiness.COMPLETE)
    world.decide()
    assert world.said.reason == ""
    assert "1 version is complete, 3 stay" in world.message


def test_only_so_many_are_named_at_once() -> None:
    many = tuple(replace(OLD[0], number=n, directory=str(n)) for n in range(200, 0, -1))
    top = tuple(OldExport(n, str(n), "r", 0, 0, None, Readiness.COMPLETE) for n in (300, 299, 298))
    world = World()
    world.guard = Protected(300, {300}, {300})
    world.survey = Survey((*top, *many), frozenset(e.number for e in (*top, *many)))
    world.decide()
    assert [doomed.version for doomed in world.said.versions] == list(range(1, 33))


def test_what_is_protected() -> None:
    of = model(labels={"stable": 2}, versions={"latest": 1})
    four = deployment(of, 4, replicas=2)
    state = observed(
        of,
        source=listed(1, 2, 3, 4, others=[listed_as(5, Readiness.REJECTED)]),
        deployments=(four,),
        pods=pods(four),
        services=service(of, four.servable),
    )
    guard = protected(state)
    assert [n for n in range(1, 7) if guard.allows(n)] == [1, 3]
    assert set(guard.needed) == {4}
    nothing = protected(observed(of, source=SourceObservation(polled=True)))
    assert not any(nothing.allows(n) for n in range(1, 7))


def test_a_pass_is_asked_for_only_where_something_may_come_of_it() -> None:
    world = World()
    assert not concerns(world.of, listed(1, 2, 3))
    assert concerns(world.of, listed(1, 2, 3, 4))
    assert rests(world.of, world.now) is None
    world.decide()
    assert concerns(world.of, listed(3)), "something was named"
    assert rests(world.of, world.now) == timedelta(seconds=61)
    assert rests(world.of, world.now + timedelta(seconds=61)) is None


def test_a_survey_looks_no_further_than_it_must(tmp_path: Path) -> None:
    for number in range(1, 7):
        write(tmp_path / str(number), contents(seed=number, size=200))
    (tmp_path / "4" / "saved_model.pb").unlink()
    asked: list[str] = []

    class Counting(LocalStore):
        async def pages(self, directory: str) -> Pages:
            asked.append(directory)
            async for page in super().pages(directory):
                yield page

    of = model(retention={"keep": 2}, source={"uri": "s3://models/digits", "settle": "0s"})
    unseen = [listed_as(n, Readiness.UNSEEN) for n in range(1, 6)]
    source = listed(6, others=unseen)
    looked, _ = asyncio.run(list_old_exports(Counting(tmp_path), of, source, PollState(), T0))
    assert [(e.number, e.readiness.value) for e in looked.exports] == [
        (6, "Complete"), (5, "Complete"),
        (4, "Unseen"), (3, "Unseen"), (2, "Unseen"), (1, "Unseen"),
    ]  # fmt: skip
    assert asked == ["5", "4", "3", "2", "1"], "6 was just looked at by the poll"
    assert [e.is_export for e in looked.exports[2:]] == [False, True, True, True]


def test_an_export_that_nobody_signed_is_none_of_those_that_are_enough(tmp_path: Path) -> None:
    """Else it would take the place of a good one, which would be deleted."""
    for number, files in ((1, signed(contents())), (2, contents())):
        write(tmp_path / str(number), files)
    of = model(retention={"keep": 1}, source={"uri": "s3://models/digits", "settle": "0s"})
    source = replace(listed(3), versions=tuple(listed_as(n, Readiness.UNSEEN) for n in (1, 2)))
    asked = Requirements(public_keys=(PUBLIC,))
    looked, _ = asyncio.run(
        list_old_exports(LocalStore(tmp_path), of, source, PollState(), T0, asked)
    )
    assert [(e.number, e.readiness.value) for e in looked.exports] == [
        (2, "Rejected"), (1, "Complete"),
    ]  # fmt: skip


def test_an_export_that_moved_at_the_last_moment_is_not_deleted(tmp_path: Path) -> None:
    write(tmp_path / "1", contents(size=200))
    store = LocalStore(tmp_path)
    world = World()
    found = SourceVersion(1, "1", "", 0, Readiness.UNSEEN)
    export = old_export(found, asyncio.run(store.listing("1")))
    world.survey = survey_of(*[Readiness.COMPLETE] * 3, old=(export,))
    world.decide()
    [doomed] = world.decide(later=61).delete
    (tmp_path / "1" / "assets" / "words.txt").write_text("late")
    with pytest.raises(ExportChangedError, match="version 1 was not deleted: it has changed"):
        asyncio.run(ExportDeletion(store, doomed).run())
    assert (tmp_path / "1" / "saved_model.pb").exists()


def test_the_rest_of_a_deletion_that_was_written_to_is_not_deleted(tmp_path: Path) -> None:
    write(tmp_path / "1", contents(size=200))
    store = LocalStore(tmp_path)
    listing = asyncio.run(store.listing("1"))
    found = SourceVersion(1, "1", "", 0, Readiness.UNSEEN)
    world = World()
    world.now = datetime.now(UTC)
    world.survey = survey_of(*[Readiness.COMPLETE] * 3, old=(old_export(found, listing),))
    world.decide()
    [doomed] = world.decide(later=61).delete
    (tmp_path / "1" / "saved_model.pb").unlink()
    asyncio.run(ExportDeletion(store, doomed).run())
    assert not (tmp_path / "1").exists()
    write(tmp_path / "1", {"assets/late": b"x"})
    later = world.now.timestamp() + 3600
    os.utime(tmp_path / "1" / "assets" / "late", (later, later))
    with pytest.raises(ExportChangedError):
        asyncio.run(ExportDeletion(store, doomed).run())
    assert (tmp_path / "1" / "assets" / "late").exists()
