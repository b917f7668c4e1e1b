"""When to work on which Model, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

import virtualtime
from slipway_operator.reconcile.scheduler import Key, Scheduler, retry_delay

A, B = Key("ml", "a", "u-a"), Key("ml", "b", "u-b")
Script = Callable[[Key, int], Awaitable[timedelta | None]]


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


class Diary:
    """Works by a script, and writes down when."""

    def __init__(self, script: Script, concurrency: int = 8) -> None:
        self.entries: list[tuple[float, str]] = []
        self.at_once = self.most_at_once = 0
        self._script = script
        self._counts: dict[Key, int] = {}
        self.scheduler = Scheduler("test", self._work, concurrency=concurrency)

    async def _work(self, key: Key) -> timedelta | None:
        count = self._counts[key] = self._counts.get(key, 0) + 1
        self.entries.append((round(asyncio.get_running_loop().time(), 3), key.name))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._script(key, count)
        finally:
            self.at_once -= 1

    async def until(self, end: float) -> None:
        task = asyncio.create_task(self.scheduler.run())
        await asyncio.sleep(end - asyncio.get_running_loop().time())  # virtual seconds
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def once(_: Key, __: int) -> None:
    return None


def test_work_is_done_when_it_is_due_and_only_then() -> None:
    async def story() -> list[tuple[float, str]]:
        diary = Diary(once)
        diary.scheduler.wake(A, seconds(5))
        diary.scheduler.wake(B, seconds(2))
        await diary.until(100)
        return diary.entries

    assert virtualtime.run(story()) == [(2, "b"), (5, "a")]


def test_many_wake_ups_are_one_run_at_the_earliest_of_their_times() -> None:
    async def story() -> list[tuple[float, str]]:
        diary = Diary(once)
        for after in (9, 3, 6):
            diary.scheduler.wake(A, seconds(after))
        await diary.until(100)
        return diary.entries

    assert virtualtime.run(story()) == [(3, "a")]


@pytest.mark.parametrize("works", [False, True])
def test_ever_earlier_wake_ups_leave_nothing_behind(*, works: bool) -> None:
    """Notifications of a busy bucket while the next poll is hours away."""

    async def slow(_: Key, __: int) -> None:
        await asyncio.sleep(1)
        for after in range(20_000, 10_000, -1):
            diary.scheduler.wake(A, seconds(after))

    diary = Diary(slow if works else once)

    async def story() -> None:
        if works:
            diary.scheduler.wake(A)
            await diary.until(5)
        else:
            diary.scheduler.wake(B, seconds(7))
            for after in range(20_000, 10_000, -1):
                diary.scheduler.wake(A, seconds(after))
        # Nothing but the list itself tells what it holds.
        assert len(diary.scheduler._queue) < 100
        await diary.until(30_000)

    virtualtime.run(story())
    first, then = ((0, "a"), (10_002, "a")) if works else ((7, "b"), (10_001, "a"))
    assert diary.entries[:2] == [first, then]


def test_what_comes_while_working_is_one_more_run_and_never_two_at_once() -> None:
    async def slow(_: Key, count: int) -> None:
        if count == 1:
            for _second in range(3):
                await asyncio.sleep(1)
                diary.scheduler.wake(A)

    diary = Diary(slow)

    async def story() -> None:
        diary.scheduler.wake(A)
        await diary.until(100)

    virtualtime.run(story())
    assert diary.entries == [(0, "a"), (3, "a")]
    assert diary.most_at_once == 1


def test_work_says_when_to_look_again() -> None:
    async def every_ten(_: Key, __: int) -> timedelta:
        return seconds(10)

    async def story() -> list[tuple[float, str]]:
        diary = Diary(every_ten)
        diary.scheduler.wake(A)
        await diary.until(35)
        return diary.entries

    assert virtualtime.run(story()) == [(0, "a"), (10, "a"), (20, "a"), (30, "a")]


def test_an_earlier_wake_up_replaces_a_later_one_that_was_asked_for() -> None:
    async def first_says_an_hour(_: Key, count: int) -> timedelta | None:
        return seconds(3600) if count == 1 else None

    async def story() -> list[tuple[float, str]]:
        diary = Diary(first_says_an_hour)
        diary.scheduler.wake(A)
        asyncio.get_running_loop().call_later(7, diary.scheduler.wake, A)
        await diary.until(10_000)
        return diary.entries

    assert virtualtime.run(story()) == [(0, "a"), (7, "a")]


def test_failures_are_retried_with_growing_delays_that_a_success_forgets() -> None:
    async def fails_three_times(_: Key, count: int) -> timedelta | None:
        if count in (1, 2, 3, 5):
            raise RuntimeError("the API server does not answer")
        return seconds(100) if count == 4 else None

    async def story() -> list[float]:
        diary = Diary(fails_three_times)
        diary.scheduler.wake(A)
        await diary.until(10_000)
        return [when for when, _ in diary.entries]

    assert virtualtime.run(story()) == [0, 1, 3, 7, 107, 108]


def test_ones_trouble_stops_no_other() -> None:
    async def a_fails(key: Key, _: int) -> timedelta:
        if key == A:
            raise RuntimeError("no")
        return seconds(50)

    async def story() -> list[float]:
        diary = Diary(a_fails)
        diary.scheduler.wake(A)
        diary.scheduler.wake(B)
        await diary.until(120)
        return [when for when, name in diary.entries if name == "b"]

    assert virtualtime.run(story()) == [0, 50, 100]


def test_so_many_at_once_and_no_more() -> None:
    async def slow(_: Key, __: int) -> None:
        await asyncio.sleep(1)

    diary = Diary(slow, concurrency=3)

    async def story() -> None:
        for number in range(10):
            diary.scheduler.wake(Key("ml", str(number), f"u-{number}"))
        await diary.until(100)

    virtualtime.run(story())
    assert diary.most_at_once == 3
    assert len(diary.entries) == 10
    assert max(when for when, _ in diary.entries) == 3


def test_what_is_forgotten_is_not_worked_on() -> None:
    async def story() -> list[tuple[float, str]]:
        diary = Diary(once)
        diary.scheduler.wake(A, seconds(5))
        diary.scheduler.forget(A)
        await diary.until(100)
        assert diary.scheduler.keys == frozenset()
        return diary.entries

    assert virtualtime.run(story()) == []


def test_running_work_is_cancelled_with_the_scheduler() -> None:
    ended = []

    async def endless(_: Key, __: int) -> None:
        try:
            await asyncio.sleep(10**6)
        finally:
            ended.append(asyncio.get_running_loop().time())

    async def story() -> None:
        diary = Diary(endless)
        diary.scheduler.wake(A)
        await diary.until(5)

    virtualtime.run(story())
    assert ended == [5]


@pytest.mark.parametrize(
    ("failures", "delay"), [(1, 1), (2, 2), (3, 4), (7, 64), (8, 120), (10**6, 120)]
)
def test_delays_double_up_to_two_minutes(failures: int, delay: float) -> None:
    assert retry_delay(failures) == seconds(delay)


@pytest.mark.parametrize("turns", range(4))
def test_it_ends_when_it_is_cancelled_in_the_turn_in_which_it_is_woken(turns: int) -> None:
    async def story() -> None:
        scheduler = Diary(once).scheduler
        scheduler.wake(B, seconds(1000))
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(1)
        scheduler.wake(A, seconds(100))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=50)
        assert done == {running}
        assert running.cancelled()

    virtualtime.run(story())


def test_work_that_never_ends_is_noticed_and_work_that_waits_for_its_time_is_not() -> None:
    async def story() -> None:
        async def hang(key: Key, _: int) -> None:
            if key == B:
                await asyncio.Event().wait()

        scheduler = Diary(hang).scheduler
        limit = seconds(600)
        assert not scheduler.stalled(limit)
        running = asyncio.create_task(scheduler.run())
        scheduler.wake(A, seconds(3000))
        await asyncio.sleep(2990)
        assert not scheduler.stalled(limit)
        scheduler.wake(B)
        await asyncio.sleep(500)
        assert not scheduler.stalled(limit)
        await asyncio.sleep(120)
        assert scheduler.stalled(limit)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not scheduler.stalled(limit)

    virtualtime.run(story())
