"""Nested lists to TensorProtos and back, without NumPy; NumPy judges."""

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_cli.errors import CliError, UsageError
from slipway_cli.serving.signature import TensorSpec
from slipway_cli.serving.tensors import decode, encode
from slipway_cli.wire import serving_pb2 as wire

NUMPY = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2",
         19: "<f2", 22: "<u4", 23: "<u8"}  # fmt: skip
FLOATS = {1: 32, 2: 64, 19: 16}


def spec(dtype: int) -> TensorSpec:
    return TensorSpec(dtype, None)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[int, np.ndarray[Any, Any]]:
    dtype = draw(st.sampled_from(sorted(NUMPY)))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    kind = np.dtype(NUMPY[dtype])
    one: st.SearchStrategy[Any]
    if dtype in FLOATS:
        one = st.floats(width=FLOATS[dtype], allow_nan=False)  # type: ignore[arg-type]
    elif dtype == 10:
        one = st.booleans()
    else:
        one = st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    count = math.prod(shape)
    values = draw(st.lists(one, min_size=count, max_size=count))
    return dtype, np.array(values, kind).reshape(shape)


@given(arrays())
def test_what_is_sent_is_what_numpy_would_send_and_comes_back(
    case: tuple[int, np.ndarray[Any, Any]],
) -> None:
    dtype, array = case
    value = array.tolist()
    if array.size == 0 and 0 in array.shape[:-1]:
        return  # JSON's lists cannot say how long the lists in an empty one would be.
    proto = encode(value, spec(dtype), "x")
    assert [dim.size for dim in proto.tensor_shape.dim] == list(array.shape)
    assert proto.tensor_content == array.tobytes()
    assert decode(proto, "x") == value


def test_values_in_the_fields_of_their_types_count_and_the_last_one_is_repeated() -> None:
    proto = wire.TensorProto(dtype=1, float_val=[1.0, 2.0])
    proto.tensor_shape.dim.add(size=2)
    proto.tensor_shape.dim.add(size=2)
    assert decode(proto, "y") == [[1.0, 2.0], [2.0, 2.0]]
    half = wire.TensorProto(dtype=19, half_val=[0x3C00])
    assert decode(half, "y") == 1.0
    brain = wire.TensorProto(dtype=14, half_val=[0x3F80])
    assert decode(brain, "y") == 1.0


def test_bfloat16_rounds_to_the_nearest() -> None:
    proto = encode([1.0, 1.00390625, 1.01171875, math.inf], spec(14), "x")
    assert decode(proto, "x") == [1.0, 1.0, 1.015625, math.inf]
    assert math.isnan(decode(encode(math.nan, spec(14), "x"), "x"))


def test_strings_are_text_or_base64() -> None:
    proto = encode(["ä", {"b64": "/w=="}], spec(7), "x")
    assert list(proto.string_val) == ["ä".encode(), b"\xff"]


@pytest.mark.parametrize(
    ("value", "dtype", "says"),
    [
        ([1, [2]], 1, "uneven: there is a list at [1]"),
        ([[1, 2], [3]], 1, "uneven: 1 values at [1], and 2 values before"),
        ([[1], 2], 1, "uneven: 2 at [1]"),
        ("x", 1, "is of type float32, and 'x' is not"),
        (True, 3, "is of type int32, and True is not"),
        (1.5, 9, "is of type int64, and 1.5 is not"),
        (2**31, 3, "has a value that is no int32"),
        (1e300, 1, "has a value that is no float32"),
        (-1, 4, "has a value that is no uint8"),
        (1, 10, "is of type bool, and 1 is not"),
        (None, 1, "None is not"),
        ({"a": 1}, 1, "{'a': 1} is not"),
        (1, 7, "1 is not a string"),
        ({"b64": "?"}, 7, "is not base64"),
        ({"b64": 1}, 7, "is not base64"),
        (1, 8, "complex64, which JSON has no form for"),
    ],
)
def test_what_is_no_such_tensor_is_told_where(value: Any, dtype: int, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        encode(value, spec(dtype), "x")


def test_lists_in_lists_without_end_are_refused() -> None:
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(UsageError, match="more than 254 levels"):
        encode(deep, spec(1), "x")


def test_a_hostile_answer_is_an_error() -> None:
    wrong = wire.TensorProto(dtype=1, tensor_content=b"123")
    wrong.tensor_shape.dim.add(size=2)
    with pytest.raises(CliError, match="has 3 bytes"):
        decode(wrong, "y")
    short = wire.TensorProto(dtype=7, string_val=[b"a", b"b"])
    with pytest.raises(CliError, match="2 values, and a shape of 1"):
        decode(short, "y")
    with pytest.raises(CliError, match="resource"):
        decode(wire.TensorProto(dtype=20), "y")
