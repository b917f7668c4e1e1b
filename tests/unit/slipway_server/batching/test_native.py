"""§9 with the extension module: what Python asks of the native queues, and what it makes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest

from slipway_server.batching.native import NativeBatchedModel
from slipway_server.errors import Code, ServingError
from slipway_server.servables.dtypes import DType
from slipway_server.servables.servable import OpenSession, Ran
from slipway_server.servables.signature import Array, Signature, TensorSpec


def _signature(key: str, *aliases: str, defaults: Mapping[str, Array] | None = None) -> Signature:
    return Signature(
        key,
        "predict",
        {alias: TensorSpec(f"{alias}:0", DType.FLOAT, (-1,)) for alias in ("a", "x")},
        {alias: TensorSpec(f"{alias}:0", DType.FLOAT, (-1,)) for alias in aliases},
        defaults or {},
    )


MAIN = _signature("main", "p", "q", "r")
EXAMPLES = _signature("main", "p")
VALUE = np.ones(2, np.float32)
INPUTS = {"x": VALUE, "a": 2 * VALUE}


class Queues:
    """Answers each output with the number of its place; keeps what it was asked."""

    def __init__(self) -> None:
        self.described: dict[str, tuple[Any, ...]] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.answer: Callable[[Sequence[int]], Ran] = list
        self.drained = False

    def describe(self, key: str, *about: Any) -> bool:
        self.described[key] = about
        return True

    def run(self, key: str, outputs: Sequence[int], tensors: Any, left: float | None) -> Ran:
        self.asked.append((key, outputs, tensors, left))
        return self.answer(outputs)

    def drain(self) -> None:
        self.drained = True


class Model:
    """Takes arrays for tensors."""

    def __init__(self) -> None:
        self.signatures = {"main": MAIN}
        self.example_signatures = {"main": EXAMPLES}
        self.signature_defs: dict[str, Any] = {}
        self.alone = 0
        self.closed_after_drain = False
        self.queues = Queues()

    def run(self, *_about: Any) -> list[Array]:
        self.alone += 1
        return [VALUE]

    def run_elsewhere(
        self, inputs: Sequence[Array], run: Callable[[list[int]], Ran]
    ) -> list[Array] | None:
        found = run([int(value[0]) for value in inputs])
        if isinstance(found, tuple):
            raise ServingError(Code(found[0]), found[1])
        return None if found is None else [np.array(value) for value in found]

    def open_session(self) -> OpenSession:
        return OpenSession(1, 2, on_caller=True, owner=None)

    def close(self) -> None:
        self.closed_after_drain = self.queues.drained


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def batched(model: Model) -> NativeBatchedModel:
    return NativeBatchedModel(model, cast("Any", model.queues))


def test_outputs_come_in_the_order_asked_for_out_of_one_queue(
    model: Model, batched: NativeBatchedModel
) -> None:
    for wanted, places in (
        (("r", "p"), [2, 0]),
        (("p", "r"), [0, 2]),
        (("r", "p", "r"), [2, 0, 2]),
    ):
        assert [int(one) for one in batched.run(MAIN, INPUTS, wanted)] == places
    assert {tuple(asked[1]) for asked in model.queues.asked} == {(0, 2)}
    # Values in the order of the signature's aliases.
    assert all(asked[2] == [2, 1] for asked in model.queues.asked)
    assert model.alone == 0


def test_signatures_of_examples_have_queues_of_their_own(
    model: Model, batched: NativeBatchedModel
) -> None:
    batched.run(MAIN, INPUTS, ("p",))
    batched.run(EXAMPLES, INPUTS, ("p",))
    first, second = (asked[0] for asked in model.queues.asked)
    assert first != second
    assert model.queues.described[first][2] == model.queues.described[second][2] == "main"


def test_a_signature_made_for_one_request_shares_its_queue_with_its_like(
    model: Model, batched: NativeBatchedModel
) -> None:
    for _ in range(2):
        batched.run(_signature("made", "p", "q"), INPUTS, ("p",))
    batched.run(_signature("made", "q", "p"), INPUTS, ("p",))
    first, same, other = (asked[0] for asked in model.queues.asked)
    assert first == same != other


def test_what_cannot_be_batched_runs_alone(model: Model, batched: NativeBatchedModel) -> None:
    batched.run(MAIN, {"x": VALUE}, ("p",))
    assert (model.alone, model.queues.asked) == (1, [])
    model.queues.answer = lambda _places: None
    batched.run(MAIN, INPUTS, ("p",))
    assert model.alone == 2


def test_a_failure_is_raised_and_not_run_again(model: Model, batched: NativeBatchedModel) -> None:
    model.queues.answer = lambda _places: (14, "full")
    with pytest.raises(ServingError) as error:
        batched.run(MAIN, INPUTS, ("p",))
    assert (error.value.code, error.value.message) == (Code.UNAVAILABLE, "full")
    assert model.alone == 0


def test_what_waits_is_done_before_the_model_is_released(
    model: Model, batched: NativeBatchedModel
) -> None:
    batched.close()
    assert model.closed_after_drain
