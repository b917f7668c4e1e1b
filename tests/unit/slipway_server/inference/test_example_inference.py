"""Classify, Regress and MultiInference without TensorFlow: what is run with what, and what is refused (§7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from slipway_server.core.serving_map import Handle, Servable
from slipway_server.errors import Code, ServingError
from slipway_server.inference.classification import Classifications, Regressions, describe
from slipway_server.inference.multi import Task
from slipway_server.inference.predictor import Predictor
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
LABELS = np.array([[b"a", b"b"]], object)
SCORES = np.float32([[0.25, 0.75]])
VALUES: dict[str, Any] = {"labels:0": LABELS, "scores:0": SCORES, "y:0": np.float32([[2.0]])}


def spec(tensor: str, dtype: DType) -> TensorSpec:
    return TensorSpec(tensor, dtype, None)


def signature(key: str, outputs: Mapping[str, str], method: str, tensor: str = "in:0") -> Signature:
    return Signature(
        key,
        method,
        {"inputs": spec(tensor, DType.STRING)},
        {alias: spec(name, DType.FLOAT) for alias, name in outputs.items()},
    )


BOTH = signature("both", {"classes": "labels:0", "scores": "scores:0"}, CLASSIFY)
ONLY = signature("only", {"scores": "scores:0"}, CLASSIFY)
VALUE = signature("value", {"outputs": "y:0"}, REGRESS)
APART = signature("apart", {"outputs": "y:0"}, REGRESS, "other:0")


class Model:
    """A model that returns fixed values by the names of its tensors and writes down what it is asked."""

    def __init__(
        self, *signatures: Signature, example_signatures: Sequence[Signature] = ()
    ) -> None:
        self.signatures = {one.key: one for one in signatures}
        self.example_signatures = {one.key: one for one in example_signatures}
        self.runs: list[tuple[Signature, dict[str, Any], list[str], float | None]] = []

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,
    ) -> list[Array]:
        given = {alias: value.tolist() for alias, value in inputs.items()}
        self.runs.append((signature, given, list(outputs), deadline))
        return [VALUES[signature.outputs[alias].tensor] for alias in outputs]


class Serving:
    def open(self, _selector: Any) -> Any:
        raise NotImplementedError


def handle(model: Model) -> Handle[Any]:
    servable = Servable("m", 7, model)
    servable.acquire()
    return Handle(servable)


def examples(*values: bytes) -> Array:
    vector = np.empty(len(values), object)
    vector[:] = values
    return vector


def predictor(*, check_methods: bool = False) -> Predictor:
    return Predictor(Serving(), check_methods=check_methods)


def test_classify_runs_the_named_outputs_over_the_examples() -> None:
    model = Model(BOTH)
    with handle(model) as held:
        found = predictor().classify(held, "both", examples(b"e"), 12.5)
    assert (found.version, found.signature) == (7, "both")
    assert isinstance(found.result, Classifications)
    assert found.result.labels is LABELS
    assert found.result.scores is SCORES
    assert model.runs == [(BOTH, {"inputs": [b"e"]}, ["classes", "scores"], 12.5)]


def test_a_regression_of_one_column_is_flat() -> None:
    with handle(Model(VALUE)) as held:
        found = predictor().regress(held, "value", examples(b"e"))
    assert isinstance(found.result, Regressions)
    assert found.result.values.tolist() == [2.0]


def test_a_model_may_have_signatures_of_its_own_for_examples() -> None:
    model = Model(
        Signature("serving_default", "", {"x": spec("x:0", DType.FLOAT)}, {}),
        example_signatures=[signature("serving_default", {"outputs": "y:0"}, REGRESS)],
    )
    with handle(model) as held:
        assert predictor().regress(held, "", examples(b"e")).signature == "serving_default"
        tasks = [Task("m", "serving_default", REGRESS)]
        [found] = predictor().multi_inference(held, tasks, examples(b"e"))
        assert isinstance(found.result, Regressions)


def test_tasks_together_are_one_run() -> None:
    model = Model(BOTH, ONLY, VALUE)
    tasks = [Task("m", "both", CLASSIFY), Task("m", "value", REGRESS), Task("m", "only", CLASSIFY)]
    with handle(model) as held:
        found = predictor().multi_inference(held, tasks, examples(b"e"), 3.0)
    assert [one.signature for one in found] == ["both", "value", "only"]
    first, second, third = (one.result for one in found)
    assert isinstance(first, Classifications)
    assert first.labels is LABELS
    assert isinstance(second, Regressions)
    assert isinstance(third, Classifications)
    assert third.labels is None
    [(asked, inputs, outputs, deadline)] = model.runs
    assert (inputs, deadline) == ({"inputs": [b"e"]}, 3.0)
    assert outputs == ["both/classes", "both/scores", "only/scores", "value/outputs"]
    assert asked.key == "both+only+value"
    assert asked.inputs == BOTH.inputs


def test_a_single_task_is_the_signature_itself() -> None:
    model = Model(VALUE)
    with handle(model) as held:
        predictor().multi_inference(held, [Task("m", "value", REGRESS)], examples(b"e"))
    assert model.runs[0][0] is VALUE


def refusal(call: Any, *arguments: Any, **named: Any) -> tuple[Code, str]:
    with pytest.raises(ServingError) as error:
        call(*arguments, **named)
    return error.value.code, error.value.message


def test_method_names_are_checked_when_asked_for() -> None:
    wrong = signature("wrong", {"outputs": "y:0"}, "somebody/else")
    with handle(Model(wrong, BOTH, VALUE)) as held:
        assert predictor().regress(held, "wrong", examples(b"e")).signature == "wrong"
        strict = predictor(check_methods=True)
        assert strict.regress(held, "value", examples(b"e")).signature == "value"
        assert refusal(strict.regress, held, "wrong", examples(b"e")) == (
            Code.INVALID_ARGUMENT,
            f"Expected regression signature method_name to be {REGRESS}. Was: somebody/else",
        )
        assert refusal(strict.classify, held, "wrong", examples(b"e")) == (
            Code.INVALID_ARGUMENT,
            f"Expected classification signature method_name to be {CLASSIFY}. Was: somebody/else",
        )
        assert refusal(strict.predict, held, "wrong", {}) == (
            Code.INTERNAL,
            (
                "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
                f"{CLASSIFY}, {REGRESS}}}. Was: somebody/else"
            ),
        )
        tasks = [Task("m", "wrong", REGRESS)]
        code, message = refusal(strict.multi_inference, held, tasks, examples(b"e"))
        assert (code, message[:10]) == (Code.INVALID_ARGUMENT, "Expected r")


def test_nothing_is_run_without_examples() -> None:
    model = Model(BOTH, VALUE)
    with handle(model) as held:
        for call, argument in (
            (predictor().classify, "both"),
            (predictor().regress, "value"),
            (predictor().multi_inference, [Task("m", "value", REGRESS)]),
        ):
            assert refusal(call, held, argument, examples()) == (
                Code.INVALID_ARGUMENT,
                "Input is empty.",
            )
    assert not model.runs


def test_tasks_with_input_tensors_of_their_own_are_fed_the_same_examples() -> None:
    model = Model(BOTH, APART, VALUE)
    tasks = [Task("m", "value", REGRESS), Task("m", "apart", REGRESS), Task("m", "both", CLASSIFY)]
    with handle(model) as held:
        found = predictor().multi_inference(held, tasks, examples(b"e"))
    assert [type(one.result) for one in found] == [Regressions, Regressions, Classifications]
    [(asked, inputs, _, _)] = model.runs
    assert inputs == {"apart/inputs": [b"e"], "both/inputs": [b"e"]}
    assert [spec.tensor for spec in asked.inputs.values()] == ["other:0", "in:0"]


def test_a_signature_in_words() -> None:
    rank_unknown = Signature(
        "k",
        "m",
        {"a": TensorSpec("a:0", DType.INT64, None)},
        {"b": TensorSpec("", DType.FLOAT, ())},
    )
    assert describe(rank_unknown) == (
        'inputs { key: "a" value { name: "a:0" dtype: DT_INT64 tensor_shape { unknown_rank: true } } } '
        'outputs { key: "b" value { name: "" dtype: DT_FLOAT tensor_shape { } } } method_name: "m"'
    )
