"""Times what models do, apart from the requests around them: TensorFlow Serving's names and Slipway's own."""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from slipway_server.observability.buckets import CLASSIC_MICROSECONDS, cumulative

_CLASSIC: Final = ":tensorflow:serving:"
_SECONDS: Final = tuple(limit / 1e6 for limit in CLASSIC_MICROSECONDS)
_EXAMPLES: Final = tuple(2**power for power in range(15))
_MAX_SERIES: Final = 10_000

_Key = tuple[str, str, int, str]
"""Method, model, version, signature."""


class _Histogram:
    __slots__ = ("counts", "limits", "lock", "total")

    def __init__(self, limits: Sequence[float]) -> None:
        self.limits = limits
        self.counts = [0] * (len(limits) + 1)
        self.total = 0.0
        self.lock = threading.Lock()

    def add(self, value: float) -> None:
        bucket = bisect_left(self.limits, value)
        with self.lock:
            self.counts[bucket] += 1
            self.total += value

    def merge(self, other: "_Histogram") -> None:
        with other.lock:
            self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
            self.total += other.total

    def buckets(self, limits: Sequence[float]) -> list[tuple[str, float]]:
        return cumulative(limits, self.counts)


class RunMetrics(Collector):
    """Counts and times the runs of models (`inference.predictor.RunObserver`)."""

    clock = staticmethod(time.perf_counter)

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs: dict[_Key, _Histogram] = {}
        self._examples: dict[str, _Histogram] = {}
        registry.register(self)

    def ran(
        self,
        method: str,
        model: str,
        version: int,
        signature: str,
        seconds: float,
        examples: int | None = None,
    ) -> None:
        """Take note of a run that succeeded; `examples` are those of Classify and its like."""
        key = (method, model, version, signature)
        runs = self._runs.get(key)
        if runs is None:
            if len(self._runs) >= _MAX_SERIES:
                key = (method, model, 0, "")
            # setdefault is atomic: of two threads that meet a new key, both get the same histogram.
            runs = self._runs.setdefault(key, _Histogram(_SECONDS))
        runs.add(seconds)
        if examples is not None:
            self._examples.setdefault(model, _Histogram(_EXAMPLES)).add(examples)

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield what the page shows (`prometheus_client`)."""
        own = HistogramMetricFamily(
            "slipway_run_seconds",
            "Seconds that the model itself took, waiting for a batch included.",
            labels=("model", "version", "signature", "method"),
        )
        classic: dict[tuple[str, str], _Histogram] = {}
        for (method, model, version, signature), runs in list(self._runs.items()):
            labels = (model, str(version) if version else "", signature, method)
            own.add_metric(labels, runs.buckets(_SECONDS), runs.total)
            classic.setdefault((model, method), _Histogram(_SECONDS)).merge(runs)
        yield own
        runtime = HistogramMetricFamily(
            _CLASSIC + "runtime_latency",
            "Microseconds that the model itself took.",
            labels=("model_name", "API", "runtime"),
        )
        for (model, method), runs in classic.items():
            runtime.add_metric(
                (model, method, "TF1"), runs.buckets(CLASSIC_MICROSECONDS), runs.total * 1e6
            )
        yield runtime
        yield from self._example_counts()

    def _example_counts(self) -> Iterator[Metric]:
        counts = HistogramMetricFamily(
            _CLASSIC + "request_example_counts", "Examples of one request.", labels=("model",)
        )
        total = Metric(_CLASSIC + "request_example_count_total", "Examples.", "counter")
        for model, examples in list(self._examples.items()):
            counts.add_metric((model,), examples.buckets(_EXAMPLES), examples.total)
            total.add_sample(
                _CLASSIC + "request_example_count_total", {"model": model}, examples.total
            )
        yield counts
        yield total
