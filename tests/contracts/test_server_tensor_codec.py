"""TensorProto ⇄ array against TensorFlow's own codec."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from slipway_server.frontends.protobuf_wire import varint
from slipway_server.frontends.rpc.tensors import TensorError, read_tensor, write_tensor
from slipway_server.savedmodel.dtypes import DType

KINDS = [dtype for dtype in DType if dtype.numpy is not None and dtype is not DType.STRING]


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    kind = draw(st.sampled_from(KINDS)).numpy
    assert kind is not None
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=4, min_side=0))
    if kind.kind == "V":  # bfloat16, which hypothesis does not know
        return draw(hnp.arrays(np.uint16, shape)).view(kind)
    return draw(hnp.arrays(kind, shape))


def _bits(array: np.ndarray[Any, Any]) -> bytes:
    return np.ascontiguousarray(array).tobytes()


@settings(deadline=None)
@given(arrays(), st.booleans())
def test_tensorflow_reads_what_we_write_and_we_read_it_too(
    array: np.ndarray[Any, Any],
    as_content: bool,  # noqa: FBT001 - a case
) -> None:
    proto = tensor_pb2.TensorProto.FromString(write_tensor(array, as_content=as_content))
    assert proto.dtype == DType.of_array(array)
    for again in (tf.make_ndarray(proto), read_tensor(proto)):
        assert (again.dtype, again.shape) == (array.dtype, array.shape)
        if not np.isnan(array.astype(np.complex128)).any():  # TensorFlow may quiet a NaN
            assert _bits(again) == _bits(array)


@settings(deadline=None)
@given(arrays())
def test_we_read_what_tensorflow_writes(array: np.ndarray[Any, Any]) -> None:
    again = read_tensor(tf.make_tensor_proto(array))
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
