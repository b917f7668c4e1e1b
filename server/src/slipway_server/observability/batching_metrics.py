"""Counts batches: TensorFlow Serving's names and Slipway's own, which know model, version and signature."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from slipway_server.observability.families import classic_counter_family, histogram_family
from slipway_server.observability.histogram import BucketCounts

_CLASSIC: Final = ":tensorflow:serving:batching_session:"
SIZES: Final = tuple(float(2**power) for power in range(14))
WAIT_MICROS: Final = tuple(100 * 1.2**power for power in range(52))
WAIT_SECONDS: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
# Without allowed_batch_sizes every number of rows is a size of its own.
_MAX_EXECUTION_SIZES: Final = 128

_Key = tuple[str, str, str]
_Counts = tuple[Sequence[int], float]


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What was counted of the batches of one signature elsewhere.

    Attributes:
        key: model, version, signature.
        histograms: counts and total of sizes, request sizes, seconds and microseconds of waiting.
        padding: size → counts and total of padding rows.
    """

    key: _Key
    runs: int
    surplus: int
    histograms: Sequence[_Counts]
    padding: Sequence[tuple[int, _Counts]]


class _Series:
    """The batches of one signature of one version.

    Attributes:
        alone: (rows, size) → how many requests ran alone, not yet in the histograms.
    """

    __slots__ = (
        "alone",
        "input_size",
        "padding",
        "runs",
        "size",
        "surplus",
        "wait",
        "wait_classic",
    )

    def __init__(self) -> None:
        self.runs = 0
        self.surplus = 0
        self.alone: dict[tuple[int, int], int] = {}
        self.size = BucketCounts(SIZES)
        self.input_size = BucketCounts(SIZES)
        self.wait = BucketCounts(WAIT_SECONDS)
        self.wait_classic = BucketCounts(WAIT_MICROS)
        self.padding: dict[int, BucketCounts] = {}

    def add(
        self, requests: Sequence[int], waits: Sequence[float], size: int, times: int = 1
    ) -> None:
        surplus = size - sum(requests)
        self.runs += times
        self.surplus += surplus * times
        self.size.add(size, times)
        for rows in requests:
            self.input_size.add(rows, times)
        for wait in waits:
            self.wait.add(wait, times)
            self.wait_classic.add(wait * 1e6, times)
        padding = self.padding.get(size)
        if padding is None and len(self.padding) < _MAX_EXECUTION_SIZES:
            padding = self.padding[size] = BucketCounts(SIZES)
        if padding is not None:
            padding.add(surplus, times)

    def merge(self, other: "_Series | BatchCounts") -> None:
        """Add what another series has counted."""
        self.runs += other.runs
        self.surplus += other.surplus
        mine = (self.size, self.input_size, self.wait, self.wait_classic)
        if isinstance(other, _Series):
            theirs: Sequence[BucketCounts] = (
                other.size,
                other.input_size,
                other.wait,
                other.wait_classic,
            )
            padding = list(other.padding.items())
        else:
            theirs = [_histogram(*counts) for counts in other.histograms]
            padding = [(size, _histogram(*counts)) for size, counts in other.padding]
        for histogram, more in zip(mine, theirs, strict=True):
            histogram.merge(more)
        for size, more in padding:
            self.padding.setdefault(size, BucketCounts(SIZES)).merge(more)

    def settle(self) -> None:
        """Bring what ran alone into the histograms."""
        for (rows, size), times in self.alone.items():
            self.add((rows,), (0.0,), size, times)
        self.alone.clear()


def _histogram(counts: Sequence[int], total: float) -> BucketCounts:
    found = BucketCounts(())
    found.counts, found.total = list(counts), total
    return found


class BatchingMetrics(Collector):
    """The metrics of all batches.

    Args:
        pool: value of the classic label `thread_pool_name`.
        outside: returns what was counted of batches elsewhere.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        pool: str,
        outside: Callable[[], Iterable[BatchCounts]] = tuple,
    ) -> None:
        self._outside = outside
        self._pool = pool
        self._lock = threading.Lock()
        self._series: dict[_Key, _Series] = {}
        registry.register(self)

    def observer(self, model: str, version: int) -> "VersionBatches":
        """Return what counts the batches of one version (`batching.model.BatchObserver`)."""
        return VersionBatches(self._lock, lambda signature: self._of(model, version, signature))

    def _of(self, model: str, version: int, signature: str) -> _Series:
        return self._series.setdefault((model, str(version), signature), _Series())

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield what the page shows (`prometheus_client`)."""
        with self._lock:
            every = self._every()
        yield from self._own(every)
        yield from self._classic(every)

    def _every(self) -> dict[_Key, _Series]:
        every: dict[_Key, _Series] = {}
        for key, series in self._series.items():
            series.settle()
            every.setdefault(key, _Series()).merge(series)
        for counts in self._outside():
            every.setdefault(counts.key, _Series()).merge(counts)
        return every

    def _own(self, every: Mapping[_Key, _Series]) -> Iterator[Metric]:
        names = ("model", "version", "signature")
        surplus = CounterMetricFamily(
            "slipway_batch_padding_rows", "Padding rows in batches.", labels=names
        )
        families = (
            ("slipway_batch_size", "Rows of a batch, including padding.", "size"),
            ("slipway_batch_request_size", "Rows of one request in a batch.", "input_size"),
            (
                "slipway_batch_wait_seconds",
                "Seconds from the arrival of a request to its run.",
                "wait",
            ),
        )
        for key, series in every.items():
            surplus.add_metric(key, series.surplus)
        yield surplus
        for name, text, attribute in families:
            yield histogram_family(
                name,
                text,
                names,
                ((key, getattr(series, attribute)) for key, series in every.items()),
            )

    def _classic(self, every: Mapping[_Key, _Series]) -> Iterator[Metric]:
        if not every:
            return
        runs = sum(series.runs for series in every.values())
        yield classic_counter_family(_CLASSIC + "wrapped_run_count", "Batches run.", [({}, runs)])
        wait, given, ran = BucketCounts(WAIT_MICROS), BucketCounts(SIZES), BucketCounts(SIZES)
        padding: dict[int, BucketCounts] = {}
        for series in every.values():
            wait.merge(series.wait_classic)
            given.merge(series.input_size)
            ran.merge(series.size)
            for size, histogram in series.padding.items():
                padding.setdefault(size, BucketCounts(SIZES)).merge(histogram)
        yield _classic_histogram(
            "queuing_latency",
            "Microseconds in the queue.",
            ("thread_pool_name",),
            [((self._pool,), wait)],
        )
        yield _classic_histogram("input_batch_size", "Rows of one request.", (), [((), given)])
        yield _classic_histogram("processed_batch_size", "Rows of a batch.", (), [((), ran)])
        yield _classic_histogram(
            "padding_size",
            "Padding rows of a batch.",
            ("execution_batch_size",),
            [((str(size),), histogram) for size, histogram in sorted(padding.items())],
        )


class VersionBatches:
    """Counts the batches of one version (`batching.model.BatchObserver`).

    A request that runs alone costs one look-up and one addition here; the rest waits for somebody to read.
    """

    def __init__(self, lock: threading.Lock, series: Callable[[str], _Series]) -> None:
        self._lock = lock
        self._new = series
        self._series: dict[str, _Series] = {}

    def waiting(self) -> None:
        """Return nothing: who asks does not matter here."""

    def ran(
        self,
        signature: str,
        requests: Sequence[int],
        waits: Sequence[float],
        size: int,
        callers: Sequence[object | None],  # noqa: ARG002 - for who traces requests
    ) -> None:
        """Count a batch."""
        with self._lock:
            self._at(signature).add(requests, waits, size)

    def ran_alone(self, signature: str, rows: int, size: int) -> None:
        """Count a request that ran at once and alone."""
        key = (rows, size)
        with self._lock:
            alone = self._at(signature).alone
            alone[key] = alone.get(key, 0) + 1

    def _at(self, signature: str) -> _Series:
        found = self._series.get(signature)
        if found is None:
            found = self._series[signature] = self._new(signature)
        return found


def _classic_histogram(
    name: str,
    text: str,
    labels: Sequence[str],
    series: Iterable[tuple[Sequence[str], BucketCounts]],
) -> Metric:
    return histogram_family(_CLASSIC + name, text, labels, series)
