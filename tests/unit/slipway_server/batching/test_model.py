"""§9: a model behind queues, with threads and a model made of NumPy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from slipway_server.batching.model import BatchedModel
from slipway_server.batching.parameters import BatchingParameters, parameters_from_text
from slipway_server.batching.scheduler import BatchScheduler
from slipway_server.errors import Code, ServingError, deadline_exceeded
from slipway_server.loading.batching import BatchingLoader, BatchingRule
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec


def _signature(key: str, *shape: int, dtype: DType = DType.FLOAT, **more: Any) -> Signature:
    return Signature(
        key,
        "predict",
        {"x": TensorSpec("x:0", dtype, shape), **more},
        {"y": TensorSpec("y:0", dtype, shape), "z": TensorSpec("z:0", dtype, shape)},
    )


PLAIN = _signature("plain", -1)
WIDE = _signature("wide", -1, -1)
WORDS = _signature("words", -1, -1, dtype=DType.STRING)
FIXED = _signature("fixed", 1)
SCALAR = _signature("scalar")
TOTAL = _signature("total", -1)
BROKEN = _signature("broken", -1)
TWO = _signature("two", -1, w=TensorSpec("w:0", DType.FLOAT, (-1,)))
DEADLINE = 60.0


class Model:
    """y = 2 x for numbers, x for words; keeps what it was given; can be held up."""

    def __init__(self) -> None:
        each = (PLAIN, WIDE, WORDS, FIXED, SCALAR, TOTAL, BROKEN, TWO)
        self.signatures = {one.key: one for one in each}
        self.example_signatures: dict[str, Signature] = {}
        self.signature_defs: dict[str, Any] = {}
        self.given: list[Array] = []
        self.go = threading.Event()
        self.go.set()
        self.closed = False
        self._runs = threading.Semaphore(0)

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,
    ) -> list[Array]:
        x = inputs["x"]
        self.given.append(x)
        self._runs.release()
        if deadline is not None and deadline <= time.monotonic():
            raise deadline_exceeded()
        assert self.go.wait(DEADLINE)
        assert not self.closed
        if signature is BROKEN:
            if np.any(x < 0):
                raise ServingError(Code.OUT_OF_RANGE, "x must not be negative")
            raise RuntimeError("bug")
        if signature is TOTAL:
            return [x.sum() if alias == "y" else x[:0] for alias in outputs]
        return [x if x.dtype == object else 2 * x for _ in outputs]

    def close(self) -> None:
        self.closed = True

    def wait_for_run(self) -> None:
        assert self._runs.acquire(timeout=DEADLINE)


class Notes:
    def __init__(self) -> None:
        self.batches: list[tuple[list[int], int]] = []
        self.waited: set[object] = set()

    def waiting(self) -> object:
        """Each request is somebody's own, and its batch says whose."""
        caller = object()
        self.waited.add(caller)
        return caller

    def ran(
        self,
        signature: str,
        requests: Sequence[int],
        waits: Sequence[float],
        size: int,
        callers: Sequence[object],
    ) -> None:
        assert signature
        assert len(waits) == len(requests) == len(callers)
        assert self.waited.issuperset(callers)
        assert min(waits) >= 0
        self.batches.append((list(requests), size))

    def ran_alone(self, signature: str, rows: int, size: int) -> None:
        assert signature
        self.batches.append(([rows], size))


class Stage:
    """A batched model and threads that ask it."""

    def __init__(self, text: str) -> None:
        parameters = parameters_from_text(text)
        self.model = Model()
        self.notes = Notes()
        self.scheduler = BatchScheduler(parameters.num_batch_threads)
        self.batched = BatchedModel(self.model, parameters, self.scheduler, self.notes)
        self._pool = ThreadPoolExecutor(64)

    def ask(self, x: Any, signature: Signature = PLAIN, **more: Any) -> list[Array]:
        kind = object if signature is WORDS else np.float32
        return self.batched.run(signature, {"x": np.array(x, kind)}, ["y"], **more)

    def soon(self, x: Any, signature: Signature = PLAIN, **more: Any) -> Future[list[Array]]:
        return self._pool.submit(self.ask, x, signature, **more)

    def hold(self, signature: Signature = PLAIN) -> Future[list[Array]]:
        """Keep one slot busy until `self.model.go` is set."""
        self.model.go.clear()
        held = self.soon([[0.0]] if signature is WIDE else [0.0], signature)
        self.model.wait_for_run()
        return held

    def waiting(self, rows: int, signature: Signature = PLAIN) -> None:
        """Wait until so many rows wait."""
        lane = self.batched._lanes[signature, ("y",)]
        until(lambda: lane.queue.waiting_rows == rows)

    def close(self) -> None:
        self.model.go.set()
        self._pool.shutdown()
        self.scheduler.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def stages() -> Iterator[Callable[[str], Stage]]:
    made: list[Stage] = []

    def make(text: str) -> Stage:
        made.append(Stage(text + " num_batch_threads { value: 1 }"))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


def code(answer: Future[list[Array]]) -> tuple[Code, str]:
    with pytest.raises(ServingError) as error:
        answer.result(DEADLINE)
    return error.value.code, error.value.message


def test_a_lone_request_runs_on_its_own_thread_with_its_own_arrays(stages: Any) -> None:
    stage = stages("")
    x = np.array([1.0], np.float32)
    assert stage.batched.run(PLAIN, {"x": x}, ["y"])[0].tolist() == [2.0]
    assert stage.model.given == [x]
    assert stage.model.given[0] is x
    assert stage.notes.batches == [([1], 1)]


def test_each_gets_its_own_rows(stages: Any) -> None:
    stage = stages("max_batch_size { value: 8 }")
    held = stage.hold()
    answers = []
    for values in ([1.0], [2.0, 3.0], [], [4.0]):
        answers.append((values, stage.soon(values)))
        stage.waiting(sum(len(sent) for sent, _ in answers))
    stage.model.go.set()
    held.result(DEADLINE)
    for values, answer in answers:
        assert answer.result(DEADLINE)[0].tolist() == [2 * value for value in values]
    assert stage.model.given[1].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_batch_is_filled_up_with_a_row_and_the_surplus_is_dropped(stages: Any) -> None:
    stage = stages("max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 8")
    assert stage.ask([5.0])[0].tolist() == [10.0]
    assert stage.model.given[0].tolist() == [5.0] * 4
    assert stage.ask([])[0].tolist() == []
    held = stage.hold()
    first = stage.soon([1.0, 2.0, 3.0])
    stage.waiting(3)
    second = stage.soon([4.0, 5.0])
    stage.waiting(5)
    stage.model.go.set()
    held.result(DEADLINE)
    assert first.result(DEADLINE)[0].tolist() == [2.0, 4.0, 6.0]
    assert second.result(DEADLINE)[0].tolist() == [8.0, 10.0]
    assert stage.model.given[-1].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 4.0, 4.0, 4.0]
    assert stage.notes.batches[-1] == ([3, 2], 8)


def test_inner_shapes_are_brought_together_with_each_ones_first_element(stages: Any) -> None:
    stage = stages("pad_variable_length_inputs: true")
    for signature, first, second, joined in (
        (WIDE, [[1.0, 2.0, 3.0]], [[7.0]], [[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]]),
        (WORDS, [[b"a"]], [[b"b", b"c"]], [[b"a", b"a"], [b"b", b"c"]]),
    ):
        stage.model.go.clear()
        held = stage.soon(first, signature)
        stage.model.wait_for_run()
        answers = [stage.soon(first, signature)]
        stage.waiting(1, signature)
        answers.append(stage.soon(second, signature))
        stage.waiting(2, signature)
        stage.model.go.set()
        held.result(DEADLINE)
        [one], [other] = (answer.result(DEADLINE) for answer in answers)
        assert stage.model.given[-1].tolist() == joined
        assert one.shape == other.shape == (1, len(joined[0]))
        stage.model.wait_for_run()


def test_another_inner_shape_fails_alone_when_nothing_is_padded(stages: Any) -> None:
    stage = stages("")
    assert stage.ask([[1.0, 2.0]], WIDE)[0].tolist() == [[2.0, 4.0]]
    stage.model.wait_for_run()
    held = stage.hold(WIDE)
    good = stage.soon([[1.0, 2.0]], WIDE)
    stage.waiting(1, WIDE)
    found, message = code(stage.soon([[1.0]], WIDE))
    assert found is Code.FAILED_PRECONDITION
    assert message == (
        "Tensors with name 'x:0' from different tasks have different shapes and padding is turned off. Set "
        "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions "
        "starting with the first dim."
    )
    stage.model.go.set()
    held.result(DEADLINE)
    assert good.result(DEADLINE)[0].tolist() == [[2.0, 4.0]]


def test_a_large_request_is_split(stages: Any) -> None:
    stage = stages(
        "max_batch_size { value: 9 } enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 4 }"
    )
    values = [float(value) for value in range(9)]
    assert stage.ask(values)[0].tolist() == [2 * value for value in values]
    assert sorted(len(x) for x in stage.model.given) == [1, 4, 4]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": 1.0, "w": [1.0]}, "Batching Run() input tensors must have at least one dimension"),
        (
            {"x": [1.0, 2.0], "w": [1.0]},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        (
            {"x": [1.0] * 1001, "w": [1.0] * 1001},
            "Task size 1001 is larger than maximum input batch size 1000",
        ),
    ],
)
def test_requests_that_cannot_be_batched(stages: Any, inputs: Any, message: str) -> None:
    stage = stages("")
    given = {alias: np.array(value, np.float32) for alias, value in inputs.items()}
    with pytest.raises(ServingError) as error:
        stage.batched.run(TWO, given, ["y"])
    assert (error.value.code, error.value.message) == (Code.INVALID_ARGUMENT, message)


def test_outputs_that_cannot_be_told_apart(stages: Any) -> None:
    stage = stages("")
    assert code(stage.soon([1.0], TOTAL)) == (
        Code.FAILED_PRECONDITION,
        "Batched output tensor has 0 dimensions",
    )
    with pytest.raises(ServingError) as error:
        stage.batched.run(TOTAL, {"x": np.ones(1, np.float32)}, ["z"])
    assert error.value.message == (
        "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors"
    )


def test_what_the_signature_does_not_say_runs_alone(stages: Any) -> None:
    stage = stages("")
    held = stage.hold()
    wrong_type = stage._pool.submit(stage.batched.run, PLAIN, {"x": np.array([1], np.int64)}, ["y"])
    fixed = stage.soon([1.0], FIXED)
    for _ in range(2):  # neither waits for the slot
        stage.model.wait_for_run()
    stage.model.go.set()
    for answer in (held, wrong_type, fixed):
        answer.result(DEADLINE)
    assert stage.notes.batches == [([1], 1)]


def test_signatures_made_for_a_request_run_together_when_they_feed_and_fetch_the_same(
    stages: Any,
) -> None:
    stage = stages("")
    held = stage.hold()
    answers = [stage.soon([value], replace(PLAIN, key="made")) for value in (1.0, 2.0)]
    until(lambda: len(stage.batched._lanes) == 2)
    [lane] = [lane for key, lane in stage.batched._lanes.items() if key[0] is not PLAIN]
    until(lambda: lane.queue.waiting_rows == 2)
    stage.model.go.set()
    held.result(DEADLINE)
    assert [answer.result(DEADLINE)[0].tolist() for answer in answers] == [[2.0], [4.0]]
    assert stage.notes.batches[-1] == ([1, 1], 2)


def test_a_batchs_failure_is_that_of_all_its_requests(stages: Any) -> None:
    stage = stages("max_batch_size { value: 8 }")
    held = stage.hold()
    answers = [stage.soon([-1.0], BROKEN), stage.soon([1.0], BROKEN)]
    until(lambda: (BROKEN, ("y",)) in stage.batched._lanes)
    stage.waiting(2, BROKEN)
    stage.model.go.set()
    held.result(DEADLINE)
    assert {code(answer) for answer in answers} == {(Code.OUT_OF_RANGE, "x must not be negative")}
    assert stage.ask([1.0])[0].tolist() == [2.0]


def test_a_bug_is_an_internal_error_and_frees_the_place(stages: Any) -> None:
    stage = stages("")
    held = stage.hold()
    answers = [stage.soon([1.0], BROKEN), stage.soon([1.0], BROKEN)]
    until(lambda: (BROKEN, ("y",)) in stage.batched._lanes)
    stage.waiting(2, BROKEN)
    stage.model.go.set()
    held.result(DEADLINE)
    assert {code(answer) for answer in answers} == {(Code.INTERNAL, "RuntimeError: bug")}
    with pytest.raises(RuntimeError):
        stage.ask([1.0], BROKEN)
    assert stage.ask([1.0])[0].tolist() == [2.0]


def test_who_waits_is_told_at_its_deadline_and_is_not_run(stages: Any) -> None:
    stage = stages("")
    held = stage.hold()
    began = time.monotonic()
    late = stage.soon([7.0], deadline=began + 0.1)
    assert code(late)[0] is Code.DEADLINE_EXCEEDED
    assert 0.1 <= time.monotonic() - began < DEADLINE
    stage.model.go.set()
    held.result(DEADLINE)
    assert stage.ask([1.0])[0].tolist() == [2.0]
    assert [x.tolist() for x in stage.model.given] == [[0.0], [1.0]]


def test_who_runs_with_others_is_told_at_its_deadline_too(stages: Any) -> None:
    stage = stages("max_batch_size { value: 2 }")
    held = stage.hold()
    late = stage.soon([7.0], deadline=time.monotonic() + 0.5)
    stage.waiting(1)
    other = stage.soon([8.0])
    stage.waiting(2)
    first_may_end, stage.model.go = stage.model.go, threading.Event()
    first_may_end.set()
    held.result(DEADLINE)
    stage.model.wait_for_run()
    assert not other.done()
    assert code(late)[0] is Code.DEADLINE_EXCEEDED
    assert not other.done()
    stage.model.go.set()
    assert other.result(DEADLINE)[0].tolist() == [16.0]


def test_a_timeout_lets_requests_gather(stages: Any) -> None:
    stage = stages("max_batch_size { value: 3 } batch_timeout_micros { value: 20000000 }")
    answers = [stage.soon([float(value)]) for value in range(3)]
    assert [answer.result(DEADLINE)[0].tolist() for answer in answers] == [[0.0], [2.0], [4.0]]
    assert stage.notes.batches == [([1, 1, 1], 3)]


def test_a_timeout_that_fills_nothing_ends(stages: Any) -> None:
    stage = stages("batch_timeout_micros { value: 100000 }")
    began = time.monotonic()
    assert stage.ask([1.0])[0].tolist() == [2.0]
    assert 0.1 <= time.monotonic() - began < DEADLINE


def test_unloading_lets_what_waits_finish() -> None:
    class Loader:
        def load(self, _model: str, _version: int, _path: str) -> Model:
            return Model()

        def unload(self, content: Model) -> None:
            content.closed = True

    rule = BatchingRule(BatchingParameters(num_batch_threads=1))
    loader: BatchingLoader = BatchingLoader(Loader(), rule, lambda _model, _version: Notes())
    content = loader.load("m", 1, "/none")
    assert isinstance(content, BatchedModel)
    content.model.go.clear()
    with ThreadPoolExecutor(4) as pool:
        x = {"x": np.array([1.0], np.float32)}
        first = pool.submit(content.run, PLAIN, x, ["y"])
        content.model.wait_for_run()
        late = pool.submit(content.run, PLAIN, x, ["y"], time.monotonic() + 0.2)
        rest = pool.submit(content.run, PLAIN, x, ["y"])
        assert code(late)[0] is Code.DEADLINE_EXCEEDED
        unloading = pool.submit(loader.unload, content)
        time.sleep(0.05)
        assert not content.model.closed
        content.model.go.set()
        unloading.result(DEADLINE)
        assert content.model.closed
        assert first.result(DEADLINE)[0].tolist() == rest.result(DEADLINE)[0].tolist() == [2.0]


@pytest.mark.parametrize("text", ["", "batch_timeout_micros { value: 500 }", "splitting"])
def test_many_threads_get_their_own_answers(text: str) -> None:
    if text == "splitting":
        text = "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 3 }"
    stage = Stage(
        "max_batch_size { value: 5 } max_enqueued_batches { value: 99 } num_batch_threads { value: 3 } "
        "allowed_batch_sizes: 2 allowed_batch_sizes: 5 " + text
    )

    def client(number: int) -> None:
        for turn in range(40):
            rows = (number + turn) % 5 + 1
            values = np.arange(rows, dtype=np.float32) + 1000 * number + turn
            patience = time.monotonic() + 0.0005 if turn % 7 == 6 else None
            try:
                [y] = stage.batched.run(PLAIN, {"x": values}, ["y"], patience)
            except ServingError as error:
                assert error.code is Code.DEADLINE_EXCEEDED  # noqa: PT017 - most are in time
                assert patience is not None
            else:
                assert y.tolist() == (2 * values).tolist()

    with ThreadPoolExecutor(32) as pool:
        for done in [pool.submit(client, number) for number in range(32)]:
            done.result(DEADLINE)
    assert all(size <= 5 for _, size in stage.notes.batches)
    lane = stage.batched._lanes[PLAIN, ("y",)]
    assert not lane.queue.busy
    assert (lane.queue.waiting_rows, lane.queue.running_rows) == (0, 0)
    stage.close()
