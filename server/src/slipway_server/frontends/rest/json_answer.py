"""Tensors → JSON: TensorFlow Serving's two answer formats.

    row      {"predictions": [value, …]} or, with several outputs, {"predictions": [{"a": …, "b": …}, …]}
    column   {"outputs": value}          or, with several outputs, {"outputs": {"a": value, "b": value}}

orjson writes NumPy arrays directly, floats in the shortest form that reads back as the same float. Only what is no
standard JSON (NaN, Infinity) takes the slow way.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.rest.json_tensor import Format
from slipway_server.savedmodel.dtypes import DType
from slipway_server.savedmodel.signature import Array

_BYTES_SUFFIX: Final = "_bytes"
_WRITABLE: Final = frozenset(
    {
        DType.FLOAT,
        DType.DOUBLE,
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


def write_predictions(form: Format, outputs: Mapping[str, Array]) -> bytes:
    """Return the answer's body in the format the request came in.

    Raises:
        ServingError: an output has no JSON form, or no rows where rows were asked for.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    for value in outputs.values():
        dtype = DType.of_array(value)
        if dtype not in _WRITABLE:
            raise ServingError(
                Code.UNIMPLEMENTED, f"Failed to write JSON value for tensor type: {dtype.label}"
            )
    if form is Format.COLUMN:
        return _dump(
            {
                "outputs": _one_or_all(
                    {alias: _column(alias, value) for alias, value in outputs.items()}
                )
            }
        )
    return _dump({"predictions": _rows(outputs)})


def _one_or_all(values: dict[str, Any]) -> Any:
    return next(iter(values.values())) if len(values) == 1 else values


def _rows(outputs: Mapping[str, Array]) -> Any:
    count: int | None = None
    for alias, value in outputs.items():
        if value.ndim == 0:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        if count is None:
            count = value.shape[0]
        elif value.shape[0] != count:
            raise invalid_argument(
                f"Tensor name: {alias} has inconsistent batch size: {value.shape[0]} expecting: {count}"
            )
    columns = {alias: _column(alias, value) for alias, value in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _column(alias: str, value: Array) -> Any:
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


def _dump(answer: dict[str, Any]) -> bytes:
    if _finite(answer):
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)
    return json.dumps(_with_tokens(answer), ensure_ascii=False).encode()


def _plain(value: Any) -> Any:
    """Give orjson what it does not write itself: arrays that are no C-contiguous memory."""
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value) if not value.flags.c_contiguous else value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _finite(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.floating):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(_finite(item) for item in value)
    return True


def _with_tokens(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _with_tokens(list(value)) if value.ndim else _with_tokens(value[()])
    if isinstance(value, dict):
        return {key: _with_tokens(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_tokens(item) for item in value]
    if isinstance(value, np.float32):
        # The shortest text of the float32, not of the double it widens to.
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
