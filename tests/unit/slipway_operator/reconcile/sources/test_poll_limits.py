"""Lanes: a slow store holds up its own Models, and no others."""

import asyncio

import pytest

import virtualtime
from slipway_operator.reconcile.sources.poll_limits import Lanes


async def taking(lanes: Lanes, lane: str, seconds: float) -> float:
    """When work of that length has ended."""
    await lanes.run(lane, lambda: asyncio.sleep(seconds))  # virtual seconds
    return asyncio.get_running_loop().time()


def test_a_lane_is_as_wide_as_it_is_and_others_are_free() -> None:
    async def story() -> tuple[list[float], float]:
        lanes = Lanes(width=2, total=10, patience=1)
        slow = [asyncio.create_task(taking(lanes, "slow", 20)) for _ in range(4)]
        await asyncio.sleep(0)
        other = await taking(lanes, "other", 1)
        return [await task for task in slow], other

    assert virtualtime.run(story()) == ([20, 20, 40, 40], 1)


def test_who_waits_for_a_store_gives_its_place_away() -> None:
    async def story() -> float:
        lanes = Lanes(width=4, total=4, patience=3)
        slow = [asyncio.create_task(taking(lanes, "slow", 60)) for _ in range(40)]
        await asyncio.sleep(0)
        ended = await taking(lanes, "other", 1)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return ended

    assert virtualtime.run(story()) == 4


def test_failures_are_passed_on_and_leave_the_lane_free() -> None:
    async def failing() -> None:
        raise ValueError("no")

    async def story() -> float:
        lanes = Lanes(width=1, total=1, patience=1)
        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                await lanes.run("a", failing)
        return await taking(lanes, "a", 2)

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
        lanes = Lanes(width=1, total=1, patience=1)
        for pause in (0.5, 5):
            task = asyncio.create_task(lanes.run("a", work))
            await asyncio.sleep(pause)  # virtual seconds
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return await taking(lanes, "a", 1)

    assert virtualtime.run(story()) == 6.5
    assert cancelled == ["yes", "yes"]
