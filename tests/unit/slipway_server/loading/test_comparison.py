"""When an output is what it should be."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from slipway_server.loading.comparison import Tolerance, difference

NAN, INF = float("nan"), float("inf")


def of(*values: Any, kind: Any = np.float32) -> Any:
    return np.array(values, kind)


EQUAL: list[tuple[str, Any, Any, Tolerance]] = [
    ("the same", of(1, 2), of(1, 2), Tolerance()),
    ("within an absolute tolerance", of(1.0), of(1.25), Tolerance(0.25)),
    ("within a relative one", of(-100.0), of(-101.0), Tolerance(0, 0.01)),
    ("within both together", of(100.0), of(101.5), Tolerance(0.5, 0.01)),
    ("not a number, twice", of(NAN, 1), of(NAN, 1), Tolerance()),
    ("the same infinities", of(INF, -INF), of(INF, -INF), Tolerance(1, 1)),
    ("strings", of(b"a", b"\xff", kind=object), of(b"a", b"\xff", kind=object), Tolerance()),
    ("nothing", of(), of(), Tolerance()),
    ("complex", of(1j, kind=np.complex64), of(1.001j, kind=np.complex64), Tolerance(0.01)),
    (
        "bfloat16",
        of(1.0, kind=ml_dtypes.bfloat16),
        of(1.0078125, kind=ml_dtypes.bfloat16),
        Tolerance(0.01),
    ),
    ("integers that may differ", of(7, kind=np.uint8), of(6, kind=np.uint8), Tolerance(1)),
]

DIFFERENT: list[tuple[str, Any, Any, Tolerance, str]] = [
    ("another number", of(1.0), of(2.0), Tolerance(), "is 2.0 instead of 1.0 at [0] (1 of 1"),
    ("beyond", of(1.0), of(1.5), Tolerance(0.25), "and 0.25 is tolerated (1 of 1 values differ)"),
    ("most, not first", of(1, 1, 1), of(2, 9, 1), Tolerance(0.5), "is 9.0 instead of 1.0 at [1]"),
    ("its place", of([1, 2], [3, 4]), of([1, 2], [3, 5]), Tolerance(), "at [1, 1]"),
    ("a scalar has no place", np.float32(1), np.float32(2), Tolerance(), "is 2.0 instead of 1.0 ("),
    ("a number for none", of(NAN), of(1.0), Tolerance(9, 9), "is 1.0 instead of nan at [0]"),
    ("none for a number", of(1, 2), of(99, NAN), Tolerance(9, 9), "is nan instead of 2.0 at [1]"),
    ("infinite for a number", of(1.0), of(INF), Tolerance(9, 9), "is inf instead of 1.0"),
    ("a number for infinite", of(INF), of(1.0), Tolerance(9, 9), "is 1.0 instead of inf"),
    ("the other infinity", of(INF), of(-INF), Tolerance(9, 9), "is -inf instead of inf"),
    (
        "integers that are one as a float",
        of(2**62, kind=np.int64),
        of(2**62 + 1, kind=np.int64),
        Tolerance(),
        f"is {2**62 + 1} instead of {2**62}",
    ),
    (
        "unsigned integers below",
        of(0, kind=np.uint8),
        of(255, kind=np.uint8),
        Tolerance(1),
        "is 255 instead of 0",
    ),
    (
        "another string",
        of(b"cat", kind=object),
        of(b"dog", kind=object),
        Tolerance(9, 9),
        "is b'dog' instead of b'cat' at [0] (1 of 1",
    ),
    (
        "a long string",
        of(b"a", kind=object),
        of(b"b" * 1000, kind=object),
        Tolerance(),
        f"is b'{'b' * 62}… instead of b'a'",
    ),
    ("another truth", of(True, kind=bool), of(False, kind=bool), Tolerance(9), "is False instead"),
    (
        "another type",
        of(1),
        of(1, kind=np.int32),
        Tolerance(9),
        "is of type int32 instead of float",
    ),
    ("another shape", of(1), of([1]), Tolerance(9), "has the shape [1, 1] instead of [1]"),
    (
        "another complex number",
        of(1j, kind=np.complex64),
        of(2j, kind=np.complex64),
        Tolerance(0.5),
        "is 2j instead of 1j",
    ),
]


@pytest.mark.parametrize(
    ("expected", "got", "tolerance"), [pytest.param(*row[1:], id=row[0]) for row in EQUAL]
)
def test_what_is_tolerated(expected: Any, got: Any, tolerance: Tolerance) -> None:
    assert difference(expected, got, tolerance) == ""


@pytest.mark.parametrize(
    ("expected", "got", "tolerance", "words"),
    [pytest.param(*row[1:], id=row[0]) for row in DIFFERENT],
)
def test_what_is_not(expected: Any, got: Any, tolerance: Tolerance, words: str) -> None:
    assert words in difference(expected, got, tolerance)
