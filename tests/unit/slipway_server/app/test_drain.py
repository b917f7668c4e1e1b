"""When a drain is over, by a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slipway_server.app.drain import Clients, Drain, DrainLimits, verdict

LIMITS = DrainLimits(least=3, most=12, quiet=1)


@pytest.mark.parametrize(
    ("elapsed", "connections", "none_since", "reason"),
    [
        (0.0, 0, 0.0, None),
        (2.9, 0, 0.0, None),
        # Quiet before the proxies can know is no sign.
        (3.9, 0, 0.0, None),
        (4.0, 0, 0.0, "no connection left after 4.0 s"),
        (4.0, 0, 3.5, None),
        (4.5, 0, 3.5, "no connection left after 4.5 s"),
        (8.0, 3, None, None),
        (8.0, None, None, None),
        (11.9, 0, 11.0, None),
        (11.9, 1, None, None),
        (12.0, 2, None, "drain_seconds over with 2 connections"),
        (12.4, 1, None, "drain_seconds over with 1 connection"),
        (12.0, 0, 11.5, "drain_seconds over with 0 connections"),
        (12.0, None, None, "drain_seconds over; the number of open connections is unknown"),
    ],
)
def test_when_and_why_it_ends(
    elapsed: float, connections: int | None, none_since: float | None, reason: str | None
) -> None:
    assert verdict(LIMITS, elapsed, connections, none_since) == reason


class World:
    """Time passes only where the drain waits or looks."""

    def __init__(self, clients: Callable[[float], Clients], *, looking: float = 0.0) -> None:
        self.now = 1000.0
        self.began = self.now
        self.looks: list[float] = []
        self.cut_at = float("inf")
        self._clients = clients
        self._looking = looking

    @property
    def elapsed(self) -> float:
        return self.now - self.began

    def look(self) -> Clients:
        self.looks.append(self.elapsed)
        found = self._clients(self.elapsed)
        self.now += self._looking
        return found

    def interrupted(self, seconds: float) -> bool:
        assert seconds > 0
        if self.elapsed + seconds >= self.cut_at:
            self.now = self.began + self.cut_at
            return True
        self.now += seconds
        return False

    def drain(self, limits: DrainLimits = LIMITS) -> str:
        return Drain(limits, self.look, self.interrupted, lambda: self.now).wait()


def test_an_idle_server_ends_after_the_least_time_and_the_quiet() -> None:
    world = World(lambda _: Clients(0))
    assert world.drain() == "no connection left after 4.0 s"
    assert world.looks[0] == pytest.approx(3)
    assert world.elapsed == pytest.approx(4, abs=0.2)


def test_the_last_client_that_goes_begins_the_quiet() -> None:
    world = World(lambda elapsed: Clients(int(elapsed < 6)))
    assert world.drain() == "no connection left after 7.0 s"


def test_a_client_that_comes_back_begins_it_anew() -> None:
    world = World(lambda elapsed: Clients(int(3.4 < elapsed < 5)))
    assert world.drain() == "no connection left after 6.0 s"


def test_a_client_between_two_looks_is_noticed_by_its_request() -> None:
    world = World(lambda elapsed: Clients(0, requests=7 + int(elapsed / 0.9)))
    assert world.drain() == "drain_seconds over with 0 connections"


@pytest.mark.parametrize("connections", [2, None])
def test_whoever_stays_is_waited_for_to_the_end_and_no_longer(connections: int | None) -> None:
    world = World(lambda _: Clients(connections))
    assert world.drain().startswith("drain_seconds over")
    assert world.elapsed == pytest.approx(12)


def test_a_drain_shorter_than_the_least_time() -> None:
    world = World(lambda _: Clients(0))
    world.drain(DrainLimits(least=3, most=2))
    assert world.elapsed == pytest.approx(2)


def test_no_drain_at_all() -> None:
    world = World(lambda _: Clients(5))
    world.drain(DrainLimits(least=0, most=0))
    assert world.elapsed == 0


@pytest.mark.parametrize("at", [1.0, 5.0])
def test_an_interrupt_ends_it(at: float) -> None:
    world = World(lambda _: Clients(1))
    world.cut_at = at
    assert world.drain() == "cut short by a second interrupt"
    assert world.elapsed == pytest.approx(at)


def test_looking_takes_no_more_than_a_tenth_of_the_time() -> None:
    world = World(lambda _: Clients(1), looking=0.2)
    world.drain()
    assert len(world.looks) <= 7
