"""The threads that compute REST answers."""

from __future__ import annotations

import threading

import pytest

from slipway_server.frontends.http.workers import Workers

TIMEOUT = 10.0


def test_every_task_has_a_thread_while_there_are_threads_to_start() -> None:
    workers = Workers(64, "test")
    for number in range(2, 65):
        # Tasks that wait for each other: one without a thread of its own would keep the others for ever.
        together = threading.Barrier(number)
        for _ in range(number - 1):
            workers.submit(lambda together=together: together.wait(TIMEOUT))  # type: ignore[misc]
        together.wait(TIMEOUT)


def test_a_thread_that_cannot_be_started_fails_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(4, "test")
    hold, done = threading.Event(), threading.Semaphore(0)
    workers.submit(lambda: hold.wait(TIMEOUT) and done.release())  # type: ignore[func-returns-value]
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError(f"can't start new thread {self.name}")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    workers.submit(done.release)  # type: ignore[arg-type]
    hold.set()
    assert done.acquire(timeout=TIMEOUT)
    assert done.acquire(timeout=TIMEOUT)
    monkeypatch.setattr(threading.Thread, "start", start)
    together = threading.Barrier(5)
    for _ in range(4):  # later there may be threads again, as many as were asked for
        workers.submit(lambda: together.wait(TIMEOUT))  # type: ignore[arg-type, return-value]
    together.wait(TIMEOUT)


def test_no_more_threads_than_allowed_and_none_without_need() -> None:
    workers = Workers(2, "test")
    names: set[str] = set()
    done = threading.Semaphore(0)

    def task() -> None:
        names.add(threading.current_thread().name)
        done.release()

    workers.submit(task)
    assert done.acquire(timeout=TIMEOUT)
    assert names == {"test-1"}
    for _ in range(100):
        workers.submit(task)
    for _ in range(100):
        assert done.acquire(timeout=TIMEOUT)
    assert names <= {"test-1", "test-2"}
