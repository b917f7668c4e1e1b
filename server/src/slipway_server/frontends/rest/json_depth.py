"""How deep JSON is nested, found before anything is made of it."""

import re
from typing import Final

import numpy as np

from slipway_server.errors import invalid_argument

DEEPEST: Final = 1024
"""What the parsers take at most."""

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_STEP: Final = np.zeros(256, np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


def check_depth(text: bytes, limit: int) -> None:
    """Refuse JSON that is nested deeper than a limit below the parsers' own. Costs nothing without one.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if limit >= DEEPEST or text.count(b"[") + text.count(b"{") <= limit:
        return
    steps = _STEP[np.frombuffer(_STRING.sub(b"", text), np.uint8)]
    if steps.cumsum(dtype=np.int32).max(initial=0) > limit:
        raise invalid_argument(
            f"JSON Parse error: The document is nested too deeply: {limit} levels are allowed"
        )
