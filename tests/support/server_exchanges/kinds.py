"""Every element type that a SavedModel's input can have, with values at its edges (§7)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

_SMALL = [0.0, 1.0, -1.5, 2.0]


def _plain(kind: Any, *values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, kind)


def _quantized(name: str, kind: Any, *values: int) -> np.ndarray[Any, Any]:
    return np.array(values, kind).view(np.dtype([(name, kind)]))


def _strings(*values: bytes) -> np.ndarray[Any, Any]:
    return np.array(values, object)


KINDS: dict[str, np.ndarray[Any, Any]] = {
    "float": _plain(np.float32, 0.1, -0.0, 3.4e38, np.inf),
    "double": _plain(np.float64, 0.1, 1e-300, 1.7e308, -np.inf),
    "int32": _plain(np.int32, -(2**31), 0, 2**31 - 1),
    "uint8": _plain(np.uint8, 0, 255),
    "int16": _plain(np.int16, -(2**15), 2**15 - 1),
    "int8": _plain(np.int8, -128, 127),
    "string": _strings(b"", b"\x00\xff", "é".encode(), b"x" * 300),
    "complex64": _plain(np.complex64, 1 + 2j, -0.5j),
    "int64": _plain(np.int64, -(2**63), -1, 2**63 - 1),
    "bool": _plain(np.bool_, True, False),
    "bfloat16": _plain(ml_dtypes.bfloat16, 1.5, -3e38),
    "uint16": _plain(np.uint16, 0, 2**16 - 1),
    "complex128": _plain(np.complex128, 1e300 - 1e-300j),
    "half": _plain(np.float16, 1.5, -65504.0, np.inf),
    "uint32": _plain(np.uint32, 0, 2**32 - 1),
    "uint64": _plain(np.uint64, 0, 2**64 - 1),
    "qint8": _quantized("qint8", np.int8, -128, 127),
    "quint8": _quantized("quint8", np.uint8, 0, 255),
    "qint16": _quantized("qint16", np.int16, -(2**15), 2**15 - 1),
    "quint16": _quantized("quint16", np.uint16, 0, 2**16 - 1),
    "qint32": _quantized("qint32", np.int32, -(2**31), 2**31 - 1),
    "float8_e5m2": _plain(ml_dtypes.float8_e5m2, *_SMALL),
    "float8_e4m3fn": _plain(ml_dtypes.float8_e4m3fn, *_SMALL),
    "float8_e4m3fnuz": _plain(ml_dtypes.float8_e4m3fnuz, *_SMALL),
    "float8_e4m3b11fnuz": _plain(ml_dtypes.float8_e4m3b11fnuz, *_SMALL),
    "float8_e5m2fnuz": _plain(ml_dtypes.float8_e5m2fnuz, *_SMALL),
    "float4_e2m1fn": _plain(ml_dtypes.float4_e2m1fn, *_SMALL),
    "int4": _plain(ml_dtypes.int4, -8, 7),
    "uint4": _plain(ml_dtypes.uint4, 0, 15),
    "int2": _plain(ml_dtypes.int2, -2, 1),
    "uint2": _plain(ml_dtypes.uint2, 0, 3),
}
