"""Rows to a model and back: several requests at a time, answers in order, no more in memory than that."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from slipway_cli.batch.ledger import Outcome
from slipway_cli.batch.records import Row
from slipway_cli.errors import CliError, RequestError, UnavailableError, UsageError

_MOST_BYTES: Final = 4 << 20
"""Rows of one request together, unless one alone has more."""
_AHEAD: Final = 4
"""Requests for each that runs: one slow answer holds up the order, not the others."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0

Predict = Callable[[Sequence[Any]], Sequence[Any]]
"""From instances to their answers; raises CliError."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a server is asked.

    Attributes:
        rows: Of one request, at most.
        requests: At a time, at most; fewer while the server says that it is too much.
        patience: Seconds for which a request that nobody answers is repeated.
    """

    rows: int = 32
    requests: int = 8
    patience: float = 300.0


class Throttle:
    """How many requests run at a time: half as many after one that found no room, slowly more again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._room = float(most)
        self._running = 0
        self._changed = threading.Condition()

    @property
    def room(self) -> int:
        """How many may run now."""
        return int(self._room)

    def __enter__(self) -> None:
        """Wait for room."""
        with self._changed:
            self._changed.wait_for(lambda: self._running < self.room)
            self._running += 1

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Make room, and learn from how it went."""
        with self._changed:
            self._running -= 1
            if isinstance(error, UnavailableError):
                self._room = max(1.0, self._room / 2)
            elif error is None:
                self._room = min(float(self._most), self._room + 1 / self._room)
            self._changed.notify_all()


def requests(rows: Iterable[Row], most: int) -> Iterator[list[Row]]:
    """Yield rows together as one request asks them: up to a number and some MiB."""
    together: list[Row] = []
    size = 0
    for row in rows:
        if together and (len(together) >= most or size + row.size > _MOST_BYTES):
            yield together
            together, size = [], 0
        together.append(row)
        size += row.size
    if together:
        yield together


class Asker:
    """Asks for the rows of one request, until each has an answer or an error of its own."""

    def __init__(
        self,
        predict: Predict,
        pace: Pace,
        clock: Callable[[], float],
        *,
        with_instances: bool = False,
    ) -> None:
        self._predict = predict
        self._pace = pace
        self._clock = clock
        self._with_instances = with_instances
        self.throttle = Throttle(pace.requests)
        self.stopped = threading.Event()

    def ask(self, rows: Sequence[Row]) -> list[Outcome]:
        """Return what becomes of some rows, in their order.

        Raises:
            CliError: The server does not answer, or not to anybody: the batch cannot go on.
        """
        good = [row for row in rows if not row.error]
        found = dict(zip((row.number for row in good), self._answered(good), strict=True))
        return [found.get(row.number) or self._failure(row, row.error) for row in rows]

    def _answered(self, rows: Sequence[Row]) -> list[Outcome]:
        if not rows:
            return []
        try:
            answers = self._patiently([row.instance for row in rows])
        except (RequestError, UsageError) as error:
            # One row is to blame, or some: the halves tell which.
            if len(rows) == 1:
                return [self._failure(rows[0], str(error))]
            middle = len(rows) // 2
            return self._answered(rows[:middle]) + self._answered(rows[middle:])
        return [self._outcome(row, answer) for row, answer in zip(rows, answers, strict=True)]

    def _patiently(self, instances: Sequence[Any]) -> Sequence[Any]:
        end = self._clock() + self._pace.patience
        pause = _FIRST_PAUSE
        while True:
            try:
                with self.throttle:
                    return self._predict(instances)
            except UnavailableError as error:
                if self._clock() >= end:
                    raise
                longest = max(error.pause, pause * random.uniform(0.5, 1.0))  # noqa: S311
                if self.stopped.wait(min(longest, max(0.0, end - self._clock()))):
                    raise
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _outcome(self, row: Row, answer: Any) -> Outcome:
        return Outcome(row.number, {**self._about(row), "prediction": answer}, failed=False)

    def _failure(self, row: Row, sentence: str) -> Outcome:
        return Outcome(row.number, {**self._about(row), "error": sentence}, failed=True)

    def _about(self, row: Row) -> dict[str, Any]:
        about: dict[str, Any] = {"row": row.number, "source": row.where}
        if self._with_instances:
            about["instance"] = row.instance
        return about


def in_order(rows: Iterable[Row], asker: Asker, pace: Pace) -> Iterator[tuple[list[Outcome], int]]:
    """Yield what becomes of rows, in their order, with the position in the input that is reached.

    No more rows are read than are asked for at a time, and some.

    Raises:
        CliError: The batch cannot go on; all that was before has been yielded.
    """
    waiting: deque[tuple[Future[list[Outcome]], int]] = deque()
    pool = ThreadPoolExecutor(pace.requests, thread_name_prefix="predict")
    broken: CliError | None = None
    source = requests(rows, pace.rows)
    try:
        while True:
            try:
                together = next(source, None)
            except CliError as error:  # What was read before still gets its answers.
                together, broken = None, error
            if together is None:
                break
            waiting.append((pool.submit(asker.ask, together), together[-1].position))
            while len(waiting) >= pace.requests * _AHEAD:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
        if broken is not None:
            raise broken
    finally:
        asker.stopped.set()
        # Not waiting: a request in flight may take its whole timeout, and the person pressed Ctrl-C.
        pool.shutdown(wait=False, cancel_futures=True)


def _next(waiting: deque[tuple[Future[list[Outcome]], int]]) -> tuple[list[Outcome], int]:
    future, position = waiting.popleft()
    return future.result(), position
