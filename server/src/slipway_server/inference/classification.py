"""Classify and Regress: signatures over serialized tf.Examples. Pure checks; the sentences are TensorFlow Serving's.

A classification has one input and one or two outputs, a regression one input and one output; their aliases are fixed.
What a model returns is checked too: nothing but the export promises its shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from slipway_server.errors import ServingError, invalid_argument
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec

INPUTS: Final = "inputs"
CLASSES: Final = "classes"
SCORES: Final = "scores"
OUTPUTS: Final = "outputs"
_MOST_CLASSIFY_OUTPUTS: Final = 2


class Method(Enum):
    """What a signature over Examples computes; the value is the `method_name` that its export gives it."""

    CLASSIFY = "tensorflow/serving/classify"
    REGRESS = "tensorflow/serving/regress"


PREDICT_METHOD: Final = "tensorflow/serving/predict"


@dataclass(frozen=True, slots=True, eq=False)
class Classifications:
    """What Classify found.

    Attributes:
        labels: `bytes` objects by example and class; None when the model has no `classes` output.
        scores: float32 by example and class; None when the model has no `scores` output. One of the two is there.
    """

    labels: Array | None
    scores: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class Regressions:
    """What Regress found.

    Attributes:
        values: float32 by example.
    """

    values: Array


Result = Classifications | Regressions


def check_method(signature: Signature, method: Method) -> None:
    """Refuse a signature whose export calls it something else.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if signature.method != method.value:
        kind = "classification" if method is Method.CLASSIFY else "regression"
        raise invalid_argument(
            f"Expected {kind} signature method_name to be {method.value}. Was: {signature.method}"
        )


def wanted_outputs(signature: Signature, method: Method) -> tuple[str, ...]:
    """Return the aliases of a signature's outputs that the method reads.

    Raises:
        ServingError: INVALID_ARGUMENT when the signature cannot be used so.
    """
    if method is Method.CLASSIFY:
        return _classification_outputs(signature)
    return _regression_outputs(signature)


def result(method: Method, examples: int, outputs: Mapping[str, Array]) -> Result:
    """Check what the model returned and give it its form.

    Args:
        method: what was asked for.
        examples: how many there were in the request.
        outputs: value by alias, of those from `wanted_outputs`.

    Raises:
        ServingError: INVALID_ARGUMENT when shape or element type is not what the method needs.
    """
    if method is Method.CLASSIFY:
        return _classifications(examples, outputs)
    return _regressions(examples, outputs[OUTPUTS])


def _classification_outputs(signature: Signature) -> tuple[str, ...]:
    _check_one_input(signature)
    if not 1 <= len(signature.outputs) <= _MOST_CLASSIFY_OUTPUTS:
        raise invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if INPUTS not in signature.inputs:
        raise invalid_argument(
            f"No classification inputs found in SignatureDef: {describe(signature)}"
        )
    found = tuple(alias for alias in (CLASSES, SCORES) if alias in signature.outputs)
    if not found:
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {describe(signature)}"
        )
    return found


def _regression_outputs(signature: Signature) -> tuple[str, ...]:
    _check_one_input(signature)
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {describe(signature)}")
    if OUTPUTS not in signature.outputs:
        raise invalid_argument(
            f"No regression outputs found in SignatureDef: {describe(signature)}"
        )
    return (OUTPUTS,)


def _check_one_input(signature: Signature) -> None:
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")


def _classifications(examples: int, outputs: Mapping[str, Array]) -> Classifications:
    labels, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for alias, value, wanted in ((CLASSES, labels, DType.STRING), (SCORES, scores, DType.FLOAT)):
        if value is not None:
            _check_classification_output(alias, value, wanted, examples)
    if labels is not None and scores is not None and labels.shape[1] != scores.shape[1]:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). "
            f"Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    return Classifications(labels, scores)


def _check_classification_output(alias: str, value: Array, wanted: DType, examples: int) -> None:
    if value.ndim != 2:  # noqa: PLR2004 - examples and classes
        raise invalid_argument(
            f"Expected Tensor shape: [batch_size num_classes] but got {_shape_text(value.shape)}"
        )
    if (found := DType.of_array(value)) is not wanted:
        raise invalid_argument(f"Expected {alias} Tensor of DT_{wanted.name}. Got: DT_{found.name}")
    if value.shape[0] != examples:
        raise invalid_argument(
            f"Expected {alias} output batch size of {examples}. Got: {value.shape[0]}"
        )


def _regressions(examples: int, values: Array) -> Regressions:
    if values.ndim not in {1, 2} or values.shape[1:] not in {(), (1,)}:
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            + _shape_text(values.shape)
        )
    if values.shape[0] != examples:
        raise invalid_argument(
            f"Input batch size did not match output batch size: {examples} vs. {values.shape[0]}"
        )
    if (found := DType.of_array(values)) is not DType.FLOAT:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: DT_{found.name}")
    return Regressions(values.reshape(examples))


def _shape_text(shape: Sequence[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def describe(signature: Signature) -> str:
    """Return a signature in the form in which TensorFlow's messages show one.

    >>> describe(Signature("", "m", {}, {"y": TensorSpec("y:0", DType.FLOAT, (-1,))}))
    'outputs { key: "y" value { name: "y:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 } } } } method_name: "m"'
    """
    parts = [
        f'{side} {{ key: "{alias}" value {{ name: "{spec.tensor}" dtype: DT_{spec.dtype.name} '
        f"tensor_shape {{ {_dimensions(spec)}}} }} }}"
        for side, specs in (("inputs", signature.inputs), ("outputs", signature.outputs))
        for alias, spec in specs.items()
    ]
    return " ".join([*parts, f'method_name: "{signature.method}"'])


def _dimensions(spec: TensorSpec) -> str:
    if spec.shape is None:
        return "unknown_rank: true "
    return "".join(f"dim {{ size: {size} }} " for size in spec.shape)


def signature_not_found(name: str) -> ServingError:
    """Return Classify's and Regress's error for a signature that the model does not have."""
    return invalid_argument(f"No signature was found with the name: {name}")
