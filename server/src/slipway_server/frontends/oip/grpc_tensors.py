"""ModelInfer's messages ⇄ arrays."""

from typing import Any, Final

import numpy as np

from slipway_server.errors import invalid_argument
from slipway_server.frontends.codec.numbers import number_array
from slipway_server.frontends.oip.datatypes import (
    LABELS,
    as_bytes,
    check_count,
    checked_shape,
    dtype_of,
    from_bytes,
    output_label,
    string_array,
    to_bytes,
)
from slipway_server.frontends.oip.models import SIGNATURE_PARAMETER, InferRequest
from slipway_server.inference.predictor import Prediction
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array
from slipway_server.wire.inference import open_inference_pb2 as pb

_FIELDS: Final[dict[DType, str]] = {
    DType.BOOL: "bool_contents",
    DType.INT8: "int_contents",
    DType.INT16: "int_contents",
    DType.INT32: "int_contents",
    DType.INT64: "int64_contents",
    DType.UINT8: "uint_contents",
    DType.UINT16: "uint_contents",
    DType.UINT32: "uint_contents",
    DType.UINT64: "uint64_contents",
    DType.FLOAT: "fp32_contents",
    DType.DOUBLE: "fp64_contents",
    DType.STRING: "bytes_contents",
}
"""Where the values of a type stand; those of 16 bits have raw contents only."""


_WIDE: Final = {
    DType.INT8: np.int32,
    DType.INT16: np.int32,
    DType.UINT8: np.uint32,
    DType.UINT16: np.uint32,
}
"""Types whose values travel in a wider field."""


def read_request(message: pb.ModelInferRequest) -> InferRequest:
    """Return a request.

    Raises:
        ServingError: INVALID_ARGUMENT when its tensors do not fit what they say of themselves.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise invalid_argument(
            f"raw_input_contents has {len(raw)} entries, but there are {len(message.inputs)} inputs"
        )
    inputs: dict[str, Array] = {}
    datatypes: dict[str, DType] = {}
    for index, tensor in enumerate(message.inputs):
        name = tensor.name
        if name in inputs:
            raise invalid_argument(f"Input '{name}' is given twice")
        dtype = datatypes[name] = dtype_of(tensor.datatype, name)
        shape = checked_shape(tensor.shape, name)
        if raw:
            if tensor.HasField("contents"):
                raise invalid_argument(f"Input '{name}' has contents beside raw_input_contents")
            inputs[name] = from_bytes(dtype, shape, raw[index], name)
        else:
            inputs[name] = _from_contents(dtype, shape, tensor.contents, name)
    return InferRequest(
        message.model_name,
        message.model_version,
        message.id,
        signature_of(message),
        inputs,
        datatypes,
        [output.name for output in message.outputs],
    )


def signature_of(message: pb.ModelInferRequest) -> str:
    """Return which signature a request names; empty when it names none."""
    return message.parameters[SIGNATURE_PARAMETER].string_param if message.parameters else ""


def _from_contents(
    dtype: DType, shape: tuple[int, ...], contents: pb.InferTensorContents, name: str
) -> Array:
    field = _FIELDS.get(dtype)
    if field is None:
        raise invalid_argument(f"Input '{name}' of 16-bit floats must be in raw_input_contents")
    values: Any = getattr(contents, field)
    check_count(len(values), shape, name)
    if dtype is DType.STRING:
        return string_array(list(values), shape)
    wide = number_array(values, _WIDE.get(dtype, dtype.numpy))
    array = wide.astype(dtype.numpy, copy=False)
    if dtype in _WIDE and not np.array_equal(wide, array):
        raise invalid_argument(f"Input '{name}' has a value that is no {LABELS[dtype]}")
    return array.reshape(shape)


def write_reply(request: InferRequest, prediction: Prediction, *, raw: bool) -> bytes:
    """Return the reply's wire bytes: raw contents where the request had them or typed ones cannot hold an output.

    Raises:
        ServingError: UNIMPLEMENTED when an output cannot be represented in this protocol.
    """
    reply = pb.ModelInferResponse(
        model_name=request.model, model_version=str(prediction.version), id=request.id
    )
    types = {alias: DType.of_array(value) for alias, value in prediction.outputs.items()}
    raw = raw or any(dtype not in _FIELDS for dtype in types.values())
    for alias, value in prediction.outputs.items():
        dtype = types[alias]
        tensor = reply.outputs.add(
            name=alias, datatype=output_label(alias, dtype), shape=value.shape
        )
        if raw:
            reply.raw_output_contents.append(to_bytes(value))
            continue
        flat: list[Any] = value.ravel().tolist()
        if dtype is DType.STRING:
            flat = [as_bytes(one) for one in flat]
        getattr(tensor.contents, _FIELDS[dtype]).extend(flat)
    return bytes(reply.SerializeToString())
