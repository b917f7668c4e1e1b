"""Keeps a sample of requests and their answers as TFRecords of PredictionLog, written by a thread of its own.

The files can be read with tf.data, and renamed they are warm-up requests. A request never waits for the log: what
the thread cannot keep up with is dropped and counted.
"""

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

_log = structlog.get_logger("slipway_server.request_log")


class RecordFile(Protocol):
    """A file of records (`tf.io.TFRecordWriter`)."""

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
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        open_file: Callable[[str], RecordFile],
        max_bytes: int,
        random: Callable[[], float],
        now: Callable[[], float] = time.time,
        bounds: QueueBounds | None = None,
    ) -> None:
        self.rules: Mapping[str, LoggingRule] = {}
        self._open_file = open_file
        self._max_bytes = max_bytes
        self._random = random
        self._now = now
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
        touched: set[str] = set()
        for entry in entries:
            prefix = entry.rule.prefix
            try:
                file = self._files.setdefault(prefix, _Rotating(prefix, self))
                file.write(entry.record(int(entry.seconds)))
                touched.add(prefix)
            except Exception as error:  # noqa: BLE001 - neither a full disk nor one odd request may end the log
                self._failed(entry.model, prefix, error)
            else:
                self._count(entry.model, Code.OK)
        for prefix in touched:
            try:
                self._files[prefix].flush()
            except Exception as error:  # noqa: BLE001 - likewise
                self._failed("", prefix, error)

    def _failed(self, model: str, prefix: str, error: Exception) -> None:
        self._count(model, Code.INTERNAL)
        if file := self._files.pop(prefix, None):
            file.abandon()
        _log.error("requests are not logged", model=model, prefix=prefix, error=str(error))

    def begin(self, prefix: str) -> RecordFile:
        """Open the next file of a prefix, named by time, process and number."""
        number = self._numbers[prefix] = self._numbers.get(prefix, 0) + 1
        stamp = datetime.fromtimestamp(self._now(), UTC).strftime("%Y%m%dT%H%M%SZ")
        path = Path(f"{prefix}-{stamp}-{os.getpid()}-{number:05d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return self._open_file(str(path))

    @property
    def max_bytes(self) -> int:
        """Size at which a file is followed by another."""
        return self._max_bytes


class _Rotating:
    """The files of one prefix, one after the other."""

    def __init__(self, prefix: str, log: RequestLog) -> None:
        self._prefix = prefix
        self._log = log
        self._file: RecordFile | None = None
        self._size = 0

    def write(self, record: bytes) -> None:
        if self._file is not None and self._size >= self._log.max_bytes:
            self._file.close()
            self._file = None
        if self._file is None:
            self._file = self._log.begin(self._prefix)
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


def approximate_bytes(arrays: Iterable[Any]) -> int:
    """Return about how many bytes some arrays hold; strings are counted one by one."""
    total = 0
    for array in arrays:
        total += array.nbytes
        if array.dtype.hasobject:
            total += sum(len(one) for one in array.flat)
    return total
