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
    OTHER = 999
    """A type this server does not know."""

    @property
    def label(self) -> str:
        """The name in TensorFlow's messages: `float`, `int32`, `string`."""
        return self.name.lower()

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
        return _BY_NUMPY.get(array.dtype, cls.STRING if array.dtype.kind in "OSU" else cls.OTHER)


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
}
_BY_NUMPY: Final = {kind: dtype for dtype, kind in _NUMPY.items()}
