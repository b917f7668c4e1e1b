"""The typed fields of a TensorProto: which one belongs to which element type, and their values as arrays.

Field numbers: `tensorflow/core/framework/tensor.proto`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from tensorflow.core.framework import tensor_pb2

from slipway_server.frontends.codec.numbers import number_array
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array

TINY_RANGES: Final = {
    DType.INT4: (-8, 7),
    DType.UINT4: (0, 15),
    DType.INT2: (-2, 1),
    DType.UINT2: (0, 3),
}
_NARROW: Final = (
    *(DType.UINT8, DType.INT16, DType.INT8, DType.UINT16),
    *(DType.QINT8, DType.QUINT8, DType.QINT16, DType.QUINT16, DType.QINT32),
)
HALVES: Final = (DType.HALF, DType.BFLOAT16)
_16_BITS: Final = (0, 2**16 - 1)
_BYTE_FLOATS: Final = (
    DType.FLOAT8_E5M2,
    DType.FLOAT8_E4M3FN,
    DType.FLOAT8_E4M3FNUZ,
    DType.FLOAT8_E4M3B11FNUZ,
    DType.FLOAT8_E5M2FNUZ,
    DType.FLOAT4_E2M1FN,
)

PACKED_AS_MEMORY: Final = {
    DType.FLOAT: 5,
    DType.DOUBLE: 6,
    DType.COMPLEX64: 9,
    DType.COMPLEX128: 12,
}
"""Fields of fixed-width numbers: their packed form is the array's memory."""
PACKED_VARINTS: Final = {
    DType.INT32: 7,
    DType.INT64: 10,
    DType.BOOL: 11,
    DType.UINT32: 16,
    DType.UINT64: 17,
    **dict.fromkeys((*_NARROW, *TINY_RANGES), 7),
}
HALF_FIELD, STRING_FIELD, BYTE_FLOAT_FIELD = 13, 8, 18
_VALUE_FIELDS: Final = {
    **PACKED_AS_MEMORY,
    **PACKED_VARINTS,
    **dict.fromkeys(HALVES, HALF_FIELD),
    **dict.fromkeys(_BYTE_FLOATS, BYTE_FLOAT_FIELD),
    DType.STRING: STRING_FIELD,
}
"""The typed field of each type."""
_ALL_VALUE_FIELDS: Final = frozenset(_VALUE_FIELDS.values())


class TensorError(ValueError):
    """The message is no tensor; the text says why."""


def read_values(proto: tensor_pb2.TensorProto, dtype: DType, count: int, *, strict: bool) -> Array:
    """Return the values in the field of a type, as a vector; of strings not more than `count`.

    Args:
        proto: the message.
        dtype: its element type.
        count: elements of its shape.
        strict: refuse integers that a narrow type cannot hold, of which TensorFlow takes the low bits.

    Raises:
        TensorError: such an integer.
    """
    if dtype is DType.STRING:
        return objects(proto.string_val[:count])
    return _READERS[dtype](proto, strict)


def check_fields(proto: tensor_pb2.TensorProto, dtype: DType) -> None:
    """Refuse values that stand in the field of another type, where TensorFlow reads zeros."""
    own = _VALUE_FIELDS[dtype]
    for field, _ in proto.ListFields():
        if field.number in _ALL_VALUE_FIELDS and field.number != own:
            raise TensorError(
                f"a tensor of type {dtype.label} has its values in {field.name}, but they belong in "
                f"{proto.DESCRIPTOR.fields_by_number[own].name}"
            )


def objects(values: Sequence[bytes]) -> Array:
    """Return a vector of `bytes` objects."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


_Reader = Callable[[tensor_pb2.TensorProto, bool], Array]
"""From a message to the vector of its typed values; the flag is `strict` of `read_sent`."""


def _reader(field: str, kind: type[np.generic]) -> _Reader:
    def read(proto: tensor_pb2.TensorProto, _strict: bool) -> Array:  # noqa: FBT001 - one of many
        return number_array(getattr(proto, field), kind)

    return read


def _wide(
    proto: tensor_pb2.TensorProto, field: str, dtype: DType, limits: tuple[int, int] | None
) -> Array:
    """Return narrow values as the int32 in which they travel, within the limits if there are any."""
    values = number_array(getattr(proto, field), np.int32)
    if limits and values.size and not limits[0] <= values.min() <= values.max() <= limits[1]:
        wrong = values[(values < limits[0]) | (values > limits[1])][0]
        raise TensorError(
            f"{field} has {wrong}, but type {dtype.label} takes {limits[0]} to {limits[1]}"
        )
    return values


def _narrowing_reader(dtype: DType) -> _Reader:
    """Narrow integers travel as int32; bits beyond their width are cut off, as a C cast does."""
    kind = numpy_type(dtype)
    plain = kind[0] if dtype.quantized else kind
    limits = int(np.iinfo(plain).min), int(np.iinfo(plain).max)

    def read(proto: tensor_pb2.TensorProto, strict: bool) -> Array:  # noqa: FBT001 - one of many
        wide = _wide(proto, "int_val", dtype, limits if strict else None)
        return wide.astype(plain).view(kind)

    return read


def _tiny_reader(dtype: DType) -> _Reader:
    """Integers of less than a byte: cut off by hand, since a cast of a wider number to them is not defined."""
    kind = numpy_type(dtype)
    low, high = TINY_RANGES[dtype]
    mask = high - low

    def read(proto: tensor_pb2.TensorProto, strict: bool) -> Array:  # noqa: FBT001 - one of many
        wide = _wide(proto, "int_val", dtype, (low, high) if strict else None)
        return (((wide - low) & mask) + low).astype(np.int8).astype(kind)

    return read


def _half_reader(dtype: DType) -> _Reader:
    kind = numpy_type(dtype)

    def read(proto: tensor_pb2.TensorProto, strict: bool) -> Array:  # noqa: FBT001 - one of many
        bits = _wide(proto, "half_val", dtype, _16_BITS if strict else None)
        return bits.astype(np.uint16).view(kind)

    return read


def _byte_reader(dtype: DType) -> _Reader:
    kind = numpy_type(dtype)

    def read(proto: tensor_pb2.TensorProto, _strict: bool) -> Array:  # noqa: FBT001 - one of many
        return np.frombuffer(proto.float8_val, np.uint8).view(kind)

    return read


def _complex_reader(field: str, part: type[np.generic], kind: type[np.generic]) -> _Reader:
    def read(proto: tensor_pb2.TensorProto, _strict: bool) -> Array:  # noqa: FBT001 - one of many
        parts = number_array(getattr(proto, field), part)
        return parts[: len(parts) // 2 * 2].view(kind)

    return read


def numpy_type(dtype: DType) -> np.dtype[Any]:
    """Return the array type of an element type that has one."""
    kind = dtype.numpy
    assert kind is not None  # noqa: S101 - of the types listed here
    return kind


_READERS: Final[dict[DType, _Reader]] = {
    DType.FLOAT: _reader("float_val", np.float32),
    DType.DOUBLE: _reader("double_val", np.float64),
    DType.INT32: _reader("int_val", np.int32),
    DType.COMPLEX64: _complex_reader("scomplex_val", np.float32, np.complex64),
    DType.COMPLEX128: _complex_reader("dcomplex_val", np.float64, np.complex128),
    DType.INT64: _reader("int64_val", np.int64),
    DType.BOOL: _reader("bool_val", np.bool_),
    DType.UINT32: _reader("uint32_val", np.uint32),
    DType.UINT64: _reader("uint64_val", np.uint64),
    **{dtype: _narrowing_reader(dtype) for dtype in _NARROW},
    **{dtype: _tiny_reader(dtype) for dtype in TINY_RANGES},
    **{dtype: _half_reader(dtype) for dtype in HALVES},
    **{dtype: _byte_reader(dtype) for dtype in _BYTE_FLOATS},
}
