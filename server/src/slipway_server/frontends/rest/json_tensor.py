"""JSON → tensors: TensorFlow Serving's two request formats.

    row      {"instances": [value, …]}            one input: each element is one row of it
             {"instances": [{"a": …, "b": …}, …]} several inputs: each object has one row of every input
    column   {"inputs": value}                    one input
             {"inputs": {"a": value, "b": value}} several inputs
    binary   {"b64": "aGk="} in the place of a string

Values are nested lists. The usual body (numbers that fit) is converted by NumPy in one go; anything it does not take as
exactly the wanted type goes through the careful path below, which exists to say what is wrong and where.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.rest.json_string import is_b64, read_string, wrong_type
from slipway_server.frontends.rest.json_text import excerpt
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec

_MAX_RANK: Final = 64
"""NumPy's own; TensorFlow's is 254."""
_INT32: Final = (-(2**31), 2**31 - 1)
_INTEGER_RANGES: Final[dict[DType, tuple[int, int]]] = {
    DType.INT8: _INT32,
    DType.INT16: _INT32,
    DType.INT32: _INT32,
    DType.UINT8: _INT32,
    DType.INT64: (-(2**63), 2**63 - 1),
    DType.UINT32: (0, 2**32 - 1),
    DType.UINT64: (0, 2**64 - 1),
}
"""What a JSON integer may be. Narrow types take any int32 and keep its low bits, as TensorFlow Serving does."""
_FLOATS: Final = frozenset({DType.FLOAT, DType.DOUBLE})


class Format(Enum):
    """In which of the two formats a request came; the answer comes back in the same."""

    ROW = "instances"
    COLUMN = "inputs"


@dataclass(frozen=True, slots=True)
class PredictBody:
    """A decoded Predict request: its format and the inputs by alias."""

    format: Format
    inputs: dict[str, Array]


def signature_name(body: Any) -> str:
    """Return the signature that a parsed request body names; empty when it names none.

    Raises:
        ServingError: INVALID_ARGUMENT when the body is no object or the name no string.
    """
    if not isinstance(body, dict):
        raise invalid_argument(f"JSON Value: {excerpt(body)} Is not object")
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {excerpt(body)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def read_predict(
    body: dict[str, Any],
    signature: Signature,
    *,
    literals: bool = True,
    strings: int | None = None,
) -> PredictBody:
    """Turn a parsed request body into tensors.

    Args:
        body: the parsed JSON.
        signature: the one that the body names.
        literals: whether `true` or `false` may be among the values.
        strings: how many strings the text has at most, names of members included; None when nobody counted. When no
            value can be anything but a number, nobody looks at each of them.

    Raises:
        ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for an element type that JSON cannot hold.
    """
    if not signature.inputs:
        name = body.get("signature_name", "") or "DEFAULT"
        raise invalid_argument(f"Failed to get input map for signature: {name}")
    rows, columns = "instances" in body, "inputs" in body
    if rows and columns:
        raise invalid_argument(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if not rows and not columns:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    values = body["instances"] if rows else body["inputs"]
    known = len(body) + ("signature_name" in body) + _member_names(values, signature)
    mixed = literals or strings is None or strings > known
    if rows:
        return PredictBody(Format.ROW, read_rows(values, signature, mixed=mixed))
    return PredictBody(Format.COLUMN, read_columns(values, signature, mixed=mixed))


def _member_names(values: Any, signature: Signature) -> int:
    """Count the names of members that a well-formed value has around its tensors."""
    if isinstance(values, dict):
        return len(values)
    rows_of_objects = isinstance(values, list) and values and isinstance(values[0], dict)
    return len(values) * len(signature.inputs) if rows_of_objects else 0


def read_rows(instances: Any, signature: Signature, *, mixed: bool = True) -> dict[str, Array]:
    """Return the inputs of `instances`, one row each, stacked by alias."""
    if not isinstance(instances, list):
        raise invalid_argument("Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument("No values in 'instances' array")
    specs = signature.inputs
    if _is_row_object(instances[0]):
        _check_objects(instances, specs)
        return {
            alias: _rows(
                [instance[alias] for instance in instances],
                spec,
                f" key: {alias}",
                mixed=mixed,
            )
            for alias, spec in specs.items()
        }
    if len(specs) != 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for number, instance in enumerate(instances):
        if _is_row_object(instance):
            raise invalid_argument(
                f"Expecting value/list but got object at item {number} of input list"
            )
    ((alias, spec),) = specs.items()
    return {alias: _rows(instances, spec, "", mixed=mixed)}


def read_columns(inputs: Any, signature: Signature, *, mixed: bool = True) -> dict[str, Array]:
    """Return the inputs of `inputs`: whole tensors by alias."""
    specs = signature.inputs
    if isinstance(inputs, dict) and not is_b64(inputs):
        for alias in specs:
            if alias not in inputs:
                raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        return {
            alias: read_value(inputs[alias], spec.dtype, mixed=mixed)
            for alias, spec in specs.items()
        }
    if len(specs) != 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    ((alias, spec),) = specs.items()
    return {alias: read_value(inputs, spec.dtype, mixed=mixed)}


def read_value(value: Any, dtype: DType, *, mixed: bool = True) -> Array:
    """Read one nested list (or scalar) as a tensor."""
    array = _quick(value, dtype, mixed=mixed)
    if array is not None:
        return array
    shape = _shape(value)
    leaves: list[Any] = []
    _collect(value, 0, shape, dtype, leaves)
    return _array(leaves, dtype).reshape(shape)


def _rows(rows: list[Any], spec: TensorSpec, where: str, *, mixed: bool) -> Array:
    array = _quick(rows, spec.dtype, mixed=mixed)
    if array is not None:
        return array
    shape = _shape(rows[0], _MAX_RANK - 1)
    size = int(np.prod(shape, dtype=object))
    leaves: list[Any] = []
    for number, row in enumerate(rows):
        before = len(leaves)
        try:
            if number and (found := _shape(row, _MAX_RANK - 1)) != shape:
                _refuse_other_shape(found, shape, size)
            _collect(row, 0, shape, spec.dtype, leaves)
            if len(leaves) - before != size:
                raise invalid_argument(
                    f"Expecting tensor size: {size} but got: {len(leaves) - before}"
                )
        except ServingError as error:
            raise invalid_argument(
                f"Failed to process element: {number}{where} of 'instances' list. Error: {error}"
            ) from error
    return _array(leaves, spec.dtype).reshape(len(rows), *shape)


def _refuse_other_shape(found: tuple[int, ...], wanted: tuple[int, ...], size: int) -> None:
    found_size = int(np.prod(found, dtype=object))
    if found_size != size:
        raise invalid_argument(f"Expecting tensor size: {size} but got: {found_size}")
    raise invalid_argument(f"Expecting shape {_shape_text(wanted)} but got: {_shape_text(found)}")


def _shape_text(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(str(size) for size in shape) + "]"


def _check_objects(instances: list[Any], specs: Mapping[str, TensorSpec]) -> None:
    names = specs.keys()
    for number, instance in enumerate(instances):
        if not _is_row_object(instance):
            raise invalid_argument(f"Expecting object but got list at item {number} of input list")
        if instance.keys() != names:
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. JSON object: {excerpt(instance)} "
                f"keys must be equal to: {','.join(names)}"
            )


# ---- the usual body --------------------------------------------------------------------------------------------------


def _quick(value: Any, dtype: DType, *, mixed: bool = True) -> Array | None:
    """Let NumPy convert a value when that gives exactly what the careful path would give; None when in doubt."""
    kind = dtype.numpy
    if kind is None or dtype not in _QUICK_KINDS or not isinstance(value, list):
        return None
    # NumPy takes true for 1 among numbers, which TensorFlow Serving does not, and makes room for the longest string
    # in the place of each number.
    if mixed and not _has_only(value, _QUICK_TYPES[dtype]):
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, RecursionError):
        return None
    if array.dtype.kind not in _QUICK_KINDS[dtype] or not array.size:
        return None
    if (limits := _INTEGER_RANGES.get(dtype)) and not (
        limits[0] <= array.min() and array.max() <= limits[1]
    ):
        return None
    with np.errstate(over="ignore"):  # a double too large for a float is infinite, as in C
        return array.astype(kind, copy=False)


_QUICK_KINDS: Final[dict[DType, str]] = {
    DType.FLOAT: "fiu",
    DType.DOUBLE: "fiu",
    DType.BOOL: "b",
    **dict.fromkeys(_INTEGER_RANGES, "iu"),
}


_QUICK_TYPES: Final[dict[DType, frozenset[type]]] = {
    DType.FLOAT: frozenset({int, float}),
    DType.DOUBLE: frozenset({int, float}),
    DType.BOOL: frozenset({bool}),
    **dict.fromkeys(_INTEGER_RANGES, frozenset({int})),
}


def _has_only(value: list[Any], kinds: frozenset[type], depth: int = 1) -> bool:
    """Whether nested lists hold nothing but values of some types."""
    found = set(map(type, value))
    if found <= kinds:
        return True
    return (
        found == {list}
        and depth < _MAX_RANK
        and all(_has_only(item, kinds, depth + 1) for item in value)
    )


# ---- the careful path ------------------------------------------------------------------------------------------------


def _shape(value: Any, max_rank: int = _MAX_RANK) -> tuple[int, ...]:
    """Read the shape off the first element at each depth."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > max_rank:
            raise invalid_argument(f"JSON Value is nested deeper than {max_rank} levels")
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _collect(
    value: Any, level: int, shape: tuple[int, ...], dtype: DType, leaves: list[Any]
) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {excerpt(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _collect(item, level + 1, shape, dtype, leaves)


def _leaf(value: Any, dtype: DType) -> Any:
    if dtype is DType.STRING:
        return read_string(value)
    if isinstance(value, dict):
        raise wrong_type(value, dtype)
    if dtype in _FLOATS:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise wrong_type(value, dtype)
    if dtype is DType.BOOL:
        if isinstance(value, bool):
            return value
        raise wrong_type(value, dtype)
    if limits := _INTEGER_RANGES.get(dtype):
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and limits[0] <= value <= limits[1]
        ):
            return value
        raise wrong_type(value, dtype)
    raise ServingError(
        Code.UNIMPLEMENTED, f"Conversion of JSON Value: {excerpt(value)} to type: {dtype.label}"
    )


def _is_row_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_b64(value)


def _array(leaves: list[Any], dtype: DType) -> Array:
    if dtype is DType.STRING:
        strings = np.empty(len(leaves), object)
        strings[:] = leaves
        return strings
    kind = dtype.numpy
    if kind is None or (dtype not in _QUICK_KINDS):
        raise ServingError(
            Code.UNIMPLEMENTED, f"Conversion of JSON Value: [] to type: {dtype.label}"
        )
    if dtype in _INTEGER_RANGES and dtype not in {DType.INT64, DType.UINT64}:
        return np.array(leaves, np.int64).astype(kind)
    with np.errstate(over="ignore"):
        return np.array(leaves, kind)
