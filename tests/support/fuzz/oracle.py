"""When is what a target did a finding?"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from slipway_server.errors import Code, ServingError

SECONDS = 5.0
"""For inputs of a few KiB; a shared machine stops for a second now and then."""

Target = Callable[[bytes], None]

# What an exception that nobody foresaw looks like after it became an answer.
_PYTHON_ERROR = re.compile(r"\b[A-Z][A-Za-z]*(Error|Exception|Warning)\b: ")
# gRPC's code for what is no message; and what TensorFlow itself says of a node in its graph.
_FORESEEN_INTERNAL = re.compile(r"^The request is not an? \w+ message$|\[\[\{\{")


class FindingError(AssertionError):
    """The server did what it must not do."""


def judge(code: Code, message: str) -> None:
    """Refuse an answer that only tells of a fault of the server."""
    if code is Code.INTERNAL and not _FORESEEN_INTERNAL.search(message):
        raise FindingError(f"{code.name}: {message[:500]}")
    if _PYTHON_ERROR.search(message):
        raise FindingError(f"a Python error in the message: {message[:500]}")


def guarded(act: Target) -> Target:
    """Return a target that lets declared errors pass and minds the time."""

    def run(data: bytes) -> None:
        started = time.monotonic()
        try:
            act(data)
        except ServingError as error:
            judge(error.code, error.message)
        took = time.monotonic() - started
        if took > SECONDS:
            raise FindingError(f"took {took:.1f} s")

    return run
