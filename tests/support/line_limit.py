"""A bound on the lines of Python that code executes: work that grows with a power of its input ends as a failure."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def at_most_lines(limit: int) -> Iterator[None]:
    """Fail the test when what is called within executes more lines; time and the machine's load do not count."""
    left = limit
    before = sys.gettrace()

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                where = f"{frame.f_code.co_name}, line {frame.f_lineno}"
                raise AssertionError(f"more than {limit} lines were executed; the last was {where}")
        return count

    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
