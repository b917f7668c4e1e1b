from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from slipway_server.frontends.request_log.background import Background, QueueBounds

WAIT = 10.0


class Worker:
    """Takes items when the test lets it."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, items: Sequence[int]) -> None:
        self.begun.release()
        assert self.go.wait(WAIT)
        self.taken.extend(items)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.go.set()


def test_work_that_fails_is_not_the_last() -> None:
    taken: list[int] = []

    def fail_at_first(items: Sequence[int]) -> None:
        taken.extend(items)
        if 1 in items:
            raise OSError("no space left on device")

    queue = Background(fail_at_first, "test", QueueBounds())
    assert queue.offer(1, 1)
    end = time.monotonic() + WAIT
    while taken != [1]:
        assert time.monotonic() < end
        time.sleep(0.001)
    assert queue.offer(2, 1)
    queue.close(WAIT)
    assert taken == [1, 2]


def test_what_is_too_much_is_dropped_and_nobody_waits(worker: Worker) -> None:
    queue = Background(worker, "test", QueueBounds(items=3, size=100))
    assert queue.offer(0, 1)
    assert worker.begun.acquire(timeout=WAIT)
    assert [queue.offer(number, 10) for number in range(1, 6)] == [True, True, True, False, False]
    worker.go.set()
    queue.close(WAIT)
    assert worker.taken == [0, 1, 2, 3]
    assert not queue.offer(9, 1)


def test_bytes_are_bounded_too(worker: Worker) -> None:
    queue = Background(worker, "test", QueueBounds(items=10, size=100))
    assert queue.offer(0, 1)
    assert worker.begun.acquire(timeout=WAIT)
    assert [queue.offer(number, 60) for number in (1, 2)] == [True, False]
    assert queue.offer(3, 40)


def test_closing_gives_up_on_work_that_hangs(worker: Worker) -> None:
    queue = Background(worker, "test", QueueBounds())
    queue.offer(0, 1)
    assert worker.begun.acquire(timeout=WAIT)
    queue.close(0.01)
    assert worker.taken == []
