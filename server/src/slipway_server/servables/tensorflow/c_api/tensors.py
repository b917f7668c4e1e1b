"""Arrays to tensors and back."""

import ctypes
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from tensorflow.core.framework import tensor_pb2

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array
from slipway_server.servables.tensorflow.c_api.library import Long, buffer_of, c_api
from slipway_server.servables.tensorflow.c_api.status import Status

_LARGE: Final = 32 << 10
"""Bytes from which it pays to give the interpreter's lock away for a copy, or not to copy at all."""

_TSTRING_BYTES: Final = 24
_KIND: Final = 3
_SMALL: Final = 0
"""`TF_TString` is 24 bytes; its two lowest bits say how the string is kept. A small one is in the rest of them, behind
six bits of length (`tensorflow/core/platform/ctstring_internal.h`)."""


@cache
def _copy() -> Any:
    """Return the C library's `memcpy`, called with the interpreter's lock held."""
    function = ctypes.PyDLL(None).memcpy
    function.restype, function.argtypes = ctypes.c_void_p, (ctypes.c_void_p, *_FROM)
    return function


_FROM: Final = (ctypes.c_char_p, ctypes.c_size_t)


def to_tensor(value: Array) -> int:
    """Return a new `TF_Tensor*` with a copy of an array's values; whoever asked deletes it.

    Raises:
        ServingError: INVALID_ARGUMENT for values that no tensor can hold, RESOURCE_EXHAUSTED without memory for them.
    """
    kind = DType.of_kind(value.dtype)
    if kind is DType.STRING:
        return _of_strings(value)
    if kind is DType.OTHER:
        raise invalid_argument(f"Unsupported numpy type {value.dtype}")
    library = c_api()
    size, rank = value.nbytes, value.ndim
    tensor: int | None = library.allocate_tensor(kind, (Long * rank)(*value.shape), rank, size)
    if tensor is None:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"Cannot allocate a tensor of type {kind.label} and shape {list(value.shape)}",
        )
    if not size:
        return tensor
    data = library.data(tensor)
    if size < _LARGE:
        _copy()(data, value.tobytes(), size)
    else:
        # Not aligned, where it is a part of a request: nothing here needs that.
        whole = np.ascontiguousarray(value)
        ctypes.memmove(data, whole.ctypes.data, size)
    return tensor


def to_array(tensor: Any) -> Array:
    """Return a `TF_Tensor`'s values, and delete it when they are no longer needed.

    Strings become an array of `bytes` objects; the array may be read-only.

    Raises:
        ServingError: UNIMPLEMENTED for what no array can hold; the tensor is deleted.
    """
    library = c_api()
    owner = _Tensor(tensor)
    dtype = DType.of(library.tensor_type(tensor))
    kind = dtype.numpy
    shape = tuple([library.dimension(tensor, axis) for axis in range(library.dimensions(tensor))])
    if kind is None:
        raise ServingError(Code.UNIMPLEMENTED, f"A tensor of type {dtype.label} cannot be returned")
    if 0 in shape:
        return np.empty(
            shape, kind
        )  # Such a tensor may have no memory, which the calls below take for granted.
    size, data = library.byte_size(tensor), library.data(tensor)
    if dtype is DType.STRING:
        return _strings(data, size // _TSTRING_BYTES).reshape(shape)
    if size < _LARGE:
        return np.frombuffer(ctypes.string_at(data, size), kind).reshape(shape)
    return owner.bytes(data, size).view(kind).reshape(shape)


def from_proto(message: tensor_pb2.TensorProto) -> Array:
    """Return the value of a TensorProto, as TensorFlow reads it.

    Raises:
        ServingError: TensorFlow's code and words, when it is none.
    """
    return to_array(_parsed(message))


def strings_array(shape: Sequence[int], strings: Sequence[bytes]) -> Array:
    """Return an array of `bytes` objects."""
    found = np.empty(len(strings), object)
    found[:] = strings
    return found.reshape(shape)


class _Tensor:
    """Keeps a tensor until nothing refers to it any more."""

    __slots__ = ("__array_interface__", "_library", "_pointer")

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer
        self._library = c_api()
        self.__array_interface__: dict[str, Any] = {}

    def __del__(self) -> None:
        self._library.delete_tensor(self._pointer)

    def bytes(self, data: int, size: int) -> Array:
        """Return the tensor's memory, which lives as long as what is returned."""
        self.__array_interface__ = {
            "data": (data, False),
            "shape": (size,),
            "typestr": "|u1",
            "version": 3,
        }
        return np.asarray(self)


def _of_strings(value: Array) -> int:
    """Return a tensor of strings: made by TensorFlow, which frees them with it; the C API alone does not."""
    strings = [_as_bytes(one) for one in value.ravel().tolist()]
    message = tensor_pb2.TensorProto(dtype=DType.STRING, string_val=strings)
    dims = message.tensor_shape.dim
    for size in value.shape:
        dims.add(size=size)
    if not value.shape:
        message.tensor_shape.SetInParent()
    return _parsed(message)


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise invalid_argument(f"Unsupported object type {type(value).__name__}")


def _parsed(message: tensor_pb2.TensorProto) -> int:
    library = c_api()
    data = message.SerializeToString()
    # A tensor of its own, whose content is then replaced.
    tensor: int = library.allocate_tensor(DType.UINT8, (Long * 1)(0), 1, 0)
    try:
        with Status() as status:
            library.tensor_from_proto(ctypes.byref(buffer_of(data)), tensor, status.pointer)
            status.check()
    except BaseException:
        library.delete_tensor(tensor)
        raise
    return tensor


def _strings(data: int, count: int) -> Array:
    """Return copies of `count` strings."""
    library = c_api()
    memory = ctypes.string_at(data, count * _TSTRING_BYTES)
    found = np.empty(count, object)
    for number in range(count):
        begin = number * _TSTRING_BYTES
        first = memory[begin]
        if first & _KIND == _SMALL:
            found[number] = memory[begin + 1 : begin + 1 + (first >> 2)]
        else:
            string = data + begin
            found[number] = ctypes.string_at(
                library.string_data(string), library.string_size(string)
            )
    return found


def delete_all(tensors: Iterable[Any]) -> None:
    """Delete what is not null of some `TF_Tensor*`."""
    delete = c_api().delete_tensor
    for tensor in tensors:
        if tensor:
            delete(tensor)
