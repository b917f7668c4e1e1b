"""Nested lists of JSON → arrays.

The usual values (numbers that fit) are converted by NumPy in one go; anything it does not take as exactly the wanted
type goes through the careful path below, which exists to say what is wrong and where.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.codec.json_number import FLOATS
from slipway_server.frontends.codec.json_string import read_string, wrong_type
from slipway_server.frontends.codec.json_text import excerpt
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array

MAX_RANK: Final = 64
"""NumPy's own; TensorFlow's is 254."""

_INT32: Final = (-(2**31), 2**31 - 1)
_NARROW: Final = frozenset({DType.INT8, DType.INT16, DType.UINT8, DType.UINT16})
_INTEGERS: Final = frozenset(
    {*_NARROW, DType.INT32, DType.INT64, DType.UINT32, DType.UINT64},
)
_QUICK_KINDS: Final[dict[DType, str]] = {
    **dict.fromkeys(FLOATS, "fiu"),
    **dict.fromkeys(_INTEGERS, "iu"),
    DType.BOOL: "b",
}
_QUICK_TYPES: Final[dict[DType, frozenset[type]]] = {
    **dict.fromkeys(FLOATS, frozenset({int, float})),
    **dict.fromkeys(_INTEGERS, frozenset({int})),
    DType.BOOL: frozenset({bool}),
}


def _own_range(dtype: DType) -> tuple[int, int]:
    limits = np.iinfo(dtype.numpy)
    return int(limits.min), int(limits.max)


INTEGER_RANGES: Final = {dtype: _own_range(dtype) for dtype in _INTEGERS}
"""What an integer of each type can be."""

_LENIENT_RANGES: Final = {**INTEGER_RANGES, **dict.fromkeys(_NARROW, _INT32)}
"""Narrow types take any int32 and keep its low bits, as TensorFlow Serving does."""


@dataclass(frozen=True, slots=True)
class ValueReader:
    """Reads the values of one tensor.

    Attributes:
        name: of the input, for errors.
        mixed: whether values of several JSON types may stand side by side; when not, nobody looks at each of them.
        strict: refuse an integer that a narrow type cannot hold; otherwise its low bits are taken.
    """

    dtype: DType
    name: str = ""
    mixed: bool = True
    strict: bool = True

    def read(self, value: Any) -> Array:
        """Read one nested list, or a scalar.

        Raises:
            ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for an element type that JSON cannot hold.
        """
        array = self.quick(value)
        if array is not None:
            return array
        shape = shape_of(value)
        leaves: list[Any] = []
        self.collect(value, shape, leaves)
        return self.array(leaves).reshape(shape)

    def quick(self, value: Any) -> Array | None:
        """Let NumPy convert a value when that gives exactly what `collect` and `array` would; None when in doubt."""
        kind = self.dtype.numpy
        if kind is None or self.dtype not in _QUICK_KINDS or not isinstance(value, list):
            return None
        # NumPy takes true for 1 among numbers, which TensorFlow Serving does not, and makes room for the longest
        # string in the place of each number.
        if self.mixed and not _has_only(value, _QUICK_TYPES[self.dtype]):
            return None
        try:
            array = np.asarray(value)
        except (ValueError, OverflowError, RecursionError, MemoryError):
            return None
        if array.dtype.kind not in _QUICK_KINDS[self.dtype] or not array.size:
            return None
        if (limits := self._limits()) and not (
            limits[0] <= array.min() and array.max() <= limits[1]
        ):
            return None
        if self.dtype not in FLOATS:
            return array.astype(kind, copy=False)
        with np.errstate(over="ignore"):  # a double too large for a float is infinite, as in C
            return array.astype(np.float64, copy=False).astype(kind, copy=False)

    def collect(
        self, value: Any, shape: tuple[int, ...], leaves: list[Any], level: int = 0
    ) -> None:
        """Append the scalars of a nested list, in row-major order.

        Raises:
            ServingError: as `read`; also when the lists do not have the shape.
        """
        if not isinstance(value, list):
            if level != len(shape):
                raise invalid_argument(
                    f"JSON Value: {excerpt(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                    f"Expected at level: {len(shape)}"
                )
            leaves.append(self._leaf(value))
            return
        if level >= len(shape):
            raise invalid_argument(
                f"Encountered list at unexpected level: {level} expected < {len(shape)}"
            )
        if len(value) != shape[level]:
            raise invalid_argument(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        for item in value:
            self.collect(item, shape, leaves, level + 1)

    def array(self, leaves: list[Any]) -> Array:
        """Return a vector of what `collect` found.

        Raises:
            ServingError: UNIMPLEMENTED for an element type that JSON cannot hold.
        """
        if self.dtype is DType.STRING:
            strings = np.empty(len(leaves), object)
            strings[:] = leaves
            return strings
        kind = self.dtype.numpy
        if kind is None or self.dtype not in _QUICK_KINDS:
            raise ServingError(
                Code.UNIMPLEMENTED, f"Conversion of JSON Value: [] to type: {self.dtype.label}"
            )
        if self.dtype in _INTEGERS and self.dtype is not DType.UINT64:
            return np.array(leaves, np.int64).astype(kind)
        with np.errstate(over="ignore"):
            return np.array(leaves, np.float64 if self.dtype in FLOATS else kind).astype(kind)

    def _limits(self) -> tuple[int, int] | None:
        return (INTEGER_RANGES if self.strict else _LENIENT_RANGES).get(self.dtype)

    def _leaf(self, value: Any) -> Any:
        dtype = self.dtype
        if dtype is DType.STRING:
            return read_string(value)
        if isinstance(value, dict):
            raise wrong_type(value, dtype)
        if dtype in FLOATS:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
            raise wrong_type(value, dtype)
        if dtype is DType.BOOL:
            if isinstance(value, bool):
                return value
            raise wrong_type(value, dtype)
        if limits := self._limits():
            if not isinstance(value, int) or isinstance(value, bool):
                raise wrong_type(value, dtype)
            if not limits[0] <= value <= limits[1]:
                raise self._beyond(value)
            return value
        raise ServingError(
            Code.UNIMPLEMENTED, f"Conversion of JSON Value: {excerpt(value)} to type: {dtype.label}"
        )

    def _beyond(self, value: int) -> ServingError:
        error = wrong_type(value, self.dtype)
        if self.dtype not in _NARROW or not _INT32[0] <= value <= _INT32[1]:
            return error
        low, high = INTEGER_RANGES[self.dtype]
        return invalid_argument(f'{error.message}: input "{self.name}" takes {low} to {high}')


def shape_of(value: Any, max_rank: int = MAX_RANK) -> tuple[int, ...]:
    """Read the shape off the first element at each depth.

    Raises:
        ServingError: INVALID_ARGUMENT for too many dimensions.
    """
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > max_rank:
            raise invalid_argument(f"JSON Value is nested deeper than {max_rank} levels")
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _has_only(value: list[Any], kinds: frozenset[type], depth: int = 1) -> bool:
    """Whether nested lists hold nothing but values of some types."""
    found = set(map(type, value))
    if found <= kinds:
        return True
    return (
        found == {list}
        and depth < MAX_RANK
        and all(_has_only(item, kinds, depth + 1) for item in value)
    )
