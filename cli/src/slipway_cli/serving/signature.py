"""What a model can be asked: signatures, their tensors and types, from messages or from REST's JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from slipway_cli.errors import CliError, UsageError
from slipway_cli.wire import serving_pb2 as wire

DEFAULT: Final = "serving_default"

DTYPES: Final[Mapping[int, str]] = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
}
"""TensorFlow's numbers of element types, with NumPy's names."""

_ENUM_NAMES: Final = {
    "DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6,
    "DT_STRING": 7, "DT_COMPLEX64": 8, "DT_INT64": 9, "DT_BOOL": 10, "DT_BFLOAT16": 14,
    "DT_UINT16": 17, "DT_COMPLEX128": 18, "DT_HALF": 19, "DT_RESOURCE": 20, "DT_VARIANT": 21,
    "DT_UINT32": 22, "DT_UINT64": 23,
}  # fmt: skip
_METHODS: Final = {
    "tensorflow/serving/predict": "Predict",
    "tensorflow/serving/classify": "Classify",
    "tensorflow/serving/regress": "Regress",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Attributes:
        dtype: TensorFlow's number of the element type.
        shape: -1 for any length; None for any rank.
        tensor: Its name in the graph.
    """

    dtype: int
    shape: tuple[int, ...] | None
    tensor: str = ""

    @property
    def type_name(self) -> str:
        """The element type as NumPy calls it."""
        return DTYPES.get(self.dtype, f"type {self.dtype}")

    def describe(self) -> str:
        """Type and shape, as `float32 [?, 784]`."""
        if self.shape is None:
            return f"{self.type_name}, any shape"
        lengths = ", ".join("?" if length < 0 else str(length) for length in self.shape)
        return f"{self.type_name} [{lengths}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """A function of a model.

    Attributes:
        method: `Predict`, `Classify`, `Regress`, or what else the export says.
        inputs: By their names in requests.
        outputs: By their names in answers.
    """

    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    def as_json(self) -> dict[str, Any]:
        """What `-o json` prints of it."""
        return {
            "method": self.method,
            "inputs": {name: _json(spec) for name, spec in self.inputs.items()},
            "outputs": {name: _json(spec) for name, spec in self.outputs.items()},
        }


Signatures = Mapping[str, Signature]
"""By their keys, sorted."""


def of_messages(signatures: Mapping[str, wire.SignatureDef]) -> Signatures:
    """Read what an export or the gRPC API says."""
    return {
        key: Signature(
            _METHODS.get(definition.method_name, definition.method_name),
            _specs(definition.inputs),
            _specs(definition.outputs),
        )
        for key, definition in sorted(signatures.items())
        if not key.startswith("__saved_model_")
    }


def of_metadata(answer: Any) -> tuple[int | None, Signatures]:
    """Read the answer of `GET /v1/models/NAME/metadata`: which version it is of, and its signatures.

    Raises:
        CliError: It is none.
    """
    try:
        version = answer.get("model_spec", {}).get("version")
        found = answer["metadata"]["signature_def"]["signature_def"]
        signatures = {key: _of_json(found[key]) for key in sorted(found)}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CliError(
            "the answer is no model metadata of TensorFlow Serving: is another program listening there?"
        ) from error
    named = {key: one for key, one in signatures.items() if not key.startswith("__saved_model_")}
    return (int(version) if version not in (None, "") else None), named


def chosen(signatures: Signatures, key: str, where: str) -> tuple[str, Signature]:
    """Return a signature by its key; `serving_default`, or the only one there is, for "".

    Raises:
        UsageError: There is none of that name; the closest one is in the message.
    """
    wanted = key or (
        DEFAULT if DEFAULT in signatures or len(signatures) != 1 else next(iter(signatures))
    )
    if wanted in signatures:
        return wanted, signatures[wanted]
    raise UsageError(f"{where} has no signature {wanted!r}{suggestion(wanted, signatures)}")


def suggestion(wanted: str, names: Iterable[str]) -> str:
    """Return the end of a sentence about a name that is not there."""
    known = sorted(names)
    near = get_close_matches(wanted, known, 1)
    if near:
        return f": did you mean {near[0]!r}?"
    return f": there is {', '.join(map(repr, known[:10]))}" if known else ": there is none at all"


def _specs(infos: Mapping[str, wire.TensorInfo]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            info.dtype,
            None
            if info.tensor_shape.unknown_rank or not info.HasField("tensor_shape")
            else tuple(dim.size for dim in info.tensor_shape.dim),
            info.name,
        )
        for name, info in sorted(infos.items())
    }


def _of_json(definition: Any) -> Signature:
    method = str(definition.get("method_name", ""))
    return Signature(
        _METHODS.get(method, method),
        {name: _spec(one) for name, one in sorted(definition.get("inputs", {}).items())},
        {name: _spec(one) for name, one in sorted(definition.get("outputs", {}).items())},
    )


def _spec(info: Any) -> TensorSpec:
    shape = info.get("tensor_shape", {})
    lengths = tuple(int(dim.get("size", 0)) for dim in shape.get("dim", ()))
    dtype = info.get("dtype", "")
    number = _ENUM_NAMES.get(dtype, 0) if isinstance(dtype, str) else int(dtype)
    return TensorSpec(number, None if shape.get("unknown_rank") else lengths, info.get("name", ""))


def _json(spec: TensorSpec) -> dict[str, Any]:
    shape = None if spec.shape is None else list(spec.shape)
    return {"dtype": spec.type_name, "shape": shape, "tensor": spec.tensor}
