"""Who leads, whatever the clocks of the machines say."""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

import virtualtime
from slipway_operator.cluster.client import (
    REQUEST_TIMEOUT_SECONDS,
    Client,
    ClusterError,
    ConflictError,
    NotFoundError,
    NotLeadingError,
)
from slipway_operator.cluster.lease import (
    LEASE_DURATION,
    RENEW_DEADLINE,
    Leadership,
    LeadershipLostError,
)


class Leases:
    """An API server that holds one Lease."""

    def __init__(self) -> None:
        self.held: dict[str, Any] | None = None
        self.version = 0
        self.answers = True
        self.takes = 0.0
        self.cut_off = ""

    async def get(self, *_: object) -> dict[str, Any]:
        await asyncio.sleep(self.takes)
        if not self.answers:
            raise ClusterError("it does not answer")
        if self.held is None:
            raise NotFoundError("none", 404)
        held = self.held
        return held | {"metadata": dict(held["metadata"]), "spec": dict(held["spec"])}

    async def create(self, _: object, __: str, lease: Mapping[str, Any]) -> None:
        await self.replace(_, __, lease)

    async def replace(self, _: object, __: str, lease: Mapping[str, Any]) -> None:
        await asyncio.sleep(self.takes)
        if lease["metadata"].get("resourceVersion", "0") != str(self.version):
            raise ConflictError("it has changed", 409)
        self.version += 1
        metadata = dict(lease["metadata"]) | {"resourceVersion": str(self.version)}
        self.held = dict(lease) | {"metadata": metadata}


class Clock:
    """Of one machine; somebody may set it."""

    def __init__(self) -> None:
        self.set_by = timedelta()

    def __call__(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + self.elapsed() + self.set_by

    @staticmethod
    def elapsed() -> timedelta:
        return timedelta(seconds=asyncio.get_running_loop().time())


class Line:
    """One replica's way to the API server; it may be cut, and then requests hang."""

    def __init__(self, leases: Leases, name: str) -> None:
        self._leases = leases
        self._name = name

    async def _through(self, answer: Awaitable[Any]) -> Any:
        found = await answer
        if self._leases.cut_off == self._name:
            await asyncio.sleep(REQUEST_TIMEOUT_SECONDS)
            raise ClusterError("it does not answer")
        return found

    async def get(self, *where: object) -> Any:
        return await self._through(self._leases.get(*where))

    async def create(self, *what: Any) -> Any:
        return await self._through(self._leases.create(*what))

    async def replace(self, *what: Any) -> Any:
        return await self._through(self._leases.replace(*what))


def replica(leases: Leases, name: str, clock: Clock) -> Leadership:
    return Leadership(
        cast("Client", Line(leases, name)), "ns", "lease", name, clock,
        elapsed=asyncio.get_running_loop().time,
    )  # fmt: skip


def test_a_clock_that_is_set_ahead_takes_no_lease_that_is_renewed() -> None:
    async def story() -> None:
        leases, clock = Leases(), Clock()
        first, second = replica(leases, "first", Clock()), replica(leases, "second", clock)
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        waiting = asyncio.create_task(second.acquire())
        for _ in range(10):
            await asyncio.sleep(5)
            clock.set_by += timedelta(hours=1)
        assert not second.held.is_set()
        assert not keeping.done()
        keeping.cancel()
        before = asyncio.get_running_loop().time()
        await waiting
        assert second.held.is_set()
        assert asyncio.get_running_loop().time() - before > LEASE_DURATION.total_seconds() - 5

    virtualtime.run(story())


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_who_cannot_renew_stops_in_time_whatever_its_clock_says(hours: int) -> None:
    async def story() -> float:
        leases, clock = Leases(), Clock()
        leader = replica(leases, "first", clock)
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await asyncio.sleep(30)
        assert not keeping.done()
        leases.answers = False
        clock.set_by = timedelta(hours=hours)
        start = asyncio.get_running_loop().time()
        with pytest.raises(LeadershipLostError, match="could not be renewed in time"):
            async with asyncio.timeout(60):
                await keeping
        assert not leader.held.is_set()
        return asyncio.get_running_loop().time() - start

    took = virtualtime.run(story())
    assert RENEW_DEADLINE.total_seconds() - 3 <= took < LEASE_DURATION.total_seconds()


@pytest.mark.parametrize("late", [0.2, 1.2, 2.2])
@pytest.mark.parametrize("slow", [0.05, 0.5, 1.9])
def test_requests_that_hang_do_not_make_two_of_one(slow: float, late: float) -> None:
    """Its last request may still be on its way when it stops: that, too, ends before others lead."""

    async def story() -> None:
        leases = Leases()
        leader, other = replica(leases, "first", Clock()), replica(leases, "second", Clock())
        leases.takes = slow
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await asyncio.sleep(late)
        waiting = asyncio.create_task(other.acquire())
        await asyncio.sleep(30)
        assert not keeping.done()
        assert not waiting.done()
        leases.cut_off = "first"
        with pytest.raises(LeadershipLostError):
            await keeping
        lost = asyncio.get_running_loop().time()
        await waiting
        assert asyncio.get_running_loop().time() - lost > REQUEST_TIMEOUT_SECONDS

    virtualtime.run(story())


def test_a_leader_that_ends_gives_the_lease_back() -> None:
    async def story() -> None:
        leases = Leases()
        leader = replica(leases, "first", Clock())
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await asyncio.sleep(7)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await leader.release()
        assert leases.held is not None
        assert leases.held["spec"]["holderIdentity"] == ""

    virtualtime.run(story())


def test_a_leader_that_was_frozen_writes_nothing_any_more_and_says_that_it_lost() -> None:
    async def story() -> None:
        leases, frozen = Leases(), 0.0
        leader = Leadership(
            cast("Client", Line(leases, "first")), "ns", "lease", "first", Clock(),
            elapsed=lambda: asyncio.get_running_loop().time() + frozen,
        )  # fmt: skip
        with pytest.raises(NotLeadingError, match="does not hold the Lease lease"):
            leader.fence()
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await asyncio.sleep(7)
        leader.fence()
        assert not leader.lost
        # The clock of the machine goes on; nothing of this process has run meanwhile.
        frozen = 19.0
        with pytest.raises(NotLeadingError, match="was renewed 20 s ago"):
            leader.fence()
        # Whoever has led meanwhile has written the Lease.
        assert leases.held is not None
        leases.held["spec"]["holderIdentity"] = "second"
        leases.version += 1
        with pytest.raises(LeadershipLostError, match=r"another holds the Lease|renewed in time"):
            async with asyncio.timeout(60):
                await keeping
        assert leader.lost
        assert not leader.held.is_set()

    virtualtime.run(story())
