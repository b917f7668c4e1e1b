"""Floating-point numbers in JSON: both ways of writing them against C's own formats (§8.2)."""

from __future__ import annotations

import tracemalloc
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slipway_server.frontends.codec.json_number import decimals, dumps, numbers
from slipway_server.frontends.codec.json_text import parse

KINDS = [np.dtype(np.float32), np.dtype(np.float64)]
HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
ENOUGH_FOR_A_PASS = 20


def by_c(value: Any) -> str:
    """The rule, one number at a time, with Python's % operator, which is C's printf."""
    number = float(value)
    if np.isnan(number):
        return "NaN"
    if np.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    text = "%g" % number  # noqa: UP031 - the format that the rule names
    with np.errstate(over="ignore"):
        same = value.dtype.type(float(text)) == value
    if not same:
        digits = {4: 9, 8: 17}[value.dtype.itemsize]
        text = "%.*g" % (digits, number)  # noqa: UP031
    return text if "." in text or "e" in text else text + ".0"


@given(st.data(), st.sampled_from(KINDS))
def test_any_number_alone_and_among_others(data: st.DataObject, kind: np.dtype[Any]) -> None:
    array = data.draw(hnp.arrays(kind, st.integers(1, 12)))
    wanted = "[" + ",".join(by_c(value) for value in array) + "]"
    assert dumps(decimals(array)).decode() == wanted
    repeated = np.tile(array, ENOUGH_FOR_A_PASS)
    among = ",".join([wanted[1:-1]] * ENOUGH_FOR_A_PASS)
    assert dumps(decimals(repeated)).decode() == f"[{among}]"


@given(st.integers(0, 2**32 - 1), st.floats(-5, 7))
@example(0, 0.0)
def test_floats_near_the_usual(seed: int, decade: float) -> None:
    array = (np.random.default_rng(seed).random(200) * 10.0**decade).astype(np.float32)
    assert dumps(decimals(array)).decode() == "[" + ",".join(map(by_c, array)) + "]"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape", [(), (0,), (0, 3), (3, 0), (2, 3), (1, 1, 1), (4, 3, 2), (2, 0, 2)]
)
def test_shapes(shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=kind).reshape(shape) / 2
    text = dumps(decimals(array)).decode()
    assert text == str(array.tolist()).replace(" ", "")


def test_millions_of_empty_rows_are_written_without_a_list_for_each() -> None:
    rows = 500_000
    tracemalloc.start()
    try:
        found = decimals(np.zeros((rows, 0), np.float32))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * rows
    assert dumps(found) == b"[" + b",".join([b"[]"] * rows) + b"]"


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 2), (2, 2, 0), (1, 2, 0, 4)])
def test_arrays_without_values_are_what_numpy_makes_of_them(shape: tuple[int, ...]) -> None:
    assert decimals(np.zeros(shape, np.float32)) == np.zeros(shape).tolist()


@pytest.mark.parametrize("kind", HALVES, ids=str)
def test_every_number_of_16_bits_has_six_digits_and_reads_back(kind: np.dtype[Any]) -> None:
    array = np.arange(2**16, dtype=np.uint16).view(kind)
    with np.errstate(invalid="ignore"):  # of signalling NaN
        exact = array.astype(np.float64)
    finite = np.isfinite(exact)
    text = dumps(decimals(array)).decode()
    found = text[1:-1].split(",")
    for word, value in zip(found, exact.tolist(), strict=True):
        if not np.isfinite(value):
            assert word == ("NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity")
            continue
        short = "%g" % value  # noqa: UP031 - the format that the rule names
        assert word == (short if "." in short or "e" in short else short + ".0")
    again = np.array(parse(text.encode())).astype(kind)
    np.testing.assert_array_equal(again.view(np.uint16)[finite], array.view(np.uint16)[finite])
    alone = [dumps(decimals(array[number : number + 1])).decode() for number in range(0, 2**16, 97)]
    assert alone == [f"[{word}]" for word in found[::97]]


@given(st.data(), st.sampled_from([*KINDS, np.dtype(np.float16), np.dtype(np.int64)]))
def test_numbers_of_any_length_read_back(data: st.DataObject, kind: np.dtype[Any]) -> None:
    array = data.draw(hnp.arrays(kind, st.integers(0, 40)))
    again = np.array(parse(dumps(numbers(array)), whole=True)).astype(kind)
    np.testing.assert_array_equal(again, array)


def test_numbers_that_are_finite_are_left_to_orjson() -> None:
    array = np.float32([0.1, 1 / 3])
    assert numbers(array) is array
    assert dumps(numbers(array)) == b"[0.1,0.33333334]"
    assert dumps(numbers(np.float32([0.1, np.nan]))) == b"[0.1,NaN]"
    assert dumps(numbers(np.array([1.5, -2], ml_dtypes.bfloat16))) == b"[1.5,-2.0]"
