"""§8.1, §8.2: JSON ⇄ tensors without TensorFlow, properties and values. The contract tests have the sentences."""

from __future__ import annotations

import gzip
import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.codec.json_text import excerpt, parse, type_name
from slipway_server.frontends.codec.json_value import ValueReader, shape_of
from slipway_server.frontends.rest.json_answer import write_predictions
from slipway_server.frontends.rest.json_tensor import (
    Format,
    read_predict,
    read_rows,
)
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
    DType.UINT16: np.uint16,
    DType.HALF: np.float16,
    DType.BFLOAT16: ml_dtypes.bfloat16,
}


def _readers(**inputs: DType) -> dict[str, ValueReader]:
    return {alias: ValueReader(dtype, alias) for alias, dtype in inputs.items()}


def read_value(value: Any, dtype: DType, *, strict: bool = True) -> np.ndarray[Any, Any]:
    return ValueReader(dtype, "x", strict=strict).read(value)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[DType, np.ndarray[Any, Any]]:
    dtype = draw(st.sampled_from(list(NUMBERS)))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    if dtype is DType.BFLOAT16:  # of which hypothesis knows nothing
        bits = draw(hnp.arrays(np.uint16, shape))
        return dtype, bits.view(NUMBERS[dtype])
    return dtype, draw(hnp.arrays(NUMBERS[dtype], shape))


def assert_same(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    assert found.dtype == wanted.dtype
    if wanted.dtype == ml_dtypes.bfloat16:  # NumPy does not take its NaN for one
        found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    np.testing.assert_array_equal(found, wanted)


@given(tensors())
def test_what_is_written_reads_back_the_same(case: tuple[DType, np.ndarray[Any, Any]]) -> None:
    dtype, array = case
    for form, key in ((Format.ROW, "predictions"), (Format.COLUMN, "outputs")):
        text = write_predictions(form, {"y": array})
        again = read_value(parse(text)[key], dtype)
        assert again.dtype == array.dtype
        assert_same(again, array)


@given(tensors())
def test_rows_are_the_same_tensor_as_the_column(case: tuple[DType, np.ndarray[Any, Any]]) -> None:
    dtype, array = case
    rows = read_rows(array.tolist(), _readers(x=dtype))["x"]
    assert_same(rows, array)
    objects = [{"a": row, "b": row} for row in array.tolist()]
    both = read_rows(objects, _readers(a=dtype, b=dtype))
    assert_same(both["a"], array)
    assert_same(both["b"], array)


INT32 = (-(2**31), 2**31 - 1)
NARROW = {
    DType.INT8: (-128, 127),
    DType.INT16: (-(2**15), 2**15 - 1),
    DType.UINT8: (0, 255),
    DType.UINT16: (0, 2**16 - 1),
}
INTEGERS = {
    **NARROW,
    DType.INT32: INT32,
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
    *(limit + step for limits in NARROW.values() for limit in limits for step in (-1, 0, 1)),
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
    st.booleans(),
)
@example([2**31], DType.INT32, True)
@example([2**63], DType.INT64, True)
@example([-1], DType.UINT32, True)
@example([300], DType.INT8, True)
@example([300], DType.INT8, False)
def test_integers_at_their_limits(values: list[int], dtype: DType, strict: bool) -> None:  # noqa: FBT001 - a case
    wide = INT32 if dtype in NARROW and not strict else (-(2**63), 2**64)
    low, high = wide if dtype in NARROW and not strict else INTEGERS.get(dtype, wide)
    fits = all(low <= value <= high for value in values) and dtype is not DType.BOOL
    for form in (values, [[value] for value in values], values[0] if len(values) == 1 else values):
        try:
            found = read_value(form, dtype, strict=strict)
        except ServingError:
            assert not fits
        else:
            assert fits
            if dtype in NARROW:
                bits = 8 * found.dtype.itemsize
                assert [one % 2**bits for one in found.ravel().tolist()] == [
                    one % 2**bits for one in values
                ]


@pytest.mark.parametrize("nested", [False, True])
def test_an_integer_beyond_its_type_is_named(nested: bool) -> None:  # noqa: FBT001 - a case
    for value, dtype, takes in (
        (300, DType.INT8, "-128 to 127"),
        (-1, DType.UINT8, "0 to 255"),
        (2**15, DType.INT16, "-32768 to 32767"),
        (2**16, DType.UINT16, "0 to 65535"),
    ):
        with pytest.raises(ServingError) as error:
            read_value([[1, value]] if nested else [1, value], dtype)
        assert error.value.message == (
            f"JSON Value: {value} Type: Number is not of expected type: {dtype.label}: "
            f'input "x" takes {takes}'
        )
    with pytest.raises(ServingError, match=r"is not of expected type: int8$"):
        read_value([2**31], DType.INT8)


@given(json_values, st.sampled_from(DType))
def test_the_quick_way_gives_what_the_careful_way_gives_or_nothing(
    value: Any, dtype: DType
) -> None:
    reader = ValueReader(dtype)
    quick = reader.quick(value)
    if quick is None:
        return
    leaves: list[Any] = []
    reader.collect(value, shape_of(value), leaves)
    careful = reader.array(leaves).reshape(shape_of(value))
    assert quick.dtype == careful.dtype
    np.testing.assert_array_equal(quick, careful)


@given(json_values, st.sampled_from(DType))
def test_any_value_is_a_tensor_or_a_clear_refusal(value: Any, dtype: DType) -> None:
    for read in (
        lambda: read_value(value, dtype),
        lambda: read_rows(value, _readers(x=dtype))["x"],
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
    assert parse(b"[1] ", whole=True) == [1]
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
    with pytest.raises(ServingError, match=r"followed by other values. at offset: 5"):
        parse(b"[NaN] x", whole=True)


@given(st.lists(st.floats() | st.integers(-(2**63), 2**64 - 1)))
def test_tokens_change_nothing_about_the_other_numbers(values: list[Any]) -> None:
    text = json.dumps([*values, math.nan]).encode()
    again = parse(text)[:-1]
    assert list(map(repr, again)) == list(map(repr, values))


@pytest.mark.parametrize("text", [rb'["\ud800", NaN]', rb'{"\udc00": 1}', rb'"\ud83dx"'])
def test_half_of_a_surrogate_pair_is_refused_where_it_stands(text: bytes) -> None:
    with pytest.raises(ServingError, match="surrogate pair in string is invalid") as error:
        parse(text)
    assert error.value.message.endswith(f" {text.index(b'u') - 1}")
    assert parse(text.replace(rb"\u", rb"\\u"))


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


def test_predictions_of_several_instances_need_a_row_of_each() -> None:
    outputs = {"y": np.float32([1, 2, 3])}
    assert write_predictions(Format.ROW, outputs, 3) == b'{"predictions":[1.0,2.0,3.0]}'
    assert write_predictions(Format.ROW, outputs, 1) == b'{"predictions":[1.0,2.0,3.0]}'
    with pytest.raises(ServingError, match="y has inconsistent batch size: 3 expecting: 2"):
        write_predictions(Format.ROW, outputs, 2)
    assert (
        write_predictions(Format.ROW, {"a/b": np.float32([1, 2])}, 1)
        == b'{"predictions":[1.0,2.0]}'
    )
    for part in ("y/0", "y/values", "y/indices"):
        with pytest.raises(ServingError, match=r"2 expecting: 1\. In the row format"):
            write_predictions(Format.ROW, {part: np.float32([1, 2])}, 1)


X, BIAS = TensorSpec("x:0", DType.FLOAT, (-1,)), TensorSpec("bias:0", DType.FLOAT, ())
SIGNATURES = {
    "usual": Signature("usual", "", {"bias": BIAS, "x": X}, {}, {"bias": np.float32(0.5)}),
    "optional": Signature("optional", "", {"x": X}, {}, {"x": np.float32([1])}),
    "none": Signature("none", "", {}, {}),
}


@pytest.mark.parametrize(
    ("key", "body", "inputs", "rows"),
    [
        ("usual", {"instances": [1, 2]}, {"x": [1, 2]}, 2),
        ("usual", {"instances": [{"x": 1}]}, {"x": [1]}, 1),
        ("usual", {"instances": [{"x": 1, "bias": 2}]}, {"x": [1], "bias": [2]}, 1),
        ("usual", {"inputs": [1, 2]}, {"x": [1, 2]}, 0),
        ("usual", {"inputs": {"x": [1]}}, {"x": [1]}, 0),
        ("usual", {"inputs": {"x": [1], "bias": 2}}, {"x": [1], "bias": 2}, 0),
        ("optional", {}, {}, 0),
        ("optional", {"inputs": {}}, {}, 0),
        ("optional", {"inputs": [3]}, {"x": [3]}, 0),
        ("optional", {"instances": [{}, {}]}, {}, 2),
        ("optional", {"instances": [3]}, {"x": [3]}, 1),
        ("none", {}, {}, 0),
        ("none", {"inputs": {}}, {}, 0),
        ("none", {"instances": [{}]}, {}, 1),
    ],
)
def test_inputs_with_defaults_may_be_left_out(
    key: str, body: Any, inputs: dict[str, Any], rows: int
) -> None:
    found = read_predict(body, SIGNATURES[key])
    assert {alias: value.tolist() for alias, value in found.inputs.items()} == inputs
    assert found.rows == rows


@pytest.mark.parametrize(
    ("key", "body", "said"),
    [
        ("usual", {}, "Missing 'inputs' or 'instances' key"),
        ("usual", {"instances": [{"bias": 1}]}, "keys must be equal to: bias,x"),
        ("usual", {"instances": [{"x": 1}, {"x": 1, "bias": 1}]}, "keys must be equal to: x"),
        ("usual", {"instances": [{"x": 1, "bias": 1}, {"x": 1}]}, "keys must be equal to: bias,x"),
        ("usual", {"instances": [{"x": 1, "z": 1}]}, "does not have named input: z"),
        ("usual", {"inputs": {"bias": 1}}, "Missing named input: x in 'inputs' object."),
        ("none", {"inputs": [1]}, "Failed to get input map for signature: DEFAULT"),
        ("none", {"inputs": {"x": 1}}, "Failed to get input map for signature: DEFAULT"),
        ("none", {"instances": [1]}, "Failed to get input map for signature: DEFAULT"),
        ("none", {"instances": []}, "No values in 'instances' array"),
    ],
)
def test_what_has_no_default_may_not(key: str, body: Any, said: str) -> None:
    with pytest.raises(ServingError) as error:
        read_predict(body, SIGNATURES[key])
    assert said in error.value.message


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"z": 1}],
            "0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not",
        ),
        ([{"a": 1, "b": 2}, {"z": 1, "a": "x"}], "1 key: z of"),
        ([{"a": 1, "b": 2}, {"a": "x", "z": 1}], "1 key: a of"),
        ([{"a": 1, "b": "x"}, {"a": 1, "z": 2}], "0 key: b of"),
        ([{"b": "x", "a": "x"}, {"a": "x", "b": 1}], "0 key: b of"),
        ([{"a": 1, "b": 1}, {"b": [2], "a": "x"}], "1 key: b of"),
        ([{"a": 1}, {"a": "x"}], "0 of 'instances' list. JSON object: {\"a\":1} keys must be"),
        ([{"z" * 10**6: 1}], f"named input: {'z' * 256}"),
        ([{"a": 1, "b": 1}, 5, {"z": 1}], "Expecting object but got list at item 1 of input list"),
    ],
)
def test_the_first_fault_of_rows_is_told(rows: Any, said: str) -> None:
    with pytest.raises(ServingError) as error:
        read_rows(rows, _readers(a=DType.FLOAT, b=DType.FLOAT))
    assert said in error.value.message
    assert len(error.value.message) < 1000


def test_gunzip_takes_several_members_and_no_more_than_the_limit() -> None:
    from slipway_server.frontends.inflate import gunzip

    data = gzip.compress(b"ab") + gzip.compress(b"cd")
    assert gunzip(data, 4) == b"abcd"
    for bad, limit in ((data, 3), (data[:-1], 4), (b"xx", 9), (data + b"junk", 9)):
        with pytest.raises(ServingError):
            gunzip(bad, limit)
