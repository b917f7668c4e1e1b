"""Memory that is given out to requests: never more than there is, in the order of asking."""

from __future__ import annotations

import threading
import time

import pytest

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.room import Room

TIMEOUT = 20.0


def until(condition: object) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_share_is_given_back_once() -> None:
    room = Room(10)
    with room.take(6) as share:
        assert room.used == 6
        share.close()
        assert room.used == 0
    assert room.used == 0
    with room.take(0):
        assert room.used == 0


def test_who_asks_for_more_than_there_is_gets_it_alone() -> None:
    room = Room(10)
    with room.take(25):
        assert room.used == 25
        with pytest.raises(ServingError) as error:
            room.take(1, time.monotonic() + 0.01)
        assert error.value.code is Code.DEADLINE_EXCEEDED
    with room.take(1, time.monotonic()):
        assert room.used == 1


def test_a_large_request_is_not_passed_by_small_ones_for_ever() -> None:
    room = Room(10)
    order: list[int] = []
    first = room.take(6)

    def ask(size: int) -> None:
        with room.take(size):
            order.append(size)

    large = threading.Thread(target=ask, args=(9,), daemon=True)
    large.start()
    until(lambda: len(room._row) == 1)
    small = threading.Thread(target=ask, args=(2,), daemon=True)
    small.start()
    until(lambda: len(room._row) == 2)
    assert order == []
    first.close()
    large.join(TIMEOUT)
    small.join(TIMEOUT)
    assert order == [9, 2]
    assert room.used == 0


def test_whoever_gives_up_lets_the_next_one_in() -> None:
    room = Room(10)
    held = room.take(6)
    entered = threading.Event()

    def ask() -> None:
        with pytest.raises(ServingError):
            room.take(9, time.monotonic() + 0.05)
        entered.set()

    impatient = threading.Thread(target=ask, daemon=True)
    impatient.start()
    until(lambda: len(room._row) == 1)
    with room.take(2, time.monotonic() + TIMEOUT):
        assert entered.wait(TIMEOUT)
    held.close()
    impatient.join(TIMEOUT)


def test_many_threads_never_have_more_than_there_is() -> None:
    room, most = Room(100), []

    def work(seed: int) -> None:
        for step in range(50):
            with room.take((seed * 7 + step * 13) % 60 + 1):
                most.append(room.used)

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert len(most) == 400
    assert max(most) <= 100
    assert room.used == 0
