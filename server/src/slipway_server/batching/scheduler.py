"""Threads for the decisions of `queues`: who waits, who runs a batch, who looks at the clock.

A caller whose request makes a batch due runs that batch itself when a slot is free, so a lone client is not handed
over to anybody. Whoever waits is woken when its own answer is there. A thread of the pool that has run a batch goes on
with the next one; a caller that has run one gives the next to the pool and returns with its answer.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from slipway_server.batching.queues import Batch, Piece, Queue, QueuedRequest, Queues
from slipway_server.errors import Code, ServingError, deadline_exceeded

Work = Callable[[Batch], None]


class WaitingRequest(QueuedRequest):
    """A request with the thread that waits for it.

    Attributes:
        failure: raised in its caller instead of returning an answer.
        gate: held until the answer is there; None when the caller runs its own batch.
    """

    __slots__ = ("failure", "gate")

    def __init__(self, rows: int, layout: Any = (), deadline: float | None = None) -> None:
        super().__init__(rows, layout, deadline)
        self.failure: ServingError | None = None
        self.gate: threading.Lock | None = None


class WorkQueue(Queue):
    """A queue that knows how to run its batches.

    Attributes:
        work: runs a batch and leaves each request's answer with it; an error becomes that of all its requests.
    """

    __slots__ = ("work",)

    def __init__(self, parameters: Any, work: Work) -> None:
        super().__init__(parameters)
        self.work = work


class BatchScheduler:
    """Runs the batches of all models, at most `slots` at a time.

    Args:
        name: of its threads.
    """

    def __init__(
        self,
        slots: int,
        name: str = "batch_threads",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._queues = Queues(slots)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix=name)
        self._timer: threading.Thread | None = None
        self._timer_due: float | None = None
        self._draining = 0
        self._closed = False

    def run(self, queue: WorkQueue, request: WaitingRequest) -> None:
        """Return when the request is answered.

        Raises:
            ServingError: what the batch failed with; DEADLINE_EXCEEDED at the moment when the deadline passes;
                otherwise as `Queues.add`.
        """
        own: Batch | None = None
        with self._lock:
            # The clock is read with the lock held throughout: what happens later never has an earlier time.
            now = self._clock()
            if request.deadline is not None and request.deadline <= now:
                raise deadline_exceeded()
            self._queues.add(queue, request, now)
            others = self._take(now)
            for batch in others:
                # Nothing came to its queue after it, so it is the last of whatever batch it is in.
                if batch.pieces[-1].request is request:
                    own = batch
                    others.remove(batch)
                    break
            if own is None or request.pieces > 1:
                request.gate = threading.Lock()
                request.gate.acquire()  # noqa: SIM115, RUF100 - released by whoever answers
        self._hand_over(others)
        if own is not None:
            self._hand_over(self._execute(own))
        if request.gate is not None and request.pieces:
            self._wait(queue, request)
        failure, request.failure = request.failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # else this frame and the error would keep each other, and the request

    def enter(self, queue: WorkQueue, rows: int) -> float | None:
        """Give a request a slot if it may run at once and alone, on its caller's thread; None if it may not.

        Returns:
            What to give to `leave`.
        """
        with self._lock:
            return self._clock() if self._queues.enter(queue, rows) else None

    def leave(self, queue: WorkQueue, rows: int, began: float) -> None:
        """Free the slot that `enter` gave."""
        with self._lock:
            now = self._clock()
            waiting = self._queues.leave(queue, rows, began, now)
            if self._draining:
                self._changed.notify_all()
            if not waiting:
                return
            following = self._take(now)
        self._hand_over(following)

    def drain(self, queue: WorkQueue) -> None:
        """Return when everything that waits in a queue or runs from it is done; nothing new may come."""
        with self._changed:
            queue.closing = True
            self._draining += 1
            batches = self._take(self._clock())
        self._hand_over(batches)
        with self._changed:
            self._changed.wait_for(lambda: not queue.busy)
            self._draining -= 1

    def close(self) -> None:
        """End the threads; nothing may wait or run any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pool.shutdown()
        if self._timer is not None:
            self._timer.join()

    def _wait(self, queue: WorkQueue, request: WaitingRequest) -> None:
        assert request.gate is not None  # noqa: S101 - whoever waits has one
        if request.deadline is None:
            request.gate.acquire()
            return
        if request.gate.acquire(timeout=max(request.deadline - self._clock(), 0.0)):
            return
        with self._changed:
            if not request.pieces:
                return
            self._queues.withdraw(queue, request)
            if self._draining:
                self._changed.notify_all()
        raise deadline_exceeded()

    def _take(self, now: float) -> list[Batch]:
        """Return what should run now and tell those who are too late; with the lock held."""
        batches = []
        while (batch := self._queues.take(now)) is not None:
            batches.append(batch)
        due = self._queues.next_due()
        if due is not None and (self._timer_due is None or due < self._timer_due):
            self._timer_due = due
            if self._timer is None:
                self._timer = threading.Thread(
                    target=self._watch_clock, name="batch-clock", daemon=True
                )
                self._timer.start()
            self._changed.notify_all()
        for request in self._queues.expired():
            assert isinstance(request, WaitingRequest)  # noqa: S101 - `run` adds no others
            request.failure = deadline_exceeded()
            if request.gate is not None:
                request.gate.release()
            if self._draining:
                self._changed.notify_all()
        return batches

    def _hand_over(self, batches: list[Batch]) -> None:
        for batch in batches:
            self._pool.submit(self._work_on, batch)

    def _work_on(self, batch: Batch) -> None:
        following: Batch | None = batch
        while following is not None:
            batches = self._execute(following)
            following = batches.pop(0) if batches else None
            self._hand_over(batches)

    def _execute(self, batch: Batch) -> list[Batch]:
        """Run a batch, wake those who wait for it, return what should run now."""
        queue = batch.queue
        assert isinstance(queue, WorkQueue)  # noqa: S101 - `run` adds to no others
        failure: ServingError | None = None
        try:
            queue.work(batch)
        except ServingError as error:
            # Not the error itself: its traceback leads to this frame, and so to the requests.
            failure = ServingError(error.code, error.message)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear something
            failure = ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
        with self._changed:
            now = self._clock()
            self._queues.finish(batch, now)
            for piece in batch.pieces:
                self._finish(piece, failure)
            following = self._take(now)
            if self._draining:
                self._changed.notify_all()
        return following

    def _finish(self, piece: Piece, failure: ServingError | None) -> None:
        request = piece.request
        assert isinstance(request, WaitingRequest)  # noqa: S101 - `run` adds no others
        if not request.pieces:
            return  # it was too late, and has been told
        if failure is not None:
            # Each its own: a traceback is added to an error where it is raised.
            request.failure = ServingError(failure.code, failure.message)
        request.pieces -= 1
        if not request.pieces and request.gate is not None:
            request.gate.release()

    def _watch_clock(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                self._timer_due = self._queues.next_due()
                now = self._clock()
                if self._timer_due is None or self._timer_due > now:
                    left = None if self._timer_due is None else self._timer_due - now
                    self._changed.wait(None if left is None else min(left, threading.TIMEOUT_MAX))
                    continue
                self._timer_due = None
                batches = self._take(now)
            self._hand_over(batches)
            del batches  # while this thread waits, nothing keeps their requests
