"""§9: what waits, what runs, when; a fake clock, no threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_server.batching.parameters import BatchingParameters
from slipway_server.batching.queues import Batch, Queue, QueuedRequest, Queues, split
from slipway_server.errors import Code, ServingError

SHAPES = (
    "Tensors with name 'x:0' from different tasks have different shapes and padding is turned off. "
)


FULL = (
    "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
    "max_enqueued_batches is 1"
)


def parameters(limit: int = 4, **others: Any) -> BatchingParameters:
    largest = others.pop("largest", limit)
    return BatchingParameters(max_batch_size=largest, max_execution_batch_size=limit, **others)


def rows(batch: Batch | None) -> list[int]:
    return [piece.rows for piece in batch.pieces] if batch else []


def refused(
    queues: Queues, queue: Queue, request: QueuedRequest, now: float = 0.0
) -> tuple[Code, str]:
    with pytest.raises(ServingError) as error:
        queues.add(queue, request, now)
    return error.value.code, error.value.message


def test_a_lone_request_runs_at_once() -> None:
    queues, queue = Queues(1), Queue(parameters())
    for now in (0.0, 1.0, 2.0):
        queues.add(queue, QueuedRequest(1), now)
        batch = queues.take(now)
        assert rows(batch) == [1]
        queues.finish(batch, now + 0.5)
        assert queues.next_due() is None
    assert queues.enter(queue, 1)


def test_requests_that_wait_run_together_in_their_order() -> None:
    queues, queue = Queues(1), Queue(parameters())
    queues.add(queue, QueuedRequest(1), 0.0)
    running = queues.take(0.0)
    waiting = [QueuedRequest(size) for size in (1, 2, 1, 4)]
    for request in waiting:
        queues.add(queue, request, 0.1)
    assert queues.take(0.1) is None
    queues.finish(running, 0.2)
    second = queues.take(0.2)
    assert [piece.request for piece in second.pieces] == waiting[:3]
    queues.finish(second, 0.3)
    assert rows(queues.take(0.3)) == [4]


def test_a_timeout_is_waited_for_and_a_full_batch_is_not() -> None:
    queues, queue = Queues(2), Queue(parameters(batch_timeout=0.5))
    queues.add(queue, QueuedRequest(1), 10.0)
    assert queues.take(10.4) is None
    assert queues.next_due() == 10.5
    assert not queues.enter(queue, 1)
    assert rows(queues.take(10.5)) == [1]
    for _ in range(4):
        queues.add(queue, QueuedRequest(1), 11.0)
    assert rows(queues.take(11.0)) == [1, 1, 1, 1]


def test_few_clients_use_idle_slots() -> None:
    queues, queue = Queues(2), Queue(parameters(32))
    queues.add(queue, QueuedRequest(1), 0.0)
    assert rows(queues.take(0.0)) == [1]
    queues.add(queue, QueuedRequest(1), 0.1)
    assert rows(queues.take(0.1)) == [1]


def test_a_crowd_comes_back_before_its_next_batch_runs_but_is_not_waited_for_long() -> None:
    queues, queue = Queues(2), Queue(parameters(4))
    for _ in range(8):
        queues.add(queue, QueuedRequest(1), 0.0)
    first, second = queues.take(0.0), queues.take(0.0)
    queues.finish(first, 1.0)
    queues.add(queue, QueuedRequest(1), 1.0)
    assert queues.take(1.0) is None  # three more are on their way
    assert queues.next_due() == 2.0  # a batch takes one second
    for _ in range(3):
        queues.add(queue, QueuedRequest(1), 1.1)
    third = queues.take(1.1)
    assert rows(third) == [1] * 4
    queues.finish(second, 1.2)
    queues.add(queue, QueuedRequest(1), 1.2)
    queues.finish(third, 2.1)
    assert not queues.enter(queue, 1)
    assert queues.take(2.1) is None
    # While nothing runs it is waited for no longer than clients need to come back.
    assert queues.next_due() == 2.1 + 0.02
    assert rows(queues.take(2.12)) == [1]


def test_after_the_crowd_has_gone_a_lone_client_soon_waits_no_more() -> None:
    queues, queue = Queues(2), Queue(parameters(4))
    for _ in range(8):
        queues.add(queue, QueuedRequest(1), 0.0)
    for batch in (queues.take(0.0), queues.take(0.0)):
        queues.finish(batch, 1.0)
    now, waits = 1.0, 0
    for _ in range(10):
        queues.add(queue, QueuedRequest(1), now)
        batch = queues.take(now)
        if batch is None:
            waits += 1
            now = queues.next_due()
            batch = queues.take(now)
        now += 1.0
        queues.finish(batch, now)
    assert waits <= 8
    queues.add(queue, QueuedRequest(1), now)
    assert queues.take(now) is not None


def test_slots_are_shared_and_queues_take_turns() -> None:
    queues = Queues(1)
    busy, quiet = Queue(parameters(2)), Queue(parameters(2))
    for _ in range(6):
        queues.add(busy, QueuedRequest(1), 0.0)
    running = queues.take(0.0)
    queues.add(quiet, QueuedRequest(1), 0.1)
    order = []
    for now in (1.0, 2.0, 3.0):
        queues.finish(running, now)
        running = queues.take(now)
        order.append("quiet" if running.queue is quiet else "busy")
    assert order == ["busy", "quiet", "busy"]


def test_too_large_and_too_many() -> None:
    queues, queue = Queues(1), Queue(parameters(4, max_enqueued_batches=1))
    assert refused(queues, queue, QueuedRequest(5)) == (
        Code.INVALID_ARGUMENT,
        "Task size 5 is larger than maximum input batch size 4",
    )
    queues.add(queue, QueuedRequest(4), 0.0)
    running = queues.take(0.0)
    queues.add(queue, QueuedRequest(3), 0.0)
    assert refused(queues, queue, QueuedRequest(2)) == (
        Code.UNAVAILABLE,
        FULL,
    )
    queues.add(queue, QueuedRequest(1), 0.0)  # there is still room in the one that is open
    queues.finish(running, 1.0)
    assert rows(queues.take(1.0)) == [3, 1]


def test_the_request_of_another_shape_fails_and_nobody_else() -> None:
    queues, queue = Queues(1), Queue(parameters(4))
    queues.add(queue, QueuedRequest(1), 0.0)
    running = queues.take(0.0)
    queues.add(queue, QueuedRequest(1, (("x:0", (3,)),)), 0.0)
    code, message = refused(queues, queue, QueuedRequest(1, (("x:0", (2,)),)))
    assert (code, message.startswith(SHAPES)) == (Code.FAILED_PRECONDITION, True)
    queues.add(queue, QueuedRequest(1, (("x:0", (3,)),)), 0.0)
    queues.finish(running, 1.0)
    assert rows(queues.take(1.0)) == [1, 1]


def test_other_ranks_open_a_batch_of_their_own_when_inputs_are_padded() -> None:
    queues, queue = Queues(2), Queue(parameters(4, pad_variable_length_inputs=True))
    for rank in (1, 2, 2):
        queues.add(queue, QueuedRequest(1, (("x:0", (rank,)),)), 0.0)
    assert rows(queues.take(0.0)) == [1]
    assert rows(queues.take(0.0)) == [1, 1]


def test_what_is_late_is_left_out() -> None:
    queues, queue = Queues(1), Queue(parameters(4))
    queues.add(queue, QueuedRequest(1), 0.0)
    running = queues.take(0.0)
    late, in_time = QueuedRequest(1, (), 0.5), QueuedRequest(1, (), 2.0)
    queues.add(queue, late, 0.0)
    queues.add(queue, in_time, 0.0)
    queues.finish(running, 1.0)
    batch = queues.take(1.0)
    assert [piece.request for piece in batch.pieces] == [in_time]
    assert queues.expired() == [late]
    assert queues.expired() == []


def test_what_is_withdrawn_is_gone_and_makes_room() -> None:
    queues, queue = Queues(1), Queue(parameters(4, max_enqueued_batches=1))
    queues.add(queue, QueuedRequest(4), 0.0)
    queues.take(0.0)
    waiting = QueuedRequest(4)
    queues.add(queue, waiting, 0.0)
    queues.withdraw(queue, waiting)
    assert (queue.waiting_rows, list(queue.waiting)) == (0, [])
    queues.add(queue, QueuedRequest(4), 0.0)


def test_a_large_request_is_split_around_what_waits() -> None:
    big = parameters(4, largest=20, enable_large_batch_splitting=True)
    queues, queue = Queues(4), Queue(big)
    queues.add(queue, QueuedRequest(3), 0.0)
    request = QueuedRequest(10)
    queues.add(queue, request, 0.0)
    assert request.pieces == 4
    batches = [queues.take(0.0) for _ in range(4)]
    assert [rows(batch) for batch in batches] == [[3, 1], [4], [4], [1]]
    assert [piece.start for batch in batches for piece in batch.pieces] == [0, 0, 1, 5, 9]


@given(st.integers(0, 100), st.integers(0, 9), st.integers(1, 10))
def test_split_covers_every_row_once(total: int, room: int, limit: int) -> None:
    room = min(room, limit)
    sizes = split(total, room, limit)
    assert sum(sizes) == total
    assert all(0 < size <= limit for size in sizes) or sizes == (0,)
    assert not room or sizes[0] <= room


@dataclass
class World:
    """Everything that was added, and what became of it."""

    queues: Queues
    each: list[Queue]
    now: float = 0.0
    running: list[Batch] = field(default_factory=list)
    waiting: list[QueuedRequest] = field(default_factory=list)
    order: dict[int, list[QueuedRequest]] = field(default_factory=dict)
    done: dict[QueuedRequest, int] = field(default_factory=dict)
    owner: dict[QueuedRequest, Queue] = field(default_factory=dict)

    def take_all(self) -> None:
        while (batch := self.queues.take(self.now)) is not None:
            for request in self.queues.expired():
                assert request.deadline is not None
                assert request.deadline <= self.now
                self.forget(request)
            assert len(batch.pieces) > 0
            assert sum(piece.rows for piece in batch.pieces) == batch.rows
            assert batch.rows <= batch.queue.parameters.max_execution_batch_size
            for piece in batch.pieces:
                request = piece.request
                assert self.owner[request] is batch.queue
                assert request.deadline is None or request.deadline > self.now
                assert piece.start == self.done.get(request, 0)  # in order, nothing twice
                self.done[request] = piece.start + piece.rows
                order = self.order[id(batch.queue)]
                if self.done[request] == request.rows:
                    assert order.pop(0) is request
            self.running.append(batch)
        for request in self.queues.expired():
            self.forget(request)

    def add(self, queue: Queue, request: QueuedRequest) -> None:
        largest = queue.parameters.max_batch_size
        code = Code.OK
        try:
            self.queues.add(queue, request, self.now)
        except ServingError as error:
            code = error.code
        if request.rows > largest:
            assert code is Code.INVALID_ARGUMENT
        elif code is Code.OK:
            assert len(queue.waiting) <= queue.parameters.max_enqueued_batches
            self.owner[request] = queue
            self.order[id(queue)].append(request)
        else:
            assert code is Code.UNAVAILABLE
            assert queue.waiting

    def settle(self) -> None:
        """Let whatever waits come to its turn by the clock and by what finishes, without any other help."""
        while self.running or any(queue.waiting for queue in self.each):
            due = self.queues.next_due()
            assert due is not None or self.running, "something waits and nobody will ever look"
            if self.running:
                self.now += 0.1
                self.queues.finish(self.running.pop(0), self.now)
            else:
                self.now = max(self.now, due)
            self.take_all()

    def forget(self, request: QueuedRequest) -> None:
        self.done[request] = request.rows
        order = self.order[id(self.owner[request])]
        if request in order:
            order.remove(request)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.integers(0, 1),
            st.integers(1, 9),
            st.one_of(st.none(), st.floats(0.0, 3.0)),
        ),
        st.tuples(st.just("pass"), st.floats(0.0, 2.0)),
        st.tuples(st.just("finish"), st.integers(0, 9)),
        st.tuples(st.just("withdraw"), st.integers(0, 9)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(
    STEPS,
    st.integers(1, 3),
    st.sampled_from([0.0, 0.5]),
    st.booleans(),
)
def test_every_request_is_run_once_in_order_and_nothing_is_forgotten(
    steps: list[Any],
    slots: int,
    timeout: float,
    splitting: bool,  # noqa: FBT001 - drawn
) -> None:
    chosen = parameters(
        4,
        largest=9 if splitting else 4,
        enable_large_batch_splitting=splitting,
        batch_timeout=timeout,
        max_enqueued_batches=5,
    )
    each = [Queue(chosen), Queue(chosen)]
    world = World(Queues(slots), each, order={id(queue): [] for queue in each})
    for step in steps:
        match step:
            case ("add", which, size, patience):
                deadline = None if patience is None else world.now + patience + 0.01
                world.add(each[which], QueuedRequest(size, (), deadline))
            case ("pass", seconds):
                world.now += seconds
            case ("finish", which) if world.running:
                world.queues.finish(world.running.pop(which % len(world.running)), world.now)
            case ("withdraw", which) if world.owner:
                request = list(world.owner)[which % len(world.owner)]
                world.queues.withdraw(world.owner[request], request)
                world.forget(request)
        world.take_all()
        assert len(world.running) <= slots
    world.settle()
    assert not any(world.order.values())
    assert all(world.done.get(request) == request.rows for request in world.owner)
    assert all((q.running, q.running_rows, q.waiting_rows) == (0, 0, 0) for q in each)
