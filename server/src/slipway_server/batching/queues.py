"""Which batch runs when: the decisions of batching. No threads, no clock of its own, no arrays.

    add → a request joins the last waiting batch of its queue, or opens one
    take → the next batch that should run now, if one of the slots is free
    finish → its slot is free again
    next_due → when `take` would say more than now although nothing else happens
    enter, leave → all of that for a request that finds nothing waiting and need not wait

A batch is due when it is full, or when `batch_timeout` has passed since it was opened. With a timeout of 0 it is due
at once, except where the crowd promises better: clients that were answered together come back one after the other, and
whoever ran the first of them alone would soon have many small batches on their way. So while the requests around are
enough to fill a batch, it waits for its share of them, never longer than a batch usually takes. A client that is alone
is no crowd and never waits.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from slipway_server.batching.parameters import BatchingParameters
from slipway_server.errors import Code, ServingError, invalid_argument

_NEW_TIME_WEIGHT: Final = 0.2
_LONG_AGO: Final = float("-inf")
# For how many batches the largest crowd is remembered: once to twice as many.
_MEMORY: Final = 4
# In so many seconds whoever wants to ask again has done so, however long the model takes.
_RETURN_SECONDS: Final = 0.02

Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Name and inner shape of each input whose inner shape may differ from request to request."""


class QueuedRequest:
    """One request as the queues see it.

    Attributes:
        rows: size of the 0th dimension.
        layout: requests run together only when their layouts are equal. When inputs are padded, what remains of the
            inner shapes is their rank.
        deadline: on the caller's clock; None means never.
        pieces: parts that are not finished yet; 0 means that the request is answered.
    """

    __slots__ = ("arrived", "deadline", "layout", "pieces", "rows")

    def __init__(self, rows: int, layout: Layout = (), deadline: float | None = None) -> None:
        self.rows = rows
        self.layout = layout
        self.deadline = deadline
        self.pieces = 0
        self.arrived = 0.0


class Piece:
    """Rows of one request that run together: `rows` of them from `start` on."""

    __slots__ = ("request", "rows", "start")

    def __init__(self, request: QueuedRequest, start: int, rows: int) -> None:
        self.request = request
        self.start = start
        self.rows = rows


class Batch:
    """Pieces that run together.

    Attributes:
        opened: when its first piece came; seconds on the caller's clock.
        began: when `take` returned it; likewise.
    """

    __slots__ = ("began", "opened", "pieces", "queue", "rows")

    def __init__(self, queue: "Queue", opened: float) -> None:
        self.queue = queue
        self.opened = opened
        self.began = opened
        self.pieces: list[Piece] = []
        self.rows = 0

    def append(self, piece: Piece) -> None:
        """Add a piece behind the others."""
        self.pieces.append(piece)
        self.rows += piece.rows

    @property
    def requests(self) -> Iterator[QueuedRequest]:
        """The requests whose pieces are in the batch; one with several pieces comes as often."""
        return (piece.request for piece in self.pieces)


@dataclass(slots=True, eq=False)
class Queue:
    """Requests that may run together.

    Attributes:
        waiting: in the order of their coming; all but the last are closed.
        running: batches that run now, `running_rows` their rows.
        usual: seconds that a batch takes, a moving average; 0 when none has run.
        ended: when the last batch ended; seconds on the caller's clock.
        closing: whether the queue is drained: nothing more comes, and what waits is due at once.
    """

    parameters: BatchingParameters
    waiting: deque[Batch] = field(default_factory=deque)
    running: int = 0
    running_rows: int = 0
    usual: float = 0.0
    ended: float = _LONG_AGO
    waiting_rows: int = 0
    _peak: int = 0
    _peak_before: int = 0
    _begun: int = 0
    closing: bool = False

    @property
    def busy(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self.waiting) or self.running > 0

    def due(self, slots: int) -> float:
        """Return when the first waiting batch should run, given that all in all `slots` may run at a time."""
        head = self.waiting[0]
        limit = self.parameters.max_execution_batch_size
        if len(self.waiting) > 1 or head.rows >= limit or self.closing:
            return _LONG_AGO
        if self.parameters.batch_timeout > 0:
            return head.opened + self.parameters.batch_timeout
        crowd = self.crowd
        if crowd < limit:
            if self.running == 0 or head.rows * slots >= crowd:
                return _LONG_AGO
        elif head.rows * min(slots, (2 * crowd + limit) // (2 * limit)) >= crowd:
            return _LONG_AGO
        if self.running:
            return head.opened + self.usual
        # Whoever has just been answered comes back soon; but while nothing runs, waiting costs more.
        return max(head.opened, self.ended) + min(self.usual / 2, _RETURN_SECONDS)

    @property
    def crowd(self) -> int:
        """The most rows that were around at a time, of late."""
        return max(self._peak, self._peak_before)

    def watch(self) -> None:
        """Raise the peak of rows that wait or run, from which `crowd` is taken."""
        around = self.waiting_rows + self.running_rows
        self._peak = max(self._peak, around)

    def begin(self, rows: int) -> None:
        """Count a batch that begins to run."""
        self.running += 1
        self.running_rows += rows
        self._begun += 1
        if self._begun >= _MEMORY:
            self._begun = 0
            self._peak_before, self._peak = self._peak, 0
        around = self.waiting_rows + self.running_rows
        if around > self._peak:  # noqa: PLR1730 - a third of the time; a client that is alone pays it
            self._peak = around

    def end(self, rows: int, began: float, now: float) -> None:
        """Count a batch that has run."""
        took = now - began
        self.ended = now
        self.running -= 1
        self.running_rows -= rows
        self.usual += (took - self.usual) * (_NEW_TIME_WEIGHT if self.usual else 1.0)


class Queues:
    """All queues of a process, and the slots in which their batches run.

    Not safe for threads; times are seconds on any one clock.

    Args:
        slots: batches that may run at a time.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running = 0
        self._active: dict[
            Queue, None
        ] = {}  # those with something waiting; the next one to be asked is first
        self._expired: list[QueuedRequest] = []

    def add(self, queue: Queue, request: QueuedRequest, now: float) -> None:
        """Let a request wait.

        Raises:
            ServingError: INVALID_ARGUMENT when it is too large, UNAVAILABLE when too much waits already,
                FAILED_PRECONDITION when it cannot join the batch that is open. Nothing has changed then.
        """
        parameters = queue.parameters
        rows, limit = request.rows, parameters.max_execution_batch_size
        if rows > parameters.max_batch_size:
            raise invalid_argument(
                f"Task size {rows} is larger than maximum input batch size {parameters.max_batch_size}"
            )
        waiting = queue.waiting
        room = limit - waiting[-1].rows if waiting else 0
        to_last = bool(waiting) and (
            rows <= room or (parameters.enable_large_batch_splitting and room > 0)
        )
        if to_last and (layout := waiting[-1].pieces[0].request.layout) != request.layout:
            if not parameters.pad_variable_length_inputs:
                raise _different_shapes(layout, request.layout)
            to_last = False
        sizes = (rows,) if rows <= room and to_last else split(rows, room if to_last else 0, limit)
        opened = len(sizes) - to_last
        if len(waiting) + opened > parameters.max_enqueued_batches and opened:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{len(waiting)} batches enqueued and max_enqueued_batches is {parameters.max_enqueued_batches}",
            )
        request.pieces = len(sizes)
        request.arrived = now
        start = 0
        for number, size in enumerate(sizes):
            if number or not to_last:
                waiting.append(Batch(queue, now))
            waiting[-1].append(Piece(request, start, size))
            start += size
        self._active.setdefault(queue)
        queue.waiting_rows += rows
        queue.watch()

    def take(self, now: float) -> Batch | None:
        """Return a batch that should run now and give it a slot; None when there is none or no slot is free."""
        while self._running < self._slots:
            for queue in self._active:
                if queue.due(self._slots) <= now:
                    break
            else:
                return None
            batch = queue.waiting.popleft()
            queue.waiting_rows -= batch.rows
            del self._active[queue]
            if queue.waiting:
                self._active[queue] = None  # behind the others
            if any(r.deadline is not None and r.deadline <= now for r in batch.requests):
                self._drop_late(batch, now)
            if batch.pieces:
                batch.began = now
                self._running += 1
                queue.begin(batch.rows)
                return batch
        return None

    def finish(self, batch: Batch, now: float) -> None:
        """Free the slot of a batch that `take` returned."""
        self._running -= 1
        batch.queue.end(batch.rows, batch.began, now)

    def enter(self, queue: Queue, rows: int) -> bool:
        """Give a request a slot if it may run at once and alone; `leave` frees it.

        It may when `add` and `take` would do the same. That it is quick is what a client that is alone feels.
        """
        if self._active or queue.running or self._running >= self._slots:
            return False
        parameters = queue.parameters
        limit = parameters.max_execution_batch_size
        if rows >= limit:
            if rows > limit:
                return False
        elif queue.crowd >= limit or parameters.batch_timeout:
            return False
        self._running += 1
        queue.begin(rows)
        return True

    def leave(self, queue: Queue, rows: int, began: float, now: float) -> bool:
        """Free the slot that `enter` gave; return whether anything waits."""
        self._running -= 1
        queue.end(rows, began, now)
        return bool(self._active)

    def withdraw(self, queue: Queue, request: QueuedRequest) -> None:
        """Forget what of a request still waits; nobody waits for its answer any more."""
        request.pieces = 0
        for batch in tuple(queue.waiting):
            before = batch.rows
            self._keep(batch, [piece for piece in batch.pieces if piece.request is not request])
            queue.waiting_rows -= before - batch.rows
            if not batch.pieces:
                queue.waiting.remove(batch)
        if not queue.waiting:
            self._active.pop(queue, None)

    def expired(self) -> list[QueuedRequest]:
        """Return, once, the requests that were left out of batches because their deadline had passed."""
        expired, self._expired = self._expired, []
        return expired

    def next_due(self) -> float | None:
        """Return when to call `take` although nothing else happens; None when there is no such time."""
        if self._running >= self._slots or not self._active:
            return None
        return min(queue.due(self._slots) for queue in self._active)

    def _drop_late(self, batch: Batch, now: float) -> None:
        late = {r for r in batch.requests if r.deadline is not None and r.deadline <= now}
        self._keep(batch, [piece for piece in batch.pieces if piece.request not in late])
        for request in late:
            if request.pieces:
                self.withdraw(batch.queue, request)
                self._expired.append(request)

    @staticmethod
    def _keep(batch: Batch, pieces: list[Piece]) -> None:
        if len(pieces) < len(batch.pieces):
            batch.pieces = pieces
            batch.rows = sum(piece.rows for piece in pieces)


def split(rows: int, room: int, limit: int) -> tuple[int, ...]:
    """Return the sizes of a request's pieces: first what there is room for, then whole batches, then the rest.

    >>> split(10, 3, 4), split(3, 0, 4), split(0, 0, 4)
    ((3, 4, 3), (3,), (0,))
    """
    first = (min(room, rows),) if room else ()
    rest = rows - sum(first)
    whole, remainder = divmod(rest, limit)
    tail = (remainder,) if remainder or not (first or whole) else ()
    return (*first, *(limit,) * whole, *tail)


def _different_shapes(first: Layout, second: Layout) -> ServingError:
    name = next(
        (one[0] for one, other in zip(first, second, strict=False) if one != other), first[0][0]
    )
    return ServingError(
        Code.FAILED_PRECONDITION,
        f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. "
        "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
        "dimensions starting with the first dim.",
    )
