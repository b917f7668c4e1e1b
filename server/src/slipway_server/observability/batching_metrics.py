"""Counts batches: TensorFlow Serving's names and Slipway's own, which know model, version and signature."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from slipway_server.markers import override
from slipway_server.observability.buckets import cumulative

_CLASSIC: Final = ":tensorflow:serving:batching_session:"
_SIZES: Final = tuple(float(2**power) for power in range(14))
_WAIT_MICROS: Final = tuple(100 * 1.2**power for power in range(52))
_WAIT_SECONDS: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
# Without allowed_batch_sizes every number of rows is a size of its own.
_MAX_EXECUTION_SIZES: Final = 128

_Key = tuple[str, str, str]


class _Histogram:
    __slots__ = ("counts", "limits", "total")

    def __init__(self, limits: Sequence[float]) -> None:
        self.limits = limits
        self.counts = [0] * (len(limits) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.limits, value)] += times
        self.total += value * times

    def plus(self, other: "_Histogram") -> "_Histogram":
        both = _Histogram(self.limits)
        both.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        both.total = self.total + other.total
        return both

    def buckets(self) -> list[tuple[str, float]]:
        return cumulative(self.limits, self.counts)


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
        self.size = _Histogram(_SIZES)
        self.input_size = _Histogram(_SIZES)
        self.wait = _Histogram(_WAIT_SECONDS)
        self.wait_classic = _Histogram(_WAIT_MICROS)
        self.padding: dict[int, _Histogram] = {}

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
            padding = self.padding[size] = _Histogram(_SIZES)
        if padding is not None:
            padding.add(surplus, times)

    def settle(self) -> None:
        """Bring what ran alone into the histograms."""
        for (rows, size), times in self.alone.items():
            self.add((rows,), (0.0,), size, times)
        self.alone.clear()


class BatchingMetrics(Collector):
    """The metrics of all batches.

    Args:
        pool: value of the classic label `thread_pool_name`.
    """

    def __init__(self, registry: CollectorRegistry, pool: str) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._series: dict[_Key, _Series] = {}
        registry.register(self)

    def observer(self, model: str, version: int) -> "_VersionObserver":
        """Return what counts the batches of one version (`batching.model.Observer`)."""
        return _VersionObserver(self._lock, lambda signature: self._of(model, version, signature))

    def _of(self, model: str, version: int, signature: str) -> _Series:
        return self._series.setdefault((model, str(version), signature), _Series())

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield what the page shows (`prometheus_client`)."""
        with self._lock:
            for series in self._series.values():
                series.settle()
            yield from list(self._own())
            yield from list(self._classic())

    def _own(self) -> Iterator[Metric]:
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
        for key, series in self._series.items():
            surplus.add_metric(key, series.surplus)
        yield surplus
        for name, text, attribute in families:
            family = HistogramMetricFamily(name, text, labels=names)
            for key, series in self._series.items():
                histogram: _Histogram = getattr(series, attribute)
                family.add_metric(key, histogram.buckets(), histogram.total)
            yield family

    def _classic(self) -> Iterator[Metric]:
        if not self._series:
            return
        runs = Metric(_CLASSIC + "wrapped_run_count", "Batches run.", "counter")
        runs.add_sample(
            _CLASSIC + "wrapped_run_count", {}, sum(one.runs for one in self._series.values())
        )
        yield runs
        wait, given, ran = _Histogram(_WAIT_MICROS), _Histogram(_SIZES), _Histogram(_SIZES)
        padding: dict[int, _Histogram] = {}
        for series in self._series.values():
            wait = wait.plus(series.wait_classic)
            given = given.plus(series.input_size)
            ran = ran.plus(series.size)
            for size, histogram in series.padding.items():
                padding[size] = padding.get(size, _Histogram(_SIZES)).plus(histogram)
        yield _family(
            "queuing_latency", "Microseconds in the queue.", "thread_pool_name", {self._pool: wait}
        )
        yield _family("input_batch_size", "Rows of one request.", "", {"": given})
        yield _family("processed_batch_size", "Rows of a batch.", "", {"": ran})
        sizes = {str(size): histogram for size, histogram in sorted(padding.items())}
        yield _family("padding_size", "Padding rows of a batch.", "execution_batch_size", sizes)


class _VersionObserver:
    """A request that runs alone costs one look-up and one addition here; the rest waits for somebody to read."""

    def __init__(self, lock: threading.Lock, series: Callable[[str], _Series]) -> None:
        self._lock = lock
        self._new = series
        self._series: dict[str, _Series] = {}

    def ran(
        self, signature: str, requests: Sequence[int], waits: Sequence[float], size: int
    ) -> None:
        with self._lock:
            self._at(signature).add(requests, waits, size)

    def ran_alone(self, signature: str, rows: int, size: int) -> None:
        key = (rows, size)
        with self._lock:
            alone = self._at(signature).alone
            alone[key] = alone.get(key, 0) + 1

    def _at(self, signature: str) -> _Series:
        found = self._series.get(signature)
        if found is None:
            found = self._series[signature] = self._new(signature)
        return found


def _family(
    name: str, text: str, label: str, histograms: dict[str, _Histogram]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(_CLASSIC + name, text, labels=(label,) if label else ())
    for value, histogram in histograms.items():
        family.add_metric((value,) if label else (), histogram.buckets(), histogram.total)
    return family
