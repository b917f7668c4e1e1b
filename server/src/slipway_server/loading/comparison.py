"""Whether an output is what it should be. Pure."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array

_MAX_TEXT: Final = 64
"""Characters of a string that are shown."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a number may be from the expected one: `absolute + relative × |expected|`.

    Nothing is tolerated with strings and booleans. NaN equals NaN only, an infinity only itself.
    """

    absolute: float = 0.0
    relative: float = 0.0


def difference(expected: Array, got: Array, tolerance: Tolerance) -> str:
    """Return what is wrong with an output, as the end of a sentence that begins with its name; empty when nothing is.

    >>> difference(np.array([1.0, 2.0]), np.array([1.0, 3.0]), Tolerance(absolute=0.5))
    'is 3.0 instead of 2.0 at [1], and 0.5 is tolerated (1 of 2 values differ)'
    """
    wanted, found = DType.of_array(expected), DType.of_array(got)
    if wanted is not found:
        return f"is of type {found.label} instead of {wanted.label}"
    if expected.shape != got.shape:
        return f"has the shape {list(got.shape)} instead of {list(expected.shape)}"
    if not expected.size:
        return ""
    excess: Array
    if wanted is DType.STRING:
        excess = np.array(
            [_as_bytes(a) != _as_bytes(b) for a, b in zip(expected.flat, got.flat, strict=True)],
            float,
        )
        tolerance = Tolerance()
    elif wanted is DType.BOOL:
        excess = (expected != got).ravel().astype(float)
        tolerance = Tolerance()
    else:
        excess = _excess(expected.ravel(), got.ravel(), tolerance)
    wrong = int(np.count_nonzero(excess > 0))
    if not wrong:
        return ""
    at = int(np.argmax(excess))
    place = [int(one) for one in np.unravel_index(at, expected.shape)]
    where = f" at {place}" if place else ""
    tolerated = _tolerated(expected.ravel()[at], tolerance)
    return (
        f"is {_text(got.ravel()[at])} instead of {_text(expected.ravel()[at])}{where}"
        f"{tolerated} ({wrong} of {expected.size} values differ)"
    )


def _excess(expected: Array, got: Array, tolerance: Tolerance) -> Array:
    """Return by how much each number is beyond what is tolerated; 0 where it is not."""
    kind = complex if expected.dtype.kind == "c" else float
    wide_expected, wide_got = expected.astype(kind), got.astype(kind)
    with np.errstate(all="ignore"):
        apart = np.abs(wide_got - wide_expected)
        tolerated = tolerance.absolute + tolerance.relative * np.abs(wide_expected)
        # Large integers, of which several are one floating-point number, are compared as they are.
        same = (expected == got) | (np.isnan(wide_expected) & np.isnan(wide_got))
        finite = np.isfinite(wide_expected) & np.isfinite(wide_got)
        within = finite & (tolerated > 0) & (apart <= tolerated)
        excess = np.where(finite, apart - tolerated, np.inf)
        # What differs is told, however little it is.
        return np.where(same | within, 0.0, np.maximum(excess, np.finfo(float).tiny))


def _tolerated(expected: Any, tolerance: Tolerance) -> str:
    if not tolerance.absolute and not tolerance.relative:
        return ""
    allowed = tolerance.absolute + tolerance.relative * abs(
        complex(expected) if np.iscomplexobj(expected) else float(expected)
    )
    return f", and {allowed:.3g} is tolerated" if np.isfinite(allowed) else ""


def _text(value: Any) -> str:
    text = repr(_as_bytes(value)) if isinstance(value, bytes | str) else str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
