"""§8.1, §8.2: JSON ⇄ tensors without TensorFlow, properties and values. The contract tests have the sentences."""

from __future__ import annotations

import gzip
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.rest.json_answer import write_predictions
from slipway_server.frontends.rest.json_tensor import Format, _quick, read_rows, read_value
from slipway_server.frontends.rest.json_text import excerpt, parse, type_name
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Signature, TensorSpec

NUMBERS = {
    DType.FLOAT: np.float32,
    DType.DOUBLE: np.float64,
    DType.INT32: np.int32,
    DType.INT64: np.int64,
    DType.UINT32: np.uint32,
    DType.UINT64: np.uint64,
    DType.BOOL: np.bool_,
    DType.INT8: np.int8,
    DType.INT16: np.int16,
    DType.UINT8: np.uint8,
}


def _signature(**inputs: DType) -> Signature:
    specs = {alias: TensorSpec(f"{alias}:0", dtype, None) for alias, dtype in inputs.items()}
    return Signature("serving_default", "", specs, {})


@st.composite
def tensors(draw: st.DrawFn) -> tuple[DType, np.ndarray[Any, Any]]:
    dtype = draw(st.sampled_from(list(NUMBERS)))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    return dtype, draw(
        hnp.arrays(
            NUMBERS[dtype], shape, elements={"allow_nan": False} if dtype in {1, 2} else None
        )
    )


@given(tensors())
def test_what_is_written_reads_back_the_same(case: tuple[DType, np.ndarray[Any, Any]]) -> None:
    dtype, array = case
    for form, key in ((Format.ROW, "predictions"), (Format.COLUMN, "outputs")):
        text = write_predictions(form, {"y": array})
        again = read_value(parse(text)[key], dtype)
        assert again.dtype == array.dtype
        np.testing.assert_array_equal(again, array)


@given(tensors())
def test_rows_are_the_same_tensor_as_the_column(case: tuple[DType, np.ndarray[Any, Any]]) -> None:
    dtype, array = case
    rows = read_rows(array.tolist(), _signature(x=dtype))["x"]
    np.testing.assert_array_equal(rows, array)
    objects = [{"a": row, "b": row} for row in array.tolist()]
    both = read_rows(objects, _signature(a=dtype, b=dtype))
    np.testing.assert_array_equal(both["a"], array)
    np.testing.assert_array_equal(both["b"], array)


INT32 = (-(2**31), 2**31 - 1)
INTEGERS = {
    **dict.fromkeys((DType.INT8, DType.INT16, DType.INT32, DType.UINT8), INT32),
    DType.INT64: (-(2**63), 2**63 - 1),
    DType.UINT32: (0, 2**32 - 1),
    DType.UINT64: (0, 2**64 - 1),
}
LIMITS = [
    2**31 - 1,
    2**31,
    -(2**31),
    -(2**31) - 1,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 1,
    -1,
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from(LIMITS)
    | st.floats()
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["b64", "x"]), inner, max_size=2)
    ),
    max_leaves=20,
)


@given(
    st.lists(st.sampled_from([*LIMITS, 0, 1]), min_size=1, max_size=3),
    st.sampled_from(list(NUMBERS)),
)
@example([2**31], DType.INT32)
@example([2**63], DType.INT64)
@example([-1], DType.UINT32)
def test_integers_at_their_limits(values: list[int], dtype: DType) -> None:
    low, high = INTEGERS.get(dtype, (-(2**63), 2**64))
    fits = all(low <= value <= high for value in values) and dtype is not DType.BOOL
    try:
        read_value(values, dtype)
    except ServingError:
        assert not fits
    else:
        assert fits


@given(json_values, st.sampled_from(DType))
def test_the_quick_way_gives_what_the_careful_way_gives_or_nothing(
    value: Any, dtype: DType
) -> None:
    quick = _quick(value, dtype)
    if quick is None:
        return
    from slipway_server.frontends.rest.json_tensor import _array, _collect, _shape

    leaves: list[Any] = []
    with np.errstate(over="ignore"):
        _collect(value, 0, _shape(value), dtype, leaves)
        careful = _array(leaves, dtype).reshape(_shape(value))
    assert quick.dtype == careful.dtype
    np.testing.assert_array_equal(quick, careful)


@given(json_values, st.sampled_from(DType))
def test_any_value_is_a_tensor_or_a_clear_refusal(value: Any, dtype: DType) -> None:
    for read in (
        lambda: read_value(value, dtype),
        lambda: read_rows(value, _signature(x=dtype))["x"],
    ):
        try:
            with np.errstate(over="ignore"):
                array = read()
        except ServingError as error:
            assert error.code in {Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED}  # noqa: PT017
            assert error.message  # noqa: PT017
        else:
            assert array.dtype == dtype.numpy


@given(st.binary(max_size=60))
def test_any_bytes_parse_or_are_refused(body: bytes) -> None:
    try:
        parse(body)
    except ServingError as error:
        assert error.code is Code.INVALID_ARGUMENT  # noqa: PT017


def test_lenient_parsing() -> None:
    assert parse(b" [1] x") == [1]
    assert parse(b"[Infinity, -Infinity]") == [math.inf, -math.inf]
    assert math.isnan(parse(b"NaN"))
    assert parse(b'"\xc3\xa9" ') == "é"
    assert parse(b"18446744073709551615") == 2**64 - 1
    for bad in (
        b"[1",
        b"{",
        b"nan",
        b"\xff",
        b'{"a" 1}',
        b"",
        b" \n",
        b"[" * 100_000,
        b"[1," + b"9" * 10_000,
    ):
        with pytest.raises(ServingError, match="JSON Parse error: "):
            parse(bad)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "Null"),
        (True, "True"),
        (False, "False"),
        (1, "Number"),
        (1.5, "Number"),
        ("a", "String"),
        ([], "Array"),
        ({}, "Object"),
    ],
)
def test_type_names(value: Any, name: str) -> None:
    assert type_name(value) == name


def test_excerpts_are_short() -> None:
    assert len(excerpt(["x" * 1000])) < 270
    assert excerpt({"a": [1, "é"]}) == '{"a":[1,"é"]}'


def test_strings_and_bytes() -> None:
    words = np.array([[b"a", b"\xff"]], object)
    assert json.loads(write_predictions(Format.COLUMN, {"x_bytes": words})) == {
        "outputs": [[{"b64": "YQ=="}, {"b64": "/w=="}]]
    }
    assert json.loads(write_predictions(Format.COLUMN, {"x": words})) == {
        "outputs": [["a", "\ufffd"]]
    }
    np.testing.assert_array_equal(
        read_value([[{"b64": "YQ=="}, {"b64": "/w=="}]], DType.STRING), words
    )


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (
            np.float32([0.1, np.nan, np.inf, -np.inf, 3]),
            '{"outputs":[0.1,NaN,Infinity,-Infinity,3.0]}',
        ),
        (np.float64([[0.1], [np.nan]]), '{"outputs":[[0.1],[NaN]]}'),
        (np.float32(np.nan).reshape(()), '{"outputs":NaN}'),
        (np.float32([0.1, 16777216, 1e-30]), '{"outputs":[0.1,16777216.0,1e-30]}'),
        (np.zeros([0, 3], np.float32), '{"outputs":[]}'),
        (np.float32([[1, 2], [3, 4]]).T, '{"outputs":[[1.0,3.0],[2.0,4.0]]}'),
        (np.array(True), '{"outputs":true}'),
        (np.int64([-(2**63)]), '{"outputs":[-9223372036854775808]}'),
    ],
)
def test_numbers_as_text(array: np.ndarray[Any, Any], text: str) -> None:
    assert write_predictions(Format.COLUMN, {"y": array}).decode() == text


def test_rows_of_several_outputs() -> None:
    outputs = {"a": np.float32([[1, 2], [3, 4]]), "b": np.int64([5, 6])}
    assert json.loads(write_predictions(Format.ROW, outputs)) == {
        "predictions": [{"a": [1.0, 2.0], "b": 5}, {"a": [3.0, 4.0], "b": 6}]
    }
    with pytest.raises(ServingError, match="Tensor name: a has no shape information "):
        write_predictions(Format.ROW, {"a": np.float32(1).reshape(())})
    with pytest.raises(ServingError, match="Cannot convert empty tensor map to JSON"):
        write_predictions(Format.ROW, {})


def test_gunzip_takes_several_members_and_no_more_than_the_limit() -> None:
    from slipway_server.frontends.inflate import gunzip

    data = gzip.compress(b"ab") + gzip.compress(b"cd")
    assert gunzip(data, 4) == b"abcd"
    for bad, limit in ((data, 3), (data[:-1], 4), (b"xx", 9), (data + b"junk", 9)):
        with pytest.raises(ServingError):
            gunzip(bad, limit)
