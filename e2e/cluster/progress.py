"""Steps with their times, printed as they happen."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO


def note(text: str, *, stream: TextIO | None = None) -> None:
    """Prints one line at once, so that a log file shows it while the next step runs."""
    print(text, file=stream or sys.stderr, flush=True)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """A table as text: two spaces between columns, nothing cut off, wherever it is printed to."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announces a step, and its time when it is done."""
    note(f"  {title} …")
    begun = time.monotonic()
    try:
        yield
    except BaseException:
        note(f"  {title}: failed after {time.monotonic() - begun:.1f} s")
        raise
    note(f"  {title}: {time.monotonic() - begun:.1f} s")
