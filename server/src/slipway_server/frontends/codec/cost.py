"""What a message takes in memory once it is parsed, told from its bytes before that.

A string of two bytes becomes an object of dozens, an integer of one byte one of eight, and nothing else runs while the
parser works. A walk over the fields of a large message says how many there are. Pure.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from slipway_server.errors import invalid_argument
from slipway_server.varints import read_varint

Layout = Mapping[int, "Layout"]
"""Fields of a message that are messages themselves and may hold many fields, by number."""

PACKED: Final[Layout] = {0: {}}
"""Stands for a field of numbers in one row, each of as many bytes as it needs."""

_TENSOR: dict[int, Layout] = {
    2: {},  # tensor_shape: its dimensions
    **dict.fromkeys((7, 10, 11, 13, 16, 17), PACKED),
    14: {6: {2: {}}},  # resource_handle_val
}
_TENSOR[15] = {3: _TENSOR}  # variant_val

PREDICT: Final[Layout] = {2: {2: _TENSOR}}
CLASSIFY: Final[Layout] = {2: {1: {}, 2: {}}}
"""Also of Regress and MultiInference."""
INFER: Final[Layout] = {
    5: {3: PACKED, 4: {}, 5: dict.fromkeys((1, 2, 3, 4, 5), PACKED)},
    6: {2: {}},
}

_DEEPEST: Final = 100
"""Levels of messages in one another that the parser accepts."""

_SMALL: Final = 1 << 20
"""Messages up to so many bytes are not looked at."""

_MOST: Final = 256 << 20
"""Bytes that any message may cost, four times the default limit of its size; a larger one four times its size."""

_FIELD_BYTES: Final = 64
_NUMBER_BYTES: Final = 16
_COPIES: Final = 2
"""The parser copies what it reads, and Python what it asks the parser for."""

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


def parsing_cost(data: bytes, layout: Layout) -> int:
    """Return about how many bytes a message takes besides its own when it is parsed and read; 0 for a small one.

    What is no message costs what was seen of it: the parser will say so.

    Raises:
        ServingError: INVALID_ARGUMENT for one that takes far more than was sent.
    """
    if len(data) <= _SMALL:
        return 0
    cost = _Walk(data, max(_MOST, 4 * len(data))).message(0, len(data), layout)
    return cost + _COPIES * len(data)


class _Walk:
    def __init__(self, data: bytes, most: int) -> None:
        self._data = data
        self._most = most
        self._cost = 0

    def message(self, at: int, stop: int, layout: Layout, depth: int = 0) -> int:
        """Add what the fields of a message cost; return what has been added so far."""
        data = self._data
        try:
            while at < stop:
                tag, at = read_varint(data, at)
                kind = tag & 7
                if kind == _DELIMITED:
                    length, at = read_varint(data, at)
                    end = min(at + length, stop)
                    inner = layout.get(tag >> 3)
                    if inner is PACKED:
                        self._add(_NUMBER_BYTES * _numbers(data, at, end))
                    else:
                        self._add(_FIELD_BYTES)
                        if inner is not None and depth < _DEEPEST:
                            self.message(at, end, inner, depth + 1)
                    at = end
                elif kind == _VARINT:
                    _, at = read_varint(data, at)
                    self._add(_FIELD_BYTES)
                elif kind in {_FIXED32, _FIXED64}:
                    at += 4 if kind == _FIXED32 else 8
                    self._add(_FIELD_BYTES)
                else:
                    break
        except IndexError:
            pass
        return self._cost

    def _add(self, cost: int) -> None:
        self._cost += cost
        if self._cost > self._most:
            raise invalid_argument(
                f"The request has so many values that it would take more than {self._most} bytes of memory: send "
                f"numbers as tensor_content or raw contents, and strings in several requests"
            )


def _numbers(data: bytes, start: int, stop: int) -> int:
    """Count the numbers in a row: each ends with the first byte below 128."""
    block = 1 << 20
    return sum(
        int(np.count_nonzero(np.frombuffer(data, np.int8, min(block, stop - at), at) >= 0))
        for at in range(start, stop, block)
    )
