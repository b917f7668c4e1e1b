"""Floating-point numbers in the words of TensorFlow Serving's JSON.

A number has six digits if those read back as the same number, otherwise nine for a float and seventeen for a double,
which always do; six do for every half and bfloat16. It is written as C's `%g` writes it, but with `.0` when it would
look like an integer. NaN and the infinities are bare tokens, which JSON itself does not know.

orjson writes the shortest text that reads back as the same double. For numbers from 1e-4 to 1e6 that is the wanted text
too, once the number is *rounded to those digits as a double*: this is done for a whole array at once, and only the
others are put into words one by one.
"""

import struct
from typing import Any, Final

import numpy as np
import orjson

from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array

FLOATS: Final = frozenset({DType.FLOAT, DType.DOUBLE, DType.HALF, DType.BFLOAT16})
"""The floating-point types that have a form in JSON."""

_FEW: Final = 6
_FLOAT_DIGITS: Final = 9
_PLAIN_MIN, _PLAIN_MAX = 1e-4, 1e6
_MOST_ONE_BY_ONE: Final = 16
"""Up to so many numbers a loop is quicker than a dozen passes over an array."""
_TIE: Final = 1e-5
"""Closer to a half than this, a product's own rounding error could decide which way the ninth digit goes."""
_INFINITY: Final = float("inf")
_NAN, _PLUS, _MINUS = "NaN", "Infinity", "-Infinity"
_DOUBLE, _FLOAT = 8, 4
"""Bytes."""


def dumps(value: Any) -> bytes:
    """Return what holds the results of `decimals`, and other arrays, as JSON."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)


def _plain(value: Any) -> Any:
    """Give orjson what it does not write itself: arrays that are no C-contiguous memory."""
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value) if not value.flags.c_contiguous else value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


# An orjson.Fragment is bytes that go into the answer as they are; orjson writes lists and arrays of floats itself.
Written = Any


def numbers(array: Array) -> Written:
    """Return an array of numbers as what orjson writes soonest, for clients that expect no certain number of digits.

    That is the shortest text that reads back as the same number, and with NaN or an infinity among them `decimals`.
    """
    dtype = DType.of_array(array)
    if dtype not in FLOATS:
        return array
    if dtype in {DType.HALF, DType.BFLOAT16}:
        with np.errstate(invalid="ignore"):  # a signalling NaN
            array = array.astype(np.float32)
    return array if np.isfinite(array).all() else decimals(array)


def decimals(array: Array) -> Written:
    """Return an array of floating-point numbers as what orjson writes in the words described above.

    It is an array of doubles, or nested lists; of rank 0 one value.
    """
    # Infinities and the largest numbers overflow on the way, and some NaN are called invalid.
    with np.errstate(over="ignore", invalid="ignore"):
        return _each(array) if array.size <= _MOST_ONE_BY_ONE else _at_once(array)


def decimal(value: float, size: int) -> str:
    """Return one number as text; `size` is how many bytes it has in its array.

    >>> [decimal(value, 4) for value in (3.0, 1e10, 1e-7)]
    ['3.0', '1e+10', '1.00000001e-07']
    >>> decimal(1 / 3, 8), decimal(1 / 3, 2)
    ('0.33333333333333331', '0.333333')
    """
    if not -_INFINITY < value < _INFINITY:
        return _NAN if value != value else _PLUS if value > 0 else _MINUS  # noqa: PLR0124 - NaN
    text = f"{value:.6g}"
    if size == _DOUBLE and float(text) != value:
        text = f"{value:.17g}"
    elif size == _FLOAT and _as_float32(float(text)) != value:
        text = f"{value:.9g}"
    return text if "." in text or "e" in text else text + ".0"


_FLOAT32: Final = struct.Struct("f")


def _as_float32(value: float) -> float:
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])
    except OverflowError:  # the largest floats, rounded up
        return _INFINITY


def _each(array: Array) -> Written:
    size = array.dtype.itemsize
    values: list[Any] = [
        orjson.Fragment(decimal(value, size))
        for value in array.ravel().astype(np.float64, copy=False).tolist()
    ]
    if array.ndim == 1:
        return values
    if not values and array.ndim:
        return _nothing(array.shape)
    for length in reversed(array.shape[1:]):
        values = [values[start : start + length] for start in range(0, len(values), length)]
    return values if array.ndim else values[0]


def _nothing(shape: tuple[int, ...]) -> list[Any]:
    """Return what an array without values is in nested lists; there may be millions of rows, so they are one object.

    >>> _nothing((2, 3, 0)), _nothing((0, 3))
    ([[[], [], []], [[], [], []]], [])
    """
    value: list[Any] = []
    for size in reversed(shape[: shape.index(0)]):
        value = [value] * size
    return value


def _at_once(array: Array) -> Written:
    bytes_each = array.dtype.itemsize
    exact = array if bytes_each == _DOUBLE else array.astype(np.float64)
    size = np.abs(exact)
    plain = (size >= _PLAIN_MIN) & (size < _PLAIN_MAX)
    plain |= size == 0
    decade = _POWERS.searchsorted(size, "right")
    to_six = _TO_SIX[decade]
    rounded = np.rint(exact * to_six) / to_six
    if bytes_each == _DOUBLE:
        plain &= rounded == array
    elif bytes_each == _FLOAT and not (short := rounded.astype(np.float32) == array).all():
        to_nine = _TO_NINE[decade]
        product = exact * to_nine
        whole = np.rint(product)
        rounded = np.where(short, rounded, whole / to_nine)
        plain &= short | (np.abs(np.abs(product - whole) - 0.5) > _TIE)
    if plain.all():
        return np.ascontiguousarray(rounded)
    values = rounded.astype(object)
    for where, words in (
        (np.isnan(exact), _NAN),
        (exact == _INFINITY, _PLUS),
        (exact == -_INFINITY, _MINUS),
    ):
        values[where] = orjson.Fragment(words)
    odd = ~plain & np.isfinite(exact)
    values[odd] = [orjson.Fragment(decimal(value, bytes_each)) for value in exact[odd].tolist()]
    return values.tolist()


def _scales(digits: int) -> Array:
    """Return by what to multiply a number so that its first `digits` digits stand before the point.

    Index: how many of `_POWERS` are at most the number. The first entry is for what is below all of them: it is either
    0, or written one by one.
    """
    powers = [-4, *_EXPONENTS]
    return np.array([10.0 ** (digits - 1 - power) for power in powers])


_EXPONENTS: Final = tuple(range(-4, 7))
_POWERS: Final = np.array([10.0**power for power in _EXPONENTS])
_TO_SIX, _TO_NINE = _scales(_FEW), _scales(_FLOAT_DIGITS)
