"""The protocol's element types, and tensors as plain bytes. Pure."""

import math
import struct
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array

LABELS: Final[dict[DType, str]] = {
    DType.BOOL: "BOOL",
    DType.UINT8: "UINT8",
    DType.UINT16: "UINT16",
    DType.UINT32: "UINT32",
    DType.UINT64: "UINT64",
    DType.INT8: "INT8",
    DType.INT16: "INT16",
    DType.INT32: "INT32",
    DType.INT64: "INT64",
    DType.HALF: "FP16",
    DType.BFLOAT16: "BF16",
    DType.FLOAT: "FP32",
    DType.DOUBLE: "FP64",
    DType.STRING: "BYTES",
}
_BY_LABEL: Final = {label: dtype for dtype, label in LABELS.items()}
_MAX_RANK: Final = 64
_MAX_STRINGS: Final = 4 << 20
"""Of one tensor. Each takes dozens of bytes, even when four were sent."""
_LENGTH: Final = struct.Struct("<I")
_INT64_MAX: Final = 2**63 - 1
_WIDEST: Final = 16


def label_of(dtype: DType) -> str:
    """Return the protocol's name of an element type; for those it cannot express, TensorFlow's in capitals."""
    return LABELS.get(dtype) or dtype.label.upper()


def output_label(alias: str, dtype: DType) -> str:
    """Return the protocol's name of an output's element type.

    Raises:
        ServingError: UNIMPLEMENTED when it has none.
    """
    label = LABELS.get(dtype)
    if label is None:
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"Output '{alias}' of type {dtype.label} cannot be represented in this protocol",
        )
    return label


def dtype_of(label: object, name: str) -> DType:
    """Return an element type by the protocol's name.

    Raises:
        ServingError: INVALID_ARGUMENT for an unknown one.
    """
    dtype = _BY_LABEL.get(label) if isinstance(label, str) else None
    if dtype is None:
        raise invalid_argument(f"Input '{name}' has the unknown datatype {label!r:.80}")
    return dtype


def checked_shape(shape: Sequence[object], name: str) -> tuple[int, ...]:
    """Return a shape that numbers, NumPy and TensorFlow can hold.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if len(shape) > _MAX_RANK:
        raise invalid_argument(f"Input '{name}' has {len(shape)} dimensions, more than {_MAX_RANK}")
    sizes: list[int] = []
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _INT64_MAX:
            raise invalid_argument(f"Input '{name}' has the dimension {size!r:.80}")
        sizes.append(size)
    if math.prod(filter(None, sizes)) > _INT64_MAX // _WIDEST:
        raise invalid_argument(f"The shape {sizes} of input '{name}' is too large")
    return tuple(sizes)


def check_count(count: int, shape: tuple[int, ...], name: str) -> None:
    """Refuse values that are not as many as a shape has.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if count != math.prod(shape):
        raise invalid_argument(
            f"Input '{name}' has {count} values, but its shape {list(shape)} needs {math.prod(shape)}"
        )


def string_array(values: Sequence[bytes], shape: tuple[int, ...]) -> Array:
    """Return strings as an array of `bytes` objects."""
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


# ---- plain bytes: the `raw` contents of gRPC, the binary extension of REST -------------------------------------------


def from_bytes(dtype: DType, shape: tuple[int, ...], data: bytes | memoryview, name: str) -> Array:
    """Read a tensor: little-endian numbers in row-major order; strings each behind their length of four bytes.

    Raises:
        ServingError: INVALID_ARGUMENT when the bytes are not as many as the shape needs.
    """
    if dtype is DType.STRING:
        wanted = math.prod(shape)
        if wanted > _MAX_STRINGS:
            raise invalid_argument(f"Input '{name}' has {wanted} strings, more than {_MAX_STRINGS}")
        # One more than wanted: that there are too many is known without reading them all.
        strings = list(islice(_split(data, name), wanted + 1))
        check_count(len(strings), shape, name)
        return string_array(strings, shape)
    kind = np.dtype(np.uint8) if dtype is DType.BOOL else dtype.numpy
    assert kind is not None  # noqa: S101 - every type of the protocol has one
    if len(data) != math.prod(shape) * kind.itemsize:
        raise invalid_argument(
            f"Input '{name}' has {len(data)} bytes, but its shape {list(shape)} of datatype {LABELS[dtype]} needs "
            f"{math.prod(shape) * kind.itemsize}"
        )
    array = np.frombuffer(data, kind)
    if sys.byteorder == "big":
        array = array.byteswap()
    if dtype is DType.BOOL:
        array = np.not_equal(array, 0)
    return array.reshape(shape)


def to_bytes(array: Array) -> bytes:
    """Write a tensor the way `from_bytes` reads it."""
    if DType.of_array(array) is DType.STRING:
        parts: list[bytes] = []
        for value in array.flat:
            text = as_bytes(value)
            parts += (_LENGTH.pack(len(text)), text)
        return b"".join(parts)
    return (array.byteswap() if sys.byteorder == "big" else array).tobytes()


def as_bytes(value: object) -> bytes:
    """Return one string of an output."""
    return value if isinstance(value, bytes) else str(value).encode()


def _split(data: bytes | memoryview, name: str) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise invalid_argument(f"The strings of input '{name}' are truncated")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            raise invalid_argument(f"The strings of input '{name}' are truncated")
        yield bytes(data[at : at + length])
        at += length
