"""TensorProto ⇄ array, at the speed of a copy where the wire format allows it.

Reading accepts what TensorFlow accepts: values packed in `tensor_content` or in the typed fields; fewer typed values
than elements repeat the last one, none at all means zeros, more are ignored. A shape that announces much more than
was sent is refused before memory is taken for it.

Writing builds the wire bytes by hand: little-endian floats *are* the packed form of `float_val`, so a reply costs one
copy instead of one Python object for each number. Field numbers: `tensorflow/core/framework/tensor.proto`.
"""

import math
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from tensorflow.core.framework import tensor_pb2

from slipway_server.frontends.codec.value_fields import (
    BYTE_FLOAT_FIELD,
    HALF_FIELD,
    HALVES,
    PACKED_AS_MEMORY,
    PACKED_VARINTS,
    STRING_FIELD,
    TINY_RANGES,
    TensorError,
    check_fields,
    numpy_type,
    objects,
    read_values,
)
from slipway_server.frontends.codec.wire import (
    delimited,
    delimited_head,
    signed_varint,
    varint,
)
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array

_STRING_BYTES: Final = 32
"""What an empty string costs: a reference here, a TString in TensorFlow."""

_MAX_STRINGS: Final = 4 << 20
"""Of one tensor. Each takes dozens of bytes, even when one was sent."""

_MAX_RANK: Final = 64
"""NumPy's own; TensorFlow's is 254."""
_WIDEST: Final = 16
_INT64_MAX: Final = 2**63 - 1

_LITTLE_ENDIAN: Final = sys.byteorder == "little"


# ---- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ShortTensor:
    """A tensor of which fewer values were sent than its shape has: the last one is repeated, or zero."""

    values: Array
    count: int
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        kind = self.values.dtype
        return self.count * (_STRING_BYTES if kind.hasobject else kind.itemsize)

    @property
    def fault(self) -> str:
        """What is wrong with it, where it takes too much."""
        return f"the shape has {self.count} elements, but only {len(self.values)} values were sent"

    def array(self) -> Array:
        """Return the whole tensor."""
        kind, sent = self.values.dtype, len(self.values)
        nothing: Any = b"" if kind.hasobject else 0
        whole = np.empty(self.count, kind)
        whole[:sent] = self.values
        whole[sent:] = self.values[-1] if sent else nothing
        return whole.reshape(self.shape)


def read_sent(proto: tensor_pb2.TensorProto, *, strict: bool = True) -> Array | ShortTensor:
    """Return the tensor's value; where values have to be repeated, what was sent.

    Strings become an array of `bytes` objects.

    Args:
        proto: the message.
        strict: refuse values that stand in the field of another type, where TensorFlow reads zeros, and integers that a
            narrow type cannot hold, of which TensorFlow takes the low bits.

    Raises:
        TensorError: an element type or shape that no request can have, or values that do not fit the shape.
    """
    dtype = DType.of(proto.dtype)
    kind = dtype.numpy
    if kind is None:
        raise TensorError(f"a tensor of type {dtype.label} cannot be sent")
    shape = _shape(proto)
    count = math.prod(shape)
    if kind.hasobject and (sent := min(count, _strings_sent(proto))) > _MAX_STRINGS:
        raise TensorError(f"{sent} strings were sent, more than {_MAX_STRINGS}")
    if proto.tensor_content:
        return _from_content(dtype, kind, shape, count, proto.tensor_content)
    values = read_values(proto, dtype, count, strict=strict)
    if len(values) < count:
        if strict:
            check_fields(proto, dtype)
        return ShortTensor(values, count, shape)
    return values[:count].reshape(shape)


def _strings_sent(proto: tensor_pb2.TensorProto) -> int:
    """Return how many strings a message may have: in its content each has a length of at least one byte."""
    return len(proto.tensor_content) or len(proto.string_val)


def _shape(proto: tensor_pb2.TensorProto) -> tuple[int, ...]:
    if proto.tensor_shape.unknown_rank:
        raise TensorError("the shape has an unknown rank")
    dims = proto.tensor_shape.dim
    if len(dims) > _MAX_RANK:
        raise TensorError(f"the shape has {len(dims)} dimensions, more than {_MAX_RANK}")
    shape = tuple([dim.size for dim in dims])
    if shape and min(shape) <= 0:
        if min(shape) < 0:
            raise TensorError(f"the shape {list(shape)} has a negative dimension")
        # Also where there is nothing to hold, NumPy and TensorFlow multiply the sizes of the other dimensions.
        if math.prod(filter(None, shape)) > _INT64_MAX // _WIDEST:
            raise TensorError(f"the shape {list(shape)} is too large")
    return shape


def _from_content(
    dtype: DType, kind: np.dtype[Any], shape: tuple[int, ...], count: int, content: bytes
) -> Array:
    if dtype is DType.STRING:
        return objects(_strings_from_content(content, count)).reshape(shape)
    if len(content) != count * kind.itemsize:
        raise TensorError(
            f"tensor_content has {len(content)} bytes, but the shape {list(shape)} of type {dtype.label} needs "
            f"{count * kind.itemsize}"
        )
    if dtype is DType.BOOL:
        return np.not_equal(np.frombuffer(content, np.uint8), 0).reshape(shape)
    return np.frombuffer(content, kind).reshape(shape)


def _strings_from_content(content: bytes, count: int) -> list[bytes]:
    """Split TensorFlow's packed strings: `count` varint lengths, then the bytes."""
    if count > len(content):
        raise TensorError(f"tensor_content has {len(content)} bytes, too few for {count} strings")
    lengths: list[int] = []
    at = 0
    for _ in range(count):
        length = shift = 0
        while True:
            if at >= len(content) or shift > 63:  # noqa: PLR2004 - a varint ends within 64 bits
                raise TensorError("tensor_content of type string is truncated")
            byte = content[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                break
            shift += 7
        lengths.append(length)
    if at + sum(lengths) != len(content):
        raise TensorError("tensor_content of type string does not have the announced length")
    strings: list[bytes] = []
    for length in lengths:
        strings.append(content[at : at + length])
        at += length
    return strings


# ---- writing ---------------------------------------------------------------------------------------------------------

_DTYPE_FIELD, _SHAPE_FIELD, _CONTENT_FIELD = 1, 2, 4
_ONE_BYTE_VARINT: Final = 0x80


def write_tensor(array: Array, *, as_content: bool) -> bytes:
    """Return the wire bytes of a TensorProto.

    Args:
        array: of any element type in `DType`; strings as `bytes` objects.
        as_content: put the values into `tensor_content` instead of the typed fields (strings have no such form here).

    Raises:
        TensorError: an element type that has no wire form.
    """
    dtype = DType.of_array(array)
    header = _header(dtype, array.shape)
    if dtype is DType.STRING:
        return header + b"".join(delimited(STRING_FIELD, _as_bytes(value)) for value in array.flat)
    if dtype is DType.OTHER:
        raise TensorError(f"an array of {array.dtype} has no wire form")
    if not array.size:
        return header
    if as_content:
        return header + delimited(_CONTENT_FIELD, _memory(array))
    if field := PACKED_AS_MEMORY.get(dtype):
        return header + delimited(field, _memory(array))
    if field := PACKED_VARINTS.get(dtype):
        return header + delimited(field, _varints(_plain_integers(dtype, array)))
    if dtype in HALVES:
        return header + delimited(HALF_FIELD, _varints(np.ascontiguousarray(array).view(np.uint16)))
    return header + delimited(BYTE_FLOAT_FIELD, _memory(array))


def _plain_integers(dtype: DType, array: Array) -> Array:
    if dtype.quantized:
        return np.ascontiguousarray(array).view(numpy_type(dtype)[0])
    return array.astype(np.int8) if dtype in TINY_RANGES else array


def memory_head(
    kind: np.dtype[Any], shape: tuple[int, ...], *, as_content: bool
) -> tuple[bytes, int] | None:
    """Return what stands in a TensorProto before its values, and their size in bytes.

    None unless the values are written as the array's memory, C-contiguous: those of `write_tensor` are the same.
    """
    dtype = DType.of_kind(kind)
    size = math.prod(shape) * kind.itemsize
    if dtype in {DType.STRING, DType.OTHER} or not size or not _LITTLE_ENDIAN:
        return None
    field = _CONTENT_FIELD if as_content else PACKED_AS_MEMORY.get(dtype)
    return (_header(dtype, shape) + delimited_head(field, size), size) if field else None


@lru_cache(maxsize=4096)  # a model's outputs have few shapes: batch sizes times outputs
def _header(dtype: DType, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(delimited(2, b"\x08" + varint(size)) if size else b"\x12\x00" for size in shape)
    return bytes((_DTYPE_FIELD << 3, dtype)) + delimited(_SHAPE_FIELD, dims)


def _memory(array: Array) -> bytes:
    if not _LITTLE_ENDIAN:
        array = array.byteswap()
    return array.tobytes()


def _varints(array: Array) -> bytes:
    if array.dtype.kind == "b" or (array.min() >= 0 and array.max() < _ONE_BYTE_VARINT):
        return array.astype(np.uint8).tobytes()
    return b"".join(map(signed_varint, array.ravel().tolist()))


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return str(value).encode()
