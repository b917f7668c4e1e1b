"""Keeps a sample of requests and their answers as TFRecords of PredictionLog, written by a thread of its own.

The files can be read with tf.data, and renamed they are warm-up requests. A request never waits for the log: what
the thread cannot keep up with is dropped and counted.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from prometheus_client import CollectorRegistry

from slipway_server.errors import Code
from slipway_server.frontends.request_log.background import Background, QueueBounds
from slipway_server.observability.families import Families
from slipway_server.storage.source import LoggingRule

_CLOSE_SECONDS: Final = 5.0
_FRAME_BYTES: Final = 16
"""What TFRecord adds to a record."""

_MAX_PAUSE: Final = 60.0
"""Seconds between two tries to write to a disk that is full."""

_log = structlog.get_logger("slipway_server.request_log")


class RecordFile(Protocol):
    """A file of records (`storage.records.RecordWriter`)."""

    def write(self, record: bytes) -> None:
        """Append a record to the buffer."""
        ...

    def flush(self) -> None:
        """Write the buffer to the file."""
        ...

    def close(self) -> None:
        """Flush and close the file."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A request to keep.

    Attributes:
        record: makes the record's bytes; called on the log's thread.
        seconds: since 1970.
    """

    model: str
    rule: LoggingRule
    record: Callable[[int], bytes]
    seconds: float


class RequestLog:
    """The log of all models.

    Args:
        open_file: begins a file of records.
        max_bytes: a file that has grown beyond this is followed by another.
        random: numbers from 0 to below 1.
        now: seconds since 1970.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        open_file: Callable[[str], RecordFile],
        max_bytes: int,
        random: Callable[[], float],
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        bounds: QueueBounds | None = None,
    ) -> None:
        self.rules: Mapping[str, LoggingRule] = {}
        self._open_file = open_file
        self._max_bytes = max_bytes
        self._random = random
        self._now = now
        self._clock = clock
        self._troubles: dict[str, _Trouble] = {}
        self._odd_since: float | None = None
        self._files: dict[str, _Rotating] = {}
        self._numbers: dict[str, int] = {}
        self._counts = Families(registry).classic_counter(
            ":tensorflow:serving:request_log_count",
            "Requests that were to be logged.",
            ("model_name", "status_code"),
        )
        self._bounds = bounds or QueueBounds()
        self._queue: Background[Entry] | None = None

    def configure(self, rules: Mapping[str, LoggingRule]) -> None:
        """Replace the rules of all models. The thread is begun when the first rule comes."""
        if rules and self._queue is None:
            self._queue = Background(self._write, "request-log", self._bounds)
        self.rules = dict(rules)

    def sampled(self, model: str) -> LoggingRule | None:
        """Decide whether a request is kept."""
        rule = self.rules.get(model)
        return rule if rule is not None and self._random() < rule.sampling else None

    def keep(
        self, model: str, rule: LoggingRule, record: Callable[[int], bytes], size: int
    ) -> None:
        """Leave a request of about `size` bytes to the thread."""
        entry = Entry(model, rule, record, self._now())
        if self._queue is None or not self._queue.offer(entry, size):
            self._count(model, Code.RESOURCE_EXHAUSTED)

    def close(self) -> None:
        """Write what waits, for up to five seconds, and close every file."""
        if self._queue is not None:
            self._queue.close(_CLOSE_SECONDS)
        for file in self._files.values():
            file.close()

    def _count(self, model: str, code: Code) -> None:
        self._counts.labels(model, code.name).inc()

    def _write(self, entries: Sequence[Entry]) -> None:
        unflushed: dict[str, list[str]] = {}
        for entry in entries:
            prefix = entry.rule.prefix
            trouble = self._troubles.get(prefix)
            if trouble is not None and self._clock() < trouble.until:
                trouble.left_out += 1
                self._count(entry.model, Code.INTERNAL)
                continue
            try:
                record = entry.record(int(entry.seconds))
            except Exception as error:  # noqa: BLE001 - one odd request may not end the log
                self._odd(entry.model, error)
                continue
            models = unflushed.setdefault(prefix, [])
            models.append(entry.model)
            try:
                self._files.setdefault(prefix, _Rotating(prefix, self)).write(record)
            except Exception as error:  # noqa: BLE001 - nor may a full disk
                self._failed(prefix, unflushed.pop(prefix), error)
        for prefix, models in unflushed.items():
            try:
                self._files[prefix].flush()
            except Exception as error:  # noqa: BLE001 - likewise
                self._failed(prefix, models, error)
            else:
                for model in models:
                    self._count(model, Code.OK)
                self._recovered(prefix)

    def _odd(self, model: str, error: Exception) -> None:
        self._count(model, Code.INTERNAL)
        now = self._clock()
        if self._odd_since is None or now - self._odd_since >= _MAX_PAUSE:
            self._odd_since = now
            _log.error("a request cannot be logged", model=model, error=str(error))

    def _failed(self, prefix: str, models: Sequence[str], error: Exception) -> None:
        """Give up a file, and try no other one for a while: on a full disk each would be left behind empty."""
        for model in models:
            self._count(model, Code.INTERNAL)
        if file := self._files.pop(prefix, None):
            file.abandon()
        trouble = self._troubles.get(prefix)
        if trouble is None:
            trouble = self._troubles[prefix] = _Trouble()
            # Once, and not for every request: it ends with "requests are logged again".
            _log.error("requests are not logged", prefix=prefix, error=str(error))
        trouble.left_out += len(models)
        # A file may have been removed, or a disk exchanged: the first failure is followed by another try at once.
        if trouble.pause:
            trouble.until = self._clock() + trouble.pause
        trouble.pause = min(trouble.pause * 2 or 1.0, _MAX_PAUSE)

    def _recovered(self, prefix: str) -> None:
        if trouble := self._troubles.pop(prefix, None):
            _log.warning("requests are logged again", prefix=prefix, left_out=trouble.left_out)

    def path_after(self, prefix: str) -> Path:
        """Return the next file of a prefix, named by time, process and number."""
        number = self._numbers[prefix] = self._numbers.get(prefix, 0) + 1
        stamp = datetime.fromtimestamp(self._now(), UTC).strftime("%Y%m%dT%H%M%SZ")
        return Path(f"{prefix}-{stamp}-{os.getpid()}-{number:05d}")

    def open(self, path: Path) -> RecordFile:
        """Begin a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        return self._open_file(str(path))

    @property
    def max_bytes(self) -> int:
        """Size at which a file is followed by another."""
        return self._max_bytes


@dataclass(slots=True)
class _Trouble:
    """A prefix whose files cannot be written.

    Attributes:
        pause: seconds to wait after the next failure.
        until: when to try again, on the monotonic clock.
        left_out: requests that were not logged since it began.
    """

    pause: float = 0.0
    until: float = 0.0
    left_out: int = 0


class _Rotating:
    """The files of one prefix, one after the other."""

    def __init__(self, prefix: str, log: RequestLog) -> None:
        self._prefix = prefix
        self._log = log
        self._path: Path | None = None
        self._file: RecordFile | None = None
        self._size = 0

    def write(self, record: bytes) -> None:
        if self._file is not None and self._size >= self._log.max_bytes:
            self._file.close()
            self._file = None
        if self._file is None:
            self._path = self._log.path_after(self._prefix)
            self._file = self._log.open(self._path)
            self._size = 0
        self._file.write(record)
        self._size += len(record) + _FRAME_BYTES

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def abandon(self) -> None:
        try:
            self.close()
        except Exception:  # noqa: BLE001 - it has failed already
            self._file = None
        with contextlib.suppress(OSError):
            if self._path is not None and not self._path.stat().st_size:
                self._path.unlink()


def approximate_bytes(arrays: Iterable[Any]) -> int:
    """Return about how many bytes some arrays hold; strings are counted one by one."""
    total = 0
    for array in arrays:
        total += array.nbytes
        if array.dtype.hasobject:
            total += sum(len(one) for one in array.flat)
    return total
