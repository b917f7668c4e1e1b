"""Floating-point numbers in the words of TensorFlow Serving's JSON.

A number has six digits if those read back as the same number, otherwise nine for a float and seventeen for a double,
which always do. It is written as C's `%g` writes it, but with `.0` when it would look like an integer. NaN and the
infinities are bare tokens.

orjson writes the shortest text that reads back as the same double. For numbers from 1e-4 to 1e6 that is the wanted text
too, once the number is *rounded to those digits as a double*: this is done for a whole array at once, and only the
others are put into words one by one.
"""

import struct
from typing import Any, Final

import numpy as np
import orjson

from slipway_server.servables.signature import Array

_FEW: Final = 6
_FLOAT_DIGITS: Final = 9
_PLAIN_MIN, _PLAIN_MAX = 1e-4, 1e6
_MOST_ONE_BY_ONE: Final = 16
"""Up to so many numbers a loop is quicker than a dozen passes over an array."""
_TIE: Final = 1e-5
"""Closer to a half than this, a product's own rounding error could decide which way the ninth digit goes."""
_INFINITY: Final = float("inf")


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


def decimals(array: Array) -> Written:
    """Return a float32 or float64 array as what orjson writes in the words described above.

    It is an array of doubles, or nested lists; of rank 0 one value.
    """
    if array.size <= _MOST_ONE_BY_ONE:
        return _each(array)
    # Infinities and the largest numbers overflow on the way; they are put into words one by one.
    with np.errstate(over="ignore", invalid="ignore"):
        return _at_once(array)


def decimal(value: float, *, double: bool) -> str:
    """Return one number as text.

    >>> [decimal(value, double=False) for value in (3.0, 1e10, 1e-7)]
    ['3.0', '1e+10', '1.00000001e-07']
    >>> decimal(1 / 3, double=True)
    '0.33333333333333331'
    """
    text = f"{value:.6g}"
    if (float(text) if double else _as_float32(float(text))) != value:
        if not -_INFINITY < value < _INFINITY:
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 - NaN
        text = f"{value:.17g}" if double else f"{value:.9g}"
    elif value in {_INFINITY, -_INFINITY}:
        return "Infinity" if value > 0 else "-Infinity"
    return text if "." in text or "e" in text else text + ".0"


_FLOAT32: Final = struct.Struct("f")


def _as_float32(value: float) -> float:
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])
    except OverflowError:  # the largest floats, rounded up
        return _INFINITY


def _each(array: Array) -> Written:
    double = _is_double(array)
    values: list[Any] = [
        orjson.Fragment(decimal(value, double=double)) for value in array.ravel().tolist()
    ]
    if array.ndim == 1:
        return values
    if not values and array.ndim:
        return _nothing(array.shape)
    for size in reversed(array.shape[1:]):
        values = [values[start : start + size] for start in range(0, len(values), size)]
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
    double = _is_double(array)
    exact = array if double else array.astype(np.float64)
    size = np.abs(exact)
    plain = (size >= _PLAIN_MIN) & (size < _PLAIN_MAX)
    plain |= size == 0
    decade = _POWERS.searchsorted(size, "right")
    to_six = _TO_SIX[decade]
    rounded = np.rint(exact * to_six) / to_six
    short = (rounded if double else rounded.astype(np.float32)) == array
    if double:
        plain &= short
    elif not short.all():
        to_nine = _TO_NINE[decade]
        product = exact * to_nine
        whole = np.rint(product)
        rounded = np.where(short, rounded, whole / to_nine)
        plain &= short | (np.abs(np.abs(product - whole) - 0.5) > _TIE)
    if plain.all():
        return np.ascontiguousarray(rounded)
    values = rounded.astype(object)
    odd = ~plain
    values[odd] = [orjson.Fragment(decimal(value, double=double)) for value in array[odd].tolist()]
    return values.tolist()


def _is_double(array: Array) -> bool:
    return bool(array.dtype.itemsize == 8)  # noqa: PLR2004 - bytes of a float64


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
