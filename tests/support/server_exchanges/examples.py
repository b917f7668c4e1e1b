"""Classify, Regress and MultiInference, where both protocols can say it (§7, §8.3); `results` as in §14."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


@dataclass(frozen=True)
class AskExamples:
    """A request; an example maps features to a value or list of `int`, `float`, `str` or `bytes`."""

    method: str
    examples: list[dict[str, Any]]
    signature: str = ""
    context: dict[str, Any] | None = None
    model: str = "examples"
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class HearResults:
    """What comes back: [[label, score], …] or a value for each example, or a code and the beginning of its message."""

    results: list[Any] = field(default_factory=list)
    code: str = "OK"
    message: str = ""


def _refused(message: str, code: str = "INVALID_ARGUMENT") -> HearResults:
    return HearResults(code=code, message=message)


_ONE = [{"x": 1.5, "n": 3}]
_TWO = [{"x": 1.5, "n": 3}, {"x": -0.25}]


def _classify(examples: list[dict[str, Any]], signature: str = "", **more: Any) -> AskExamples:
    return AskExamples("classify", examples, signature, **more)


def _regress(examples: list[dict[str, Any]], signature: str = "double", **more: Any) -> AskExamples:
    return AskExamples("regress", examples, signature, **more)


EXAMPLES: list[tuple[str, AskExamples, HearResults]] = [
    (
        "classes and scores",
        _classify(_TWO),
        HearResults([[["small", 1.5], ["large", 3.0]], [["small", -0.25], ["large", 0.0]]]),
    ),
    (
        "the default signature by its name",
        _classify(_ONE, "serving_default"),
        HearResults([[["small", 1.5], ["large", 3.0]]]),
    ),
    (
        "a version by number",
        _classify(_ONE, version=1),
        HearResults([[["small", 1.5], ["large", 3.0]]]),
    ),
    (
        "a version by label",
        _classify(_ONE, label="stable"),
        HearResults([[["small", 1.5], ["large", 3.0]]]),
    ),
    (
        "classes without scores",
        _classify([{"word": "a"}, {"word": "b"}], "words"),
        HearResults([[["a", 0.0]], [["b", 0.0]]]),
    ),
    (
        "scores without classes",
        _classify(_TWO, "scores"),
        HearResults([[["", 1.5], ["", 3.0]], [["", -0.25], ["", 0.0]]]),
    ),
    (
        "a label that is no ASCII",
        _classify([{"word": "é€"}], "words"),
        HearResults([[["é€", 0.0]]]),
    ),
    (
        "an empty label",
        _classify([{"word": ""}], "words"),
        HearResults([[["", 0.0]]]),
    ),
    (
        "a label that is no UTF-8",
        _classify([{"word": b"\xff"}], "words"),
        HearResults([[["\ufffd", 0.0]]]),
    ),
    (
        "an example without features",
        _classify([{}]),
        HearResults([[["small", 0.0], ["large", 0.0]]]),
    ),
    (
        "a feature that the model does not know",
        _classify([{"x": 1.0, "z": "other"}]),
        HearResults([[["small", 1.0], ["large", 0.0]]]),
    ),
    (
        "lists of one",
        _classify([{"x": [1.0], "n": [2]}]),
        HearResults([[["small", 1.0], ["large", 2.0]]]),
    ),
    (
        "a negative integer",
        _classify([{"n": -7}], "scores"),
        HearResults([[["", 0.0], ["", -7.0]]]),
    ),
    (
        "the largest integer",
        _classify([{"n": 2**63 - 1}], "scores"),
        HearResults([[["", 0.0], ["", float(2**63)]]]),
    ),
    (
        "a context for all examples",
        _classify([{"x": 1.0}, {"x": 2.0}], "scores", context={"n": 9}),
        HearResults([[["", 1.0], ["", 9.0]], [["", 2.0], ["", 9.0]]]),
    ),
    (
        "a feature of the example goes before the context's",
        _classify([{"n": 1}, {}], "scores", context={"n": 9}),
        HearResults([[["", 0.0], ["", 1.0]], [["", 0.0], ["", 9.0]]]),
    ),
    (
        "an empty context",
        _classify([{"x": 4.0}], "scores", context={}),
        HearResults([[["", 4.0], ["", 0.0]]]),
    ),
    ("regression", _regress(_TWO), HearResults([3.0, -0.5])),
    ("regression of one column", _regress(_TWO, "column"), HearResults([3.0, -0.5])),
    (
        "regression with a context",
        _regress([{}, {"x": 1.0}], context={"x": 7.0}),
        HearResults([14.0, 2.0]),
    ),
    ("regression by label", _regress(_ONE, label="stable"), HearResults([3.0])),
    (
        "many examples",
        _regress([{"x": float(number)} for number in range(100)]),
        HearResults([2.0 * number for number in range(100)]),
    ),
    (
        "a method name is not looked at by default",
        _classify(_ONE, "unnamed method"),
        HearResults([[["small", 1.5], ["large", 3.0]]]),
    ),
    # What is not there.
    (
        "no such model",
        _classify(_ONE, model="m"),
        _refused("Servable not found for request: Latest(m)", "NOT_FOUND"),
    ),
    (
        "no such version",
        _regress(_ONE, version=9),
        _refused("Servable not found for request: Specific(examples, 9)", "NOT_FOUND"),
    ),
    (
        "no such label",
        _regress(_ONE, label="x"),
        _refused("Unrecognized servable version label: x"),
    ),
    (
        "no such signature to classify",
        _classify(_ONE, "s"),
        _refused("No signature was found with the name: s"),
    ),
    (
        "no such signature to regress",
        _regress(_ONE, "s"),
        _refused("No signature was found with the name: s"),
    ),
    # Signatures that are no classification.
    ("two inputs", _classify(_ONE, "two inputs"), _refused("Expected one input Tensor.")),
    (
        "three outputs",
        _classify(_ONE, "three outputs"),
        _refused("Expected one or two output Tensors, found 3"),
    ),
    (
        "an input of another name",
        _classify(_ONE, "input otherwise"),
        _refused('No classification inputs found in SignatureDef: inputs { key: "examples"'),
    ),
    (
        "neither classes nor scores",
        _classify(_ONE, "neither"),
        _refused(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            'Signature was: inputs { key: "inputs" value { name: "examples:0" dtype: DT_STRING '
        ),
    ),
    (
        "classes of rank 1",
        _classify(_TWO, "flat"),
        _refused("Expected Tensor shape: [batch_size num_classes] but got [2]"),
    ),
    (
        "scores of rank 1",
        _classify(_TWO, "flat scores"),
        _refused("Expected Tensor shape: [batch_size num_classes] but got [2]"),
    ),
    (
        "classes that are integers",
        _classify(_ONE, "ids"),
        _refused("Expected classes Tensor of DT_STRING. Got: DT_INT64"),
    ),
    (
        "scores that are doubles",
        _classify(_ONE, "doubles"),
        _refused("Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
    ),
    (
        "more classes than examples",
        _classify(_TWO, "more labels"),
        _refused("Expected classes output batch size of 2. Got: 4"),
    ),
    (
        "more scores than examples",
        _classify(_TWO, "more scores"),
        _refused("Expected scores output batch size of 2. Got: 4"),
    ),
    (
        "classes and scores of different widths",
        _classify(_ONE, "unlike"),
        _refused("Tensors class and score should match in dim_size(1). Got 2 vs. 4"),
    ),
    # Signatures that are no regression.
    (
        "a regression of two inputs",
        _regress(_ONE, "two inputs"),
        _refused("Expected one input Tensor."),
    ),
    ("two outputs", _regress(_ONE, "two outputs"), _refused("Expected one output Tensor.")),
    (
        "a regression's input of another name",
        _regress(_ONE, "regress otherwise"),
        _refused('No regression inputs found in SignatureDef: inputs { key: "examples"'),
    ),
    (
        "a regression's output of another name",
        _regress(_ONE, "output otherwise"),
        _refused("No regression outputs found in SignatureDef: inputs { key:"),
    ),
    (
        "a wide regression",
        _regress(_TWO, "wide"),
        _refused(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]"
        ),
    ),
    (
        "a longer regression",
        _regress(_TWO, "longer"),
        _refused("Input batch size did not match output batch size: 2 vs. 4"),
    ),
    (
        "a regression of integers",
        _regress(_ONE, "integers"),
        _refused("Expected output Tensor of DT_FLOAT.  Got: DT_INT64"),
    ),
    # What the model itself refuses.
    ("a feature of the wrong type", _classify([{"x": 1}]), _refused("")),
    ("a feature of the wrong length", _regress([{"x": [1.0, 2.0]}]), _refused("")),
]
