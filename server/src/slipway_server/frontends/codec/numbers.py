"""Numbers of a message → an array, in blocks: neither memory nor other threads pay for many of them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from slipway_server.servables.signature import Array

_BLOCK: Final = 64 << 10
"""Numbers that are read at a time."""


def number_array(values: Sequence[Any], kind: Any) -> Array:
    """Return the values of a repeated field.

    NumPy makes a list of Python's numbers first, of four to eight times the size, and no other thread runs meanwhile.
    """
    if len(values) <= _BLOCK:
        return np.array(values, kind)
    whole: Array = np.empty(len(values), kind)
    for at in range(0, len(values), _BLOCK):
        whole[at : at + _BLOCK] = values[at : at + _BLOCK]
    return whole
