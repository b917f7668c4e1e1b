"""Bodies of `…/infer` ⇄ arrays: JSON, or JSON with tensors as plain bytes behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson

from slipway_server.errors import ServingError, invalid_argument
from slipway_server.frontends.oip.datatypes import (
    LABELS,
    check_count,
    checked_shape,
    dtype_of,
    from_bytes,
    output_label,
    string_array,
    to_bytes,
)
from slipway_server.frontends.oip.datatypes import (
    as_bytes as string_bytes,
)
from slipway_server.frontends.oip.models import SIGNATURE_PARAMETER, InferRequest
from slipway_server.frontends.rest.json_text import loads
from slipway_server.inference.predictor import Prediction
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array

_RANGES: Final = {
    dtype: (np.iinfo(kind).min, np.iinfo(kind).max)
    for dtype in LABELS
    if (kind := dtype.numpy) is not None and kind.kind in "iu"
}


@dataclass(frozen=True, slots=True)
class AsBytes:
    """Which outputs are wanted as plain bytes: in general, and by name."""

    default: bool
    chosen: Mapping[str, bool]

    def __contains__(self, alias: str) -> bool:
        return self.chosen.get(alias, self.default)


class InferBody:
    """A request's body.

    Args:
        body: the JSON, then the bytes of binary inputs in their order.
        json_length: where the JSON ends; None means that it is everything.

    Raises:
        ServingError: INVALID_ARGUMENT when it is no request.
    """

    def __init__(self, body: bytes, json_length: int | None) -> None:
        if json_length is not None and not 0 <= json_length <= len(body):
            raise invalid_argument(
                f"Inference-Header-Content-Length is {json_length}, but the body has {len(body)} bytes"
            )
        text = body if json_length is None else body[:json_length]
        self._binary = memoryview(b"" if json_length is None else body)[json_length or 0 :]
        self._at = 0
        try:
            value = loads(text)
        except orjson.JSONDecodeError as error:
            raise invalid_argument(f"JSON Parse error: {error}") from error
        self._value = _object(value, "The request")
        self._parameters = _parameters(self._value, "The request")

    def request(self, model: str, version: str) -> InferRequest:
        """Return the request.

        Raises:
            ServingError: INVALID_ARGUMENT when its tensors do not fit what they say of themselves.
        """
        inputs: dict[str, Array] = {}
        datatypes: dict[str, DType] = {}
        for entry in _list(self._value.get("inputs"), "inputs"):
            tensor = _object(entry, "An entry of 'inputs'")
            name = _name(tensor, "inputs")
            if name in inputs:
                raise invalid_argument(f"Input '{name}' is given twice")
            dtype = datatypes[name] = dtype_of(tensor.get("datatype"), name)
            shape = checked_shape(_list(tensor.get("shape"), f"shape of input '{name}'"), name)
            inputs[name] = self._tensor(tensor, dtype, shape, name)
        if self._at != len(self._binary):
            raise invalid_argument(
                f"The body has {len(self._binary) - self._at} bytes more than the inputs' binary_data_size"
            )
        identifier = self._value.get("id", "")
        if not isinstance(identifier, str):
            raise invalid_argument("'id' must be a string")
        signature = self._parameters.get(SIGNATURE_PARAMETER, "")
        if not isinstance(signature, str):
            raise invalid_argument(f"The parameter '{SIGNATURE_PARAMETER}' must be a string")
        outputs = [_name(one, "outputs") for one in self._outputs()]
        return InferRequest(model, version, identifier, signature, inputs, datatypes, outputs)

    def as_bytes(self) -> AsBytes:
        """Return which outputs are wanted as plain bytes."""
        chosen: dict[str, bool] = {}
        for one in self._outputs():
            parameters = _parameters(one, "An entry of 'outputs'")
            if "binary_data" in parameters:
                chosen[_name(one, "outputs")] = bool(parameters["binary_data"])
        return AsBytes(bool(self._parameters.get("binary_data_output", False)), chosen)

    def _outputs(self) -> list[dict[str, Any]]:
        entries = _list(self._value.get("outputs", []), "outputs")
        return [_object(entry, "An entry of 'outputs'") for entry in entries]

    def _tensor(
        self, tensor: dict[str, Any], dtype: DType, shape: tuple[int, ...], name: str
    ) -> Array:
        size = _parameters(tensor, f"Input '{name}'").get("binary_data_size")
        if size is None:
            return from_json(dtype, shape, tensor.get("data"), name)
        left = len(self._binary) - self._at
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= left:
            raise invalid_argument(
                f"The binary_data_size of input '{name}' is {size!r:.80}, but {left} bytes are left"
            )
        data = self._binary[self._at : self._at + size]
        self._at += size
        return from_bytes(dtype, shape, data, name)


def from_json(dtype: DType, shape: tuple[int, ...], data: Any, name: str) -> Array:
    """Read values that stand flat, in row-major order, or nested by dimension.

    Raises:
        ServingError: INVALID_ARGUMENT for values that do not fit datatype or shape.
    """
    values: list[Any] = _list(data, f"data of input '{name}'")
    kinds = set(map(type, values))
    while kinds == {list}:
        values = list(chain.from_iterable(values))
        kinds = set(map(type, values))
    check_count(len(values), shape, name)
    if dtype is DType.STRING:
        _only(kinds, {str}, dtype, name)
        return string_array([value.encode() for value in values], shape)
    if dtype is DType.BOOL:
        _only(kinds, {bool}, dtype, name)
    elif bounds := _RANGES.get(dtype):
        _only(kinds, {int}, dtype, name)
        if values and not bounds[0] <= min(values) <= max(values) <= bounds[1]:
            raise invalid_argument(
                f"Input '{name}' has a value that is no {LABELS[dtype]}: it must be within {bounds[0]} and {bounds[1]}"
            )
    else:
        _only(kinds, {int, float}, dtype, name)
    with np.errstate(over="ignore"):  # what is too large for the type is infinite in it
        return np.array(values, dtype.numpy).reshape(shape)


def _only(kinds: set[type], allowed: set[type], dtype: DType, name: str) -> None:
    for kind in kinds - allowed:
        found = {dict: "an object", list: "a list", str: "a string", type(None): "null"}.get(
            kind, f"a {kind.__name__}"
        )
        raise invalid_argument(
            f"Input '{name}' of datatype {LABELS[dtype]} has {found} in its data"
        )


def write_answer(
    request: InferRequest, prediction: Prediction, as_bytes: AsBytes
) -> tuple[bytes, int | None]:
    """Return a body and, when bytes stand behind its JSON, the JSON's length.

    Raises:
        ServingError: UNIMPLEMENTED or INVALID_ARGUMENT when an output has no such form.
    """
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for alias, value in prediction.outputs.items():
        dtype = DType.of_array(value)
        entry: dict[str, Any] = {
            "name": alias,
            "datatype": output_label(alias, dtype),
            "shape": value.shape,
        }
        if alias in as_bytes:
            data = to_bytes(value)
            entry["parameters"] = {"binary_data_size": len(data)}
            binary.append(data)
        else:
            entry["data"] = _json_values(alias, dtype, value)
        outputs.append(entry)
    answer: dict[str, Any] = {
        "model_name": request.model,
        "model_version": str(prediction.version),
        "outputs": outputs,
    }
    if request.id:
        answer["id"] = request.id
    text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((text, *binary)), len(text)) if binary else (text, None)


def _json_values(alias: str, dtype: DType, value: Array) -> Any:
    if dtype is DType.STRING:
        try:
            return [string_bytes(one).decode() for one in value.flat]
        except UnicodeDecodeError as error:
            raise invalid_argument(
                f"Output '{alias}' contains bytes that are not UTF-8: request it with the parameter binary_data"
            ) from error
    if dtype in {DType.HALF, DType.BFLOAT16}:
        value = value.astype(np.float32)
    return np.ascontiguousarray(value).ravel()


# ---- shapes of JSON --------------------------------------------------------------------------------------------------


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(what, "an object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(f"'{what}'", "a list")
    return value


def _name(entry: Mapping[str, Any], of: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str):
        raise _wrong(f"The name of an entry of '{of}'", "a string")
    return name


def _parameters(entry: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    return _object(entry.get("parameters") or {}, f"The parameters of {what[0].lower()}{what[1:]}")


def _wrong(what: str, wanted: str) -> ServingError:
    return invalid_argument(f"{what} must be {wanted}")
