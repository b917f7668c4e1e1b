"""Intervals: what was counted between two reads of the pods, whatever becomes of the pods meanwhile."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

import virtualtime
from slipway_operator.api.status import RolloutStatus, timestamp
from slipway_operator.model.analysis import Counters, Interval
from slipway_operator.model.observed import Observed, Pod
from slipway_operator.reconcile.analysis.samples import Samples
from slipway_operator.reconcile.analysis.scrape import ScrapeError
from snapshots import T0, deployment, model, observed, pods

MODEL = model(rollout={"steps": [{"weight": 10, "pause": {}}], "analysis": {"interval": "1m"}})
OLD, NEW = (deployment(MODEL, version) for version in (3, 4))
RECORD = RolloutStatus(
    version=4, key=NEW.key, stable=3, stable_key=OLD.key, plan="p", step=1, steps=1,
    weight=10, reached=33, since=timestamp(T0), reached_at=timestamp(T0),
)  # fmt: skip


class Servers:
    """What each pod's server would tell, and the time."""

    def __init__(self) -> None:
        self.now = T0
        self.pages: dict[str, Counters | str] = {}
        self.reads = 0
        self.samples = Samples(self.read, self.clock)

    def clock(self) -> datetime:
        return self.now

    async def read(self, pod: Pod, model: str) -> Counters:
        assert model == "digits"
        self.reads += 1
        found = self.pages.get(pod.uid, Counters())
        if isinstance(found, str):
            raise ScrapeError(found)
        return found

    def add(self, state: Observed, after: float = 0) -> Interval | None:
        """What a plan sees, after a while, once all is read that an earlier one asked for."""
        self.now += timedelta(seconds=after)
        found = self.samples.add(state).interval
        if not self.samples.asks("u"):
            return found
        asyncio.run(self.samples.read("u"))
        return self.samples.add(state).interval


def state(*there: Pod, record: RolloutStatus | None = RECORD, **spec: Any) -> Observed:
    of = replace(MODEL, status=MODEL.status.model_copy(update={"rollout": record}))
    if spec:
        of = replace(of, spec=of.spec.model_copy(update=spec))
    return observed(of, pods=there or (*pods(OLD), *pods(NEW)[:1]))


OLDS, CANARY = pods(OLD), pods(NEW)[0]


def test_an_interval_is_what_came_between_its_beginning_and_its_end() -> None:
    servers = Servers()
    servers.pages = {OLDS[0].uid: Counters(100, 5), CANARY.uid: Counters(7, 7, {1.0: 7})}
    first = servers.add(state())
    assert first == Interval(NEW.servable, 1, T0)
    assert servers.add(state(), after=59) == first
    servers.pages |= {
        OLDS[0].uid: Counters(160, 6),
        OLDS[1].uid: Counters(30, 1),
        CANARY.uid: Counters(17, 8, {1.0: 16}),
    }
    ended = servers.add(state(), after=1)
    assert ended
    assert (ended.since, ended.until) == (T0, T0 + timedelta(minutes=1))
    assert (ended.old.requests, ended.old.errors) == (90, 2)
    assert ended.new == Counters(10, 1, {1.0: 9})


def test_what_has_ended_is_told_until_a_plan_has_taken_it() -> None:
    servers = Servers()
    servers.add(state())
    ended = servers.add(state(), after=60)
    assert servers.add(state(), after=30) == ended
    servers.samples.taken(replace(state(), interval=ended))
    following = servers.add(state())
    assert following == Interval(NEW.servable, 1, T0 + timedelta(minutes=1), follows=True)


def test_what_ends_while_a_plan_is_being_written_is_kept_for_the_next_plan() -> None:
    servers = Servers()
    servers.add(state())
    servers.now += timedelta(minutes=1)
    planned = servers.samples.add(state())
    assert planned.interval is not None
    assert planned.interval.reading
    asyncio.run(servers.samples.read("u"))
    servers.samples.taken(planned)
    ended = servers.samples.add(state()).interval
    assert ended is not None
    assert ended.until == servers.now


def test_another_step_another_canary_and_a_new_process_begin_anew() -> None:
    servers = Servers()
    servers.add(state())
    assert servers.add(
        state(record=RECORD.model_copy(update={"step": 2, "steps": 2})), 30
    ) == Interval(NEW.servable, 2, T0 + timedelta(seconds=30))
    other = servers.add(state(record=RECORD.model_copy(update={"key": "other"})), 10)
    assert other == Interval("v4-other", 1, T0 + timedelta(seconds=40))
    servers.samples = Samples(servers.read, servers.clock)
    assert servers.add(state(), 10) == Interval(NEW.servable, 1, T0 + timedelta(seconds=50))


@pytest.mark.parametrize(
    "still",
    [
        state(record=None),
        state(record=RECORD.model_copy(update={"reached_at": None})),
        state(record=RECORD.model_copy(update={"step": 2})),
        state(paused=True),
        state(rollout=None),
    ],
)
def test_nobody_is_asked_when_nothing_is_compared(still: Observed) -> None:
    servers = Servers()
    assert servers.add(still) is None
    assert servers.reads == 0
    servers.add(state())
    assert servers.add(still, 30) is None
    assert servers.add(state(), 30) == Interval(NEW.servable, 1, T0 + timedelta(seconds=60))


def test_a_server_that_has_started_again_has_counted_from_zero() -> None:
    servers = Servers()
    servers.pages = {CANARY.uid: Counters(100, 50)}
    servers.add(state())
    servers.pages = {CANARY.uid: Counters(4, 1)}
    ended = servers.add(state(), after=60)
    assert ended
    assert (ended.new.requests, ended.new.errors) == (4, 1)


def test_a_pod_that_came_meanwhile_counts_whole_and_one_that_was_not_read_at_first_not_at_all() -> (
    None
):
    servers = Servers()
    servers.pages = {OLDS[0].uid: "no answer"}
    servers.add(state())
    servers.pages = {OLDS[0].uid: Counters(1000), "fresh": Counters(5, 2)}
    fresh = replace(CANARY, uid="fresh", name="fresh", created_at=T0 + timedelta(seconds=9))
    ended = servers.add(state(OLDS[0], fresh), after=60)
    assert ended
    assert ended.unread == ""
    assert (ended.old.requests, ended.new.requests) == (0, 5)


def test_a_pod_that_does_not_answer_is_named() -> None:
    servers = Servers()
    servers.add(state())
    servers.pages = {CANARY.uid: "no route"}
    ended = servers.add(state(), after=60)
    assert ended
    assert ended.unread == f"the metrics of pod {CANARY.name} could not be read: no route"


def test_why_pods_are_not_read_has_room_in_the_status() -> None:
    servers = Servers()
    servers.add(state())
    there = [replace(CANARY, uid=f"u{i}", name=f"{'n' * 250}{i}") for i in range(9)]
    servers.pages = {pod.uid: "x\n\udc80\0" * 9999 for pod in there}
    ended = servers.add(state(*there), after=60)
    assert ended
    assert len(ended.unread) == 900
    assert ended.unread.isprintable()
    assert there[0].name in ended.unread
    assert there[1].name in ended.unread


def test_a_hundred_pods_that_do_not_answer_take_no_longer_than_a_few() -> None:
    there = [replace(CANARY, uid=f"u{i}", name=f"p{i}") for i in range(100)]
    now = busy = most = 0

    async def read(*_: object) -> Counters:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        try:
            await asyncio.sleep(3)  # virtual, as long as a page may take
        finally:
            busy -= 1
        raise ScrapeError("no answer")

    async def body() -> tuple[Interval | None, float]:
        nonlocal now
        samples = Samples(read, lambda: T0 + timedelta(minutes=now))
        samples.add(state(*there))
        await samples.read("u")
        now = 1
        samples.add(state(*there))
        began = asyncio.get_running_loop().time()
        await samples.read("u")
        ended = samples.add(state(*there))
        return ended.interval, asyncio.get_running_loop().time() - began

    ended, seconds = virtualtime.run(body())
    assert seconds == 6
    assert most == 8, "others have room"
    assert busy == 0
    assert ended
    assert ended.new == ended.old == Counters()
    assert ended.unread.startswith("the metrics of pod p0 could not be read: no answer")


def test_a_pod_whose_turn_did_not_come_is_not_read() -> None:
    there = [replace(CANARY, uid=f"u{i}", name=f"p{i}") for i in range(9)]
    now = 0

    async def read(*_: object) -> Counters:
        if now:
            await asyncio.Event().wait()
        return Counters(5)

    async def body() -> Observed:
        nonlocal now
        samples = Samples(read, lambda: T0 + timedelta(minutes=now))
        samples.add(state(*there))
        await samples.read("u")
        now = 1
        samples.add(state(*there))
        await samples.read("u")
        return samples.add(state(*there))

    ended = virtualtime.run(body()).interval
    assert ended
    assert "pod p0 could not be read: not all 9 pods were read within 6 s" in ended.unread


class Hanging(Servers):
    """Its pages come when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def read(self, pod: Pod, model: str) -> Counters:
        await self.answers.wait()
        return await super().read(pod, model)


def test_while_an_interval_is_read_plans_are_told_so() -> None:
    async def body() -> None:
        servers = Hanging()
        samples = servers.samples
        assert samples.add(state()).interval is None
        begins = asyncio.create_task(samples.read("u"))
        await asyncio.sleep(1)  # virtual
        assert samples.add(state()).interval is None, "nobody knows when it begins"
        servers.answers.set()
        await begins
        assert not samples.asks("u")
        servers.answers.clear()
        servers.now += timedelta(minutes=1)
        reading = Interval(NEW.servable, 1, T0, reading=True)
        assert samples.add(state()).interval == reading
        ends = asyncio.create_task(samples.read("u"))
        await asyncio.sleep(1)  # virtual
        assert samples.add(state()).interval == reading
        servers.answers.set()
        await ends
        ended = samples.add(state()).interval
        assert ended
        assert (ended.until, ended.reading, samples.asks("u")) == (servers.now, False, False)

    virtualtime.run(body())


def test_what_is_read_of_a_step_that_is_over_says_nothing_of_the_next_one() -> None:
    async def body() -> None:
        servers = Hanging()
        samples = servers.samples
        samples.add(state())
        first = asyncio.create_task(samples.read("u"))
        await asyncio.sleep(1)  # virtual
        following = state(record=RECORD.model_copy(update={"step": 2, "steps": 2}))
        samples.add(following)
        servers.answers.set()
        await first
        assert samples.asks("u")
        assert samples.add(following).interval is None
        await samples.read("u")
        assert samples.add(following).interval == Interval(NEW.servable, 2, T0)

    virtualtime.run(body())


def test_a_read_for_a_model_that_is_gone_leaves_nothing() -> None:
    async def body() -> None:
        servers = Hanging()
        servers.samples.add(state())
        reading = asyncio.create_task(servers.samples.read("u"))
        await asyncio.sleep(1)  # virtual
        servers.samples.forget("u")
        servers.answers.set()
        await reading
        assert not servers.samples.asks("u")
        assert servers.samples.add(state()).interval is None

    virtualtime.run(body())


def test_after_a_plan_that_could_not_be_made_the_next_interval_follows_none() -> None:
    servers = Servers()
    servers.add(state())
    servers.add(state(), after=60)
    servers.samples.taken(servers.samples.add(state()), told=False)
    assert servers.add(state()) == Interval(NEW.servable, 1, T0 + timedelta(minutes=1))
