"""TensorProto ⇄ array against TensorFlow's own codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from sent_tensors import read_tensor
from slipway_server.frontends.codec.tensors import write_tensor
from slipway_server.frontends.codec.value_fields import TensorError
from slipway_server.frontends.codec.wire import varint
from slipway_server.servables.dtypes import DType

KINDS = [dtype for dtype in DType if dtype.numpy is not None and dtype is not DType.STRING]


@st.composite
def arrays(draw: st.DrawFn, kinds: Sequence[DType] = KINDS) -> np.ndarray[Any, Any]:
    kind = draw(st.sampled_from(kinds)).numpy
    assert kind is not None
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=4, min_side=0))
    return of_kind(draw, kind, shape)


def of_kind(draw: st.DrawFn, kind: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if kind.names:  # quantized
        return draw(hnp.arrays(kind[0], shape)).view(kind)
    if kind.name.startswith(("int2", "int4", "uint2", "uint4")):
        return draw(hnp.arrays(np.int8, shape, elements=st.integers(-2, 1))).astype(kind)
    if kind.name.startswith("float4"):
        return draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 15))).view(kind)
    if kind.isbuiltin != 1:  # of ml_dtypes, which hypothesis does not know
        return draw(hnp.arrays(np.dtype(f"u{kind.itemsize}"), shape)).view(kind)
    return draw(hnp.arrays(kind, shape))


def _bits(array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype.name.startswith(("int2", "int4", "uint2", "uint4")):
        array = array.astype(
            np.int8
        )  # which of the bits beyond the number's own are set means nothing
    return np.ascontiguousarray(array).tobytes()


@settings(deadline=None)
@given(arrays(), st.booleans())
def test_tensorflow_reads_what_we_write_and_we_read_it_too(
    array: np.ndarray[Any, Any],
    as_content: bool,  # noqa: FBT001 - a case
) -> None:
    data = write_tensor(array, as_content=as_content)
    proto = tensor_pb2.TensorProto.FromString(data)
    assert proto.dtype == DType.of_array(array)
    again = read_tensor(proto)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    # TensorFlow's own codec in C++; its Python one does not know every type.
    parsed = tf.io.parse_tensor(data, tf.as_dtype(proto.dtype)).numpy()
    assert parsed.shape == array.shape
    if array.dtype.names or not np.isnan(array.astype(np.complex128)).any():  # it may quiet a NaN
        assert _bits(again) == _bits(parsed) == _bits(array)


@settings(deadline=None)
@given(arrays([kind for kind in KINDS if not kind.name.startswith(("FLOAT4", "FLOAT8"))]))
def test_we_read_what_tensorflow_writes(array: np.ndarray[Any, Any]) -> None:
    proto = tf.make_tensor_proto(array, DType.of_array(array))
    again = read_tensor(proto)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert _bits(again) == _bits(array)


@given(st.lists(st.binary(max_size=8), max_size=6))
def test_strings(values: list[bytes]) -> None:
    array = np.empty(len(values), object)
    array[:] = values
    proto = tensor_pb2.TensorProto.FromString(write_tensor(array, as_content=False))
    assert list(read_tensor(proto)) == values
    assert list(tf.make_ndarray(proto)) == values
    packed = tensor_pb2.TensorProto(dtype=7)
    packed.tensor_shape.dim.add(size=len(values))
    packed.tensor_content = b"".join(varint(len(value)) for value in values) + b"".join(values)
    assert list(read_tensor(packed)) == values


@pytest.mark.parametrize(
    ("sent", "shape", "expected"),
    [
        ([5.0], [3], [5.0, 5.0, 5.0]),
        ([1.0, 2.0], [4], [1.0, 2.0, 2.0, 2.0]),
        ([], [2], [0.0, 0.0]),
        ([1.0, 2.0, 3.0], [2], [1.0, 2.0]),
        ([], [0], []),
    ],
)
def test_values_that_are_fewer_or_more_than_elements(
    sent: list[float], shape: list[int], expected: list[float]
) -> None:
    proto = tensor_pb2.TensorProto(dtype=1, float_val=sent)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    assert read_tensor(proto).tolist() == expected


@pytest.mark.parametrize(
    ("dtype", "field", "sent", "expected"),
    [
        (DType.INT32, "float_val", [1.0, 2.0], [0, 0]),
        (DType.INT8, "int_val", [300, -1], [44, -1]),
        (DType.UINT4, "int_val", [17, -1], [1, 15]),
        (DType.HALF, "half_val", [0x10000 | 0x3C00, 0x3C00], [1.0, 1.0]),
    ],
)
def test_what_does_not_match_its_type_is_refused_or_read_as_tensorflow_reads_it(
    dtype: DType, field: str, sent: list[Any], expected: list[Any]
) -> None:
    proto = tensor_pb2.TensorProto(dtype=dtype)
    proto.tensor_shape.dim.add(size=2)
    getattr(proto, field).extend(sent)
    assert read_tensor(proto, strict=False).astype(float).tolist() == expected
    with pytest.raises(TensorError, match=field):
        read_tensor(proto)


@given(st.binary(max_size=200))
def test_any_message_is_a_tensor_or_refused(data: bytes) -> None:
    proto = tensor_pb2.TensorProto()
    try:
        proto.ParseFromString(data)
    except Exception:  # noqa: BLE001 - no message at all
        return
    try:
        array = read_tensor(proto)
    except (TensorError, OverflowError):
        return
    assert array.size <= 64 << 20


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**64 - 1])
def test_varints(number: int) -> None:
    proto = tensor_pb2.TensorProto(uint64_val=[number])
    assert proto.SerializeToString().endswith(varint(number))
