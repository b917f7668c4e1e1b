"""Progress, as JSON lines that a person and the operator can follow."""

from __future__ import annotations

from collections.abc import Callable

_PERIOD = 2.0


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
        seconds = self._clock() - self._started
        self._report(
            {
                "bytes": self._bytes,
                "totalBytes": self._total_bytes,
                "files": self._files,
                "totalFiles": self._total_files,
                "bytesPerSecond": round(self._moved / seconds) if seconds > 0 else 0,
            }
        )
