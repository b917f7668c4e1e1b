"""The loop notices a watch that has gone quiet, and an API server that comes back."""

import asyncio
import contextlib
from datetime import timedelta
from itertools import pairwise
from typing import Any, cast

import pytest

import virtualtime
from slipway_operator.cluster.client import ClusterError
from slipway_operator.reconcile.loop import SPACING, Loop
from slipway_operator.reconcile.scheduler import Key

KEY = Key("ml", "digits", "u-1")


class FakeApi:
    """Lists one Model at a version; fails as often as it is told."""

    def __init__(self, version: int, failures: int = 0) -> None:
        self.version = version
        self.failures = failures

    async def list(self, _: object, __: str) -> list[dict[str, Any]]:
        if self.failures:
            self.failures -= 1
            raise ClusterError("the API server does not answer")
        metadata = {"namespace": "ml", "name": "digits", "uid": "u-1"}
        return [{"metadata": metadata | {"resourceVersion": str(self.version)}}]


class FakeWork:
    """A reconciler and the sources in one."""

    def __init__(self) -> None:
        self.reconciled = 0

    async def reconcile(self, _: Key) -> timedelta | None:
        self.reconciled += 1
        return None

    async def poll(self, _: Key) -> None:
        return None

    def asks_for_samples(self, _: Key) -> bool:
        return False

    def polled(self, _: Key) -> bool:
        return True


def run_for(api: FakeApi, heard: int | None, seconds: float) -> tuple[Loop, FakeWork]:
    work = FakeWork()

    async def body() -> Loop:
        loop = Loop(cast("Any", api), cast("Any", work), cast("Any", work), ())
        if heard is not None:
            loop.model_changed(KEY, heard)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(loop.run(), seconds)
        return loop

    return virtualtime.run(body()), work


def test_a_watch_that_told_of_the_newest_change_is_trusted() -> None:
    loop, _ = run_for(FakeApi(version=7), heard=7, seconds=400)
    assert loop.watch_alive


def test_a_watch_that_never_told_of_a_change_is_found_out() -> None:
    loop, _ = run_for(FakeApi(version=9), heard=7, seconds=60)
    assert not loop.watch_alive


def test_a_watch_has_some_time_to_tell() -> None:
    loop, _ = run_for(FakeApi(version=9), heard=7, seconds=20)
    assert loop.watch_alive


def test_a_model_that_no_watch_told_of_is_worked_on_all_the_same() -> None:
    _, work = run_for(FakeApi(version=9), heard=None, seconds=5)
    assert work.reconciled == 1


def test_an_api_server_that_does_not_answer_ends_nothing() -> None:
    loop, work = run_for(FakeApi(version=7, failures=3), heard=7, seconds=140)
    assert work.reconciled == 2  # by the watch, and by the sweep that got through
    assert loop.watch_alive


class Keys(FakeWork):
    """Writes down which Models are reconciled and forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[Key] = []
        self.forgotten: list[Key] = []

    async def reconcile(self, key: Key) -> timedelta | None:
        self.keys.append(key)
        return None

    def forget(self, key: Key) -> None:
        self.forgotten.append(key)


class SlowApi(FakeApi):
    """Its list takes a second to arrive."""

    async def list(self, resource: object, namespace: str) -> list[dict[str, Any]]:
        listed = await super().list(resource, namespace)
        await asyncio.sleep(1)  # virtual
        return listed


@pytest.mark.parametrize(
    ("told", "reconciled"),
    [
        (Key("ml", "fashion", "u-2"), {KEY, Key("ml", "fashion", "u-2")}),
        (Key("ml", "digits", "u-2"), {Key("ml", "digits", "u-2")}),
    ],
    ids=["another name", "the same name"],
)
def test_a_model_that_is_made_while_the_models_are_listed_is_kept(
    told: Key, reconciled: set[Key]
) -> None:
    work = Keys()

    async def body() -> None:
        loop = Loop(cast("Any", SlowApi(5)), cast("Any", work), cast("Any", work), ())
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(0.5)  # virtual
        loop.model_changed(told, 6)
        await asyncio.sleep(20)  # virtual
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtualtime.run(body())
    assert (set(work.keys), work.forgotten) == (reconciled, [])


def test_a_model_that_only_the_list_shows_takes_the_place_of_the_one_before() -> None:
    work, before = Keys(), Key("ml", "digits", "u-0")

    async def body() -> None:
        loop = Loop(cast("Any", FakeApi(5)), cast("Any", work), cast("Any", work), ())
        loop.model_changed(before, 4)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(loop.run(), 20)  # virtual seconds

    virtualtime.run(body())
    assert (set(work.keys), set(work.forgotten)) == ({KEY}, {before})


def test_a_model_that_is_deleted_while_the_models_are_listed_stays_deleted() -> None:
    work = Keys()

    async def body() -> Loop:
        loop = Loop(cast("Any", SlowApi(5)), cast("Any", work), cast("Any", work), ())
        loop.model_changed(KEY, 5)
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(0.5)  # virtual
        work.keys.clear()
        loop.model_deleted(KEY)
        await asyncio.sleep(60)  # virtual
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return loop

    assert virtualtime.run(body()).watch_alive
    assert work.keys == []


class Unpolled(FakeWork):
    """Its Model's spec is invalid: a poll does nothing, and asks for no other."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = 0

    async def poll(self, _: Key) -> None:
        self.polls += 1

    def polled(self, _: Key) -> bool:
        return False


def test_a_model_whose_spec_was_invalid_at_its_first_poll_is_polled_when_that_changes() -> None:
    work = Unpolled()

    async def body() -> None:
        loop = Loop(cast("Any", FakeApi(5)), cast("Any", work), cast("Any", work), ())
        loop.model_changed(KEY, 5)
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(5)  # virtual
        assert work.polls == 1
        loop.spec_changed(KEY)
        await asyncio.sleep(1)  # virtual
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtualtime.run(body())
    assert work.polls == 2


class Diary(FakeWork):
    """Writes down when polls begin; no Model has been polled until then."""

    def __init__(self) -> None:
        super().__init__()
        self.polls: list[float] = []

    async def poll(self, _: Key) -> None:
        self.polls.append(asyncio.get_running_loop().time())

    def polled(self, _: Key) -> bool:
        return False


@pytest.mark.parametrize("leads_first", [False, True], ids=["has watched for days", "leads"])
def test_the_first_polls_stand_in_a_row(*, leads_first: bool) -> None:
    work = Diary()
    silent = FakeApi(1, failures=9999)  # or the sweep would take the Models for gone
    day = 86_400.0

    async def body() -> None:
        loop = Loop(cast("Any", silent), cast("Any", work), cast("Any", work), ())
        running = asyncio.create_task(loop.run()) if leads_first else None
        await asyncio.sleep(0)
        for number in range(1000):
            loop.model_changed(Key("ml", f"m{number}", f"u-{number}"), 1)
            loop.spec_changed(Key("ml", f"m{number}", f"u-{number}"))
        if running is None:
            await asyncio.sleep(day)  # virtual seconds
            running = asyncio.create_task(loop.run())
        await asyncio.sleep(40)  # virtual seconds
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtualtime.run(body())
    begun = [moment - work.polls[0] for moment in work.polls]
    assert len(begun) >= 1000
    assert begun[999] == pytest.approx(999 * SPACING.total_seconds(), abs=0.1)
    assert all(b - a > 0.9 * SPACING.total_seconds() for a, b in pairwise(begun[:1000]))


OTHERS = [Key("ml", f"model-{number}", f"u-{number}") for number in range(9)]


class ManyApi:
    """Lists them all."""

    async def list(self, _: object, __: str) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {
                    "namespace": key.namespace,
                    "name": key.name,
                    "uid": key.uid,
                    "resourceVersion": "5",
                }
            }
            for key in (KEY, *OTHERS)
        ]


class Hanging(FakeWork):
    """Every Model but one has a canary whose servers hang when their metrics are read."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[Key, list[float]] = {}
        self.asked: set[Key] = set(OTHERS)

    async def reconcile(self, key: Key) -> timedelta | None:
        self.times.setdefault(key, []).append(asyncio.get_running_loop().time())
        return None

    def asks_for_samples(self, key: Key) -> bool:
        return key in self.asked

    async def sample(self, key: Key) -> bool:
        if key not in self.asked:
            return False
        await asyncio.sleep(6)  # virtual
        self.asked.discard(key)
        return True

    def forget(self, _: Key) -> None: ...


def test_metrics_that_hang_hold_up_no_reconcile_and_are_taken_up_when_they_are_read() -> None:
    work = Hanging()

    async def body() -> Loop:
        loop = Loop(cast("Any", ManyApi()), cast("Any", work), cast("Any", work), ())
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(1)  # virtual
        loop.child_changed("ml", KEY.name)
        loop.child_changed("ml", OTHERS[0].name)
        await asyncio.sleep(1)  # virtual
        assert len(work.times[OTHERS[0]]) == 2, "its own pods change, too"
        assert len(work.times[KEY]) == 2
        await asyncio.sleep(18)  # virtual
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return loop

    virtualtime.run(body())
    assert work.asked == set()
    counts = {key: len(times) for key, times in work.times.items()}
    assert counts == {KEY: 2, **dict.fromkeys(OTHERS, 2), OTHERS[0]: 3}
    assert work.times[OTHERS[1]][1] - work.times[OTHERS[1]][0] == pytest.approx(6)
