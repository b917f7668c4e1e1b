"""Times what models do, apart from the requests around them: TensorFlow Serving's names and Slipway's own."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from slipway_server.observability.families import classic_counter_family, histogram_family
from slipway_server.observability.histogram import CLASSIC_MICROSECONDS, BucketCounts
from slipway_server.observability.telemetry import OutsideCounts

_CLASSIC: Final = ":tensorflow:serving:"
_SECONDS: Final = tuple(limit / 1e6 for limit in CLASSIC_MICROSECONDS)
_EXAMPLES: Final = tuple(2**power for power in range(15))
_MAX_SERIES: Final = 10_000

_Key = tuple[str, str, int, str]
"""Method, model, version, signature."""


class _SharedCounts(BucketCounts):
    """Added to by all threads that run models."""

    __slots__ = ("lock",)

    def __init__(self, limits: Sequence[float]) -> None:
        super().__init__(limits)
        self.lock = threading.Lock()

    @override
    def add(self, value: float, times: int = 1) -> None:
        with self.lock:
            super().add(value, times)


class RunMetrics(Collector):
    """Counts and times the runs of models (`inference.predictor.RunObserver`).

    Args:
        outside: returns what was counted elsewhere; the page adds it.
    """

    clock = staticmethod(time.perf_counter)

    def __init__(self, registry: CollectorRegistry, outside: OutsideCounts = tuple) -> None:
        self._outside = outside
        self._runs: dict[_Key, _SharedCounts] = {}
        self._examples: dict[str, _SharedCounts] = {}
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
            runs = self._runs.setdefault(key, _SharedCounts(_SECONDS))
        runs.add(seconds)
        if examples is not None:
            self._examples.setdefault(model, _SharedCounts(_EXAMPLES)).add(examples)

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield what the page shows (`prometheus_client`)."""
        own: list[tuple[tuple[str, ...], BucketCounts]] = []
        classic: dict[tuple[str, str], BucketCounts] = {}
        known: dict[_Key, _SharedCounts] = dict(self._runs)
        for counts in self._outside():
            if not sum(counts.runs):
                continue
            key = ("Predict", counts.model, counts.version, counts.signature)
            both = _SharedCounts(_SECONDS)
            both.counts, both.total = list(counts.runs), counts.run_total
            if here := known.get(key):
                with here.lock:
                    both.merge(here)
            known[key] = both
        for (method, model, version, signature), runs in known.items():
            own.append(((model, str(version) if version else "", signature, method), runs))
            # The same buckets in another unit.
            merged = classic.setdefault((model, method), BucketCounts(CLASSIC_MICROSECONDS))
            with runs.lock:
                merged.merge(runs)
        for merged in classic.values():
            merged.total *= 1e6
        yield histogram_family(
            "slipway_run_seconds",
            "Seconds that the model itself took, waiting for a batch included.",
            ("model", "version", "signature", "method"),
            own,
        )
        yield histogram_family(
            _CLASSIC + "runtime_latency",
            "Microseconds that the model itself took.",
            ("model_name", "API", "runtime"),
            [((model, method, "TF1"), merged) for (model, method), merged in classic.items()],
        )
        examples = list(self._examples.items())
        yield histogram_family(
            _CLASSIC + "request_example_counts",
            "Examples of one request.",
            ("model",),
            [((model,), counts) for model, counts in examples],
        )
        yield classic_counter_family(
            _CLASSIC + "request_example_count_total",
            "Examples.",
            [({"model": model}, counts.total) for model, counts in examples],
        )
