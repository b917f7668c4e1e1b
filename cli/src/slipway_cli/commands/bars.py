"""Progress bars on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slipway_cli.output import note


@contextmanager
def bytes_bar(what: str, *, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how many bytes of how many are read; yields what is told so."""
    if not shown:
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


_LINE_SECONDS = 10.0


@contextmanager
def rows_bar(total: int, *, on_terminal: bool) -> Iterator[Callable[[int, int, int], None]]:
    """Show how far a batch is: a bar with rate and remaining time, or a line now and then in a pipe.

    Yields:
        What is told how many rows are done, how many of these failed, and how many bytes of `total` are read.
    """
    started = time.monotonic()
    first: list[int] = []
    if not on_terminal:
        told = started

        def line(rows: int, failed: int, position: int) -> None:
            nonlocal told
            first.extend([] if first else [rows])
            if time.monotonic() - told >= _LINE_SECONDS:
                told = time.monotonic()
                note(
                    progress_line(
                        rows, failed, position, total, (rows - first[0]) / (told - started)
                    )
                )

        yield line
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.fields[rows]} rows"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]:.0f} rows/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task("", total=total, rows=0, rate=0.0, failed="")

        def bar(rows: int, failed: int, position: int) -> None:
            first.extend([] if first else [rows])
            rate = (rows - first[0]) / max(time.monotonic() - started, 0.001)
            what = f"{failed} failed" if failed else ""
            progress.update(task, completed=position, rows=rows, rate=rate, failed=what)

        yield bar


def progress_line(rows: int, failed: int, position: int, total: int, rate: float) -> str:
    """Return what a pipe is told.

    >>> progress_line(1000, 2, 50, 200, 99.7)
    '1000 rows (25%), 100 rows/s, 2 failed'
    """
    share = f" ({min(100, 100 * position // total)}%)" if total else ""
    wrong = f", {failed} failed" if failed else ""
    return f"{rows} rows{share}, {rate:.0f} rows/s{wrong}"
