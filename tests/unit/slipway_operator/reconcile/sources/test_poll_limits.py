"""Poll limits: a slow store holds up its own Models, and no others."""

import asyncio

import pytest

import virtualtime
from slipway_operator.reconcile.sources.poll_limits import PollLimits


async def taking(limits: PollLimits, store: str, seconds: float) -> float:
    """When work of that length has ended."""
    await limits.run(store, lambda: asyncio.sleep(seconds))  # virtual seconds
    return asyncio.get_running_loop().time()


def test_a_store_gets_so_many_polls_at_a_time_and_others_are_free() -> None:
    async def story() -> tuple[list[float], float]:
        limits = PollLimits(per_store=2, total=10, slow_after=1)
        slow = [asyncio.create_task(taking(limits, "slow", 20)) for _ in range(4)]
        await asyncio.sleep(0)
        other = await taking(limits, "other", 1)
        return [await task for task in slow], other

    assert virtualtime.run(story()) == ([20, 20, 40, 40], 1)


def test_who_waits_for_a_store_gives_its_place_away() -> None:
    async def story() -> float:
        limits = PollLimits(per_store=4, total=4, slow_after=3)
        slow = [asyncio.create_task(taking(limits, "slow", 60)) for _ in range(40)]
        await asyncio.sleep(0)
        ended = await taking(limits, "other", 1)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return ended

    assert virtualtime.run(story()) == 4


def test_failures_are_passed_on_and_leave_the_place_free() -> None:
    async def failing() -> None:
        raise ValueError("no")

    async def story() -> float:
        limits = PollLimits(per_store=1, total=1, slow_after=1)
        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                await limits.run("a", failing)
        return await taking(limits, "a", 2)

    assert virtualtime.run(story()) == 2


def test_cancelling_cancels_the_work() -> None:
    cancelled: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(100)  # virtual seconds
        except asyncio.CancelledError:
            cancelled.append("yes")
            raise

    async def story() -> float:
        limits = PollLimits(per_store=1, total=1, slow_after=1)
        for pause in (0.5, 5):
            task = asyncio.create_task(limits.run("a", work))
            await asyncio.sleep(pause)  # virtual seconds
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return await taking(limits, "a", 1)

    assert virtualtime.run(story()) == 6.5
    assert cancelled == ["yes", "yes"]
