"""Tensors → JSON: TensorFlow Serving's two answer formats.

    row      {"predictions": [value, …]} or, with several outputs, {"predictions": [{"a": …, "b": …}, …]}
    column   {"outputs": value}          or, with several outputs, {"outputs": {"a": value, "b": value}}

orjson writes NumPy arrays directly; `codec.json_number` has the words for floats.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from slipway_server.errors import invalid_argument
from slipway_server.frontends.codec.json_number import FLOATS, decimals, dumps
from slipway_server.frontends.rest.json_tensor import Format
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array

_BYTES_SUFFIX: Final = "_bytes"
_WRITABLE: Final = frozenset(
    {
        *FLOATS,
        DType.INT8,
        DType.INT16,
        DType.INT32,
        DType.INT64,
        DType.UINT8,
        DType.UINT16,
        DType.UINT32,
        DType.UINT64,
        DType.BOOL,
        DType.STRING,
    }
)


def write_predictions(form: Format, outputs: Mapping[str, Array], instances: int = 0) -> bytes:
    """Return the answer's body in the format the request came in.

    Args:
        form: that format.
        outputs: value by alias.
        instances: of a request in the row format. Of several, each must have its row in every output.

    Raises:
        ServingError: an output has no JSON form, or not the rows that were asked for.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    for value in outputs.values():
        dtype = DType.of_array(value)
        if dtype not in _WRITABLE:
            raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype.label}")
    if form is Format.COLUMN:
        return dumps(
            {
                "outputs": _one_or_all(
                    {alias: _column(alias, value) for alias, value in outputs.items()}
                )
            }
        )
    return dumps({"predictions": _rows(outputs, instances)})


def _one_or_all(values: dict[str, Any]) -> Any:
    return next(iter(values.values())) if len(values) == 1 else values


def _rows(outputs: Mapping[str, Array], instances: int) -> Any:
    # What comes in parts, such as a ragged tensor's values and row splits, has no rows, or only by chance.
    hint = _HINT if any(map(_PART.search, outputs)) else ""
    count: int | None = None
    for alias, value in outputs.items():
        if value.ndim == 0:
            raise invalid_argument(f"Tensor name: {alias} has no shape information{hint or ' '}")
        if count is None:
            count = value.shape[0]
        elif value.shape[0] != count:
            raise invalid_argument(
                f"Tensor name: {alias} has inconsistent batch size: {value.shape[0]} expecting: {count}{hint}"
            )
    if count != instances and (instances > 1 or (instances and hint)):
        # TensorFlow Serving answers with so many predictions, of which nobody can say which instance they belong to.
        raise invalid_argument(
            f"Tensor name: {next(iter(outputs))} has inconsistent batch size: {count} expecting: {instances}{_HINT}"
        )
    columns = {alias: _column(alias, value) for alias, value in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


_PART: Final = re.compile("/([0-9]+|indices|values|dense_shape)$", re.ASCII)
"""How the parts of composite and sparse tensors are named."""
_HINT: Final = (
    ". In the row format ('instances') every output needs one row for each instance; the column format ('inputs') "
    "returns outputs of any shape"
)


def _column(alias: str, value: Array) -> Any:
    if DType.of_array(value) in FLOATS:
        return decimals(value)
    if value.dtype.kind not in "OSU":
        return value if value.ndim else value[()]
    as_base64 = alias.endswith(_BYTES_SUFFIX)
    return _strings(value.tolist(), as_base64=as_base64)


def _strings(value: Any, *, as_base64: bool) -> Any:
    if isinstance(value, list):
        return [_strings(item, as_base64=as_base64) for item in value]
    data = value if isinstance(value, bytes) else str(value).encode()
    if as_base64:
        return {"b64": base64.b64encode(data).decode("ascii")}
    # Bytes that are no UTF-8 have no place in JSON; the alias must end in _bytes to carry them whole.
    return data.decode("utf-8", "replace")
