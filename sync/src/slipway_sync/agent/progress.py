"""Progress, as JSON lines that a person and the operator can follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from slipway_sync.exports import part_of, size

_PERIOD = 2.0
_WINDOW = 10.0
"""The rate is that of the last so many seconds: what a person watches is what happens now."""


def line(numbers: Mapping[str, int]) -> dict[str, int | str]:
    """Return what a log line says: one sentence for people, then the numbers.

    >>> line({"bytes": 31, "totalBytes": 50, "files": 1, "totalFiles": 2, "bytesPerSecond": 4})["message"]
    '62%: 31/50 B, 1/2 files, 4 B/s, about 5 s left'
    """
    done, total = numbers["bytes"], numbers["totalBytes"]
    rate = numbers["bytesPerSecond"]
    parts = [part_of(done, total), f"{numbers['files']}/{numbers['totalFiles']} files"]
    if rate:
        parts.append(f"{size(rate)}/s")
        if done < total:
            parts.append(f"about {-(-(total - done) // rate)} s left")
    percent = done * 100 // total if total else 100
    return {"message": f"{percent}%: {', '.join(parts)}", **numbers}


class Progress:
    """Counts what lies on the volume and reports it: at the start, every two seconds, at the end."""

    def __init__(
        self,
        report: Callable[[dict[str, int]], None],
        clock: Callable[[], float],
        *,
        total_bytes: int,
        total_files: int,
    ) -> None:
        """Report through a function; `clock` returns seconds that never go back."""
        self._report = report
        self._clock = clock
        self._total_bytes = total_bytes
        self._total_files = total_files
        self._bytes = 0
        self._files = 0
        self._moved = 0
        self._started = clock()
        self._last = self._started
        self._marks = deque([(self._started, 0)])
        self._emit()

    @property
    def bytes(self) -> int:
        """Bytes that lie on the volume."""
        return self._bytes

    def add_bytes(self, count: int, *, moved: bool = True) -> None:
        """Bytes came to the volume; `moved` is false for those that an earlier run brought."""
        self._bytes += count
        self._moved += count if moved else 0
        self._now_and_then()

    def found(self, count: int, files: int) -> None:
        """All of it was there before; report that."""
        self._bytes, self._files = count, files
        self._emit()

    def take_back(self, count: int) -> None:
        """Bytes have to be brought again."""
        self._bytes -= count

    def add_file(self) -> None:
        """A file is whole and verified."""
        self._files += 1
        self._now_and_then()

    def finish(self) -> None:
        """Report the last state."""
        self._emit()

    def _now_and_then(self) -> None:
        now = self._clock()
        if now - self._last >= _PERIOD:
            self._last = now
            self._emit()

    def _emit(self) -> None:
        self._report(
            {
                "bytes": self._bytes,
                "totalBytes": self._total_bytes,
                "files": self._files,
                "totalFiles": self._total_files,
                "bytesPerSecond": self._rate(),
            }
        )

    def _rate(self) -> int:
        """Bytes that moved, for each of the last seconds."""
        now = self._clock()
        while len(self._marks) > 1 and self._marks[1][0] <= now - _WINDOW:
            self._marks.popleft()
        since, before = self._marks[0]
        if now > self._marks[-1][0]:
            self._marks.append((now, self._moved))
        return round((self._moved - before) / (now - since)) if now > since else 0
