"""TensorFlow's element types: wire number, name in error messages, NumPy type. Needs no TensorFlow."""

from enum import IntEnum
from typing import Any, Final

import ml_dtypes
import numpy as np


class DType(IntEnum):
    """`tensorflow.DataType`, by wire number."""

    INVALID = 0
    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    COMPLEX64 = 8
    INT64 = 9
    BOOL = 10
    QINT8 = 11
    QUINT8 = 12
    QINT32 = 13
    BFLOAT16 = 14
    QINT16 = 15
    QUINT16 = 16
    UINT16 = 17
    COMPLEX128 = 18
    HALF = 19
    RESOURCE = 20
    VARIANT = 21
    UINT32 = 22
    UINT64 = 23
    FLOAT8_E5M2 = 24
    FLOAT8_E4M3FN = 25
    FLOAT8_E4M3FNUZ = 26
    FLOAT8_E4M3B11FNUZ = 27
    FLOAT8_E5M2FNUZ = 28
    INT4 = 29
    UINT4 = 30
    INT2 = 31
    UINT2 = 32
    FLOAT4_E2M1FN = 33
    OTHER = 999
    """A type this server does not know."""

    @property
    def label(self) -> str:
        """The name in TensorFlow's messages: `float`, `int32`, `string`."""
        return self.name.lower()

    @property
    def quantized(self) -> bool:
        """Whether TensorFlow returns such values as plain integers, without the name that tells them apart."""
        return self in _QUANTIZED

    @property
    def numpy(self) -> np.dtype[Any] | None:
        """The element type of an array that holds such values; None for what no request can hold."""
        return _NUMPY.get(self)

    @classmethod
    def of(cls, number: int) -> "DType":
        """Return the type with a wire number."""
        try:
            return cls(number)
        except ValueError:
            return cls.OTHER

    @classmethod
    def of_array(cls, array: np.ndarray[Any, Any]) -> "DType":
        """Return the type of an array's elements; arrays of objects, bytes or str hold strings."""
        return cls.of_kind(array.dtype)

    @classmethod
    def of_kind(cls, kind: np.dtype[Any]) -> "DType":
        """Return the type with a NumPy element type, as `of_array`."""
        return _BY_NUMPY.get(kind, cls.STRING if kind.kind in "OSU" else cls.OTHER)


def _quantized(name: str, kind: type[np.generic]) -> np.dtype[Any]:
    """Return TensorFlow's element type of quantized integers: the integer with a name to tell it from the others."""
    return np.dtype([(name, kind)])


_NUMPY: Final[dict[DType, np.dtype[Any]]] = {
    DType.FLOAT: np.dtype(np.float32),
    DType.DOUBLE: np.dtype(np.float64),
    DType.INT32: np.dtype(np.int32),
    DType.UINT8: np.dtype(np.uint8),
    DType.INT16: np.dtype(np.int16),
    DType.INT8: np.dtype(np.int8),
    DType.STRING: np.dtype(object),
    DType.COMPLEX64: np.dtype(np.complex64),
    DType.INT64: np.dtype(np.int64),
    DType.BOOL: np.dtype(np.bool_),
    DType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    DType.UINT16: np.dtype(np.uint16),
    DType.COMPLEX128: np.dtype(np.complex128),
    DType.HALF: np.dtype(np.float16),
    DType.UINT32: np.dtype(np.uint32),
    DType.UINT64: np.dtype(np.uint64),
    DType.QINT8: _quantized("qint8", np.int8),
    DType.QUINT8: _quantized("quint8", np.uint8),
    DType.QINT16: _quantized("qint16", np.int16),
    DType.QUINT16: _quantized("quint16", np.uint16),
    DType.QINT32: _quantized("qint32", np.int32),
    DType.FLOAT8_E5M2: np.dtype(ml_dtypes.float8_e5m2),
    DType.FLOAT8_E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    DType.FLOAT8_E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz),
    DType.FLOAT8_E4M3B11FNUZ: np.dtype(ml_dtypes.float8_e4m3b11fnuz),
    DType.FLOAT8_E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz),
    DType.FLOAT4_E2M1FN: np.dtype(ml_dtypes.float4_e2m1fn),
    DType.INT4: np.dtype(ml_dtypes.int4),
    DType.UINT4: np.dtype(ml_dtypes.uint4),
    DType.INT2: np.dtype(ml_dtypes.int2),
    DType.UINT2: np.dtype(ml_dtypes.uint2),
}
_BY_NUMPY: Final = {kind: dtype for dtype, kind in _NUMPY.items()}
_QUANTIZED: Final = frozenset(dtype for dtype in _NUMPY if dtype.name.startswith(("QINT", "QUINT")))
