"""Counts and times requests: TensorFlow Serving's metric names and Slipway's own, which know version and signature.

A request touches one lock and a few integers; both families of names are made of them when somebody reads the page.
"""

import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from slipway_server.errors import Code
from slipway_server.observability.families import classic_counter_family
from slipway_server.observability.histogram import CLASSIC_MICROSECONDS, cumulative

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_CLASSIC_COUNT: Final = ":tensorflow:serving:request_count"
_CLASSIC_LATENCY: Final = ":tensorflow:serving:request_latency"
_COUNTED_BY_CLASSIC_GRPC: Final = frozenset({"Predict", "Classify", "Regress"})
_OPEN_INFERENCE: Final = frozenset(
    {"Model", "ModelInfer", "ModelMetadata", "ModelReady", "ServerMetadata"}
)
"""Methods that TensorFlow Serving does not have."""
SECONDS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)


@dataclass(slots=True)
class Call:
    """One request on its way; the front end fills in what it learns.

    Attributes:
        deadline: seconds on `time.monotonic`; None when the client waits for ever.
    """

    method: str
    protocol: str
    started: float
    model: str = ""
    version: int = 0
    signature: str = ""
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class PredictCounts:
    """Predict calls over gRPC of one signature that were answered OK without coming by here.

    Attributes:
        seconds: how many fall into each bucket of `SECONDS`, the last one being the rest.
        classic: likewise for `CLASSIC_MICROSECONDS`.
        total: seconds, of all of them.
        runs: as `classic`, of the runs alone.
        run_total: seconds, of all runs.
    """

    model: str
    version: int
    signature: str
    seconds: Sequence[int]
    classic: Sequence[int]
    total: float
    runs: Sequence[int]
    run_total: float


OutsideCounts = Callable[[], Iterable[PredictCounts]]


@dataclass(frozen=True, slots=True)
class _Labels:
    model: str
    version: int
    signature: str
    method: str
    protocol: str


@dataclass(slots=True)
class _Series:
    """All requests of one kind that ended with one code.

    Attributes:
        total: seconds, of all of them.
        seconds: how many fall into each bucket of `SECONDS`, the last one being the rest; likewise `classic`.
    """

    count: int = 0
    total: float = 0.0
    seconds: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    classic: list[int] = field(default_factory=lambda: [0] * (len(CLASSIC_MICROSECONDS) + 1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seconds: float) -> None:
        bucket = bisect_left(SECONDS, seconds)
        classic = bisect_left(CLASSIC_MICROSECONDS, seconds * 1e6)
        with self.lock:
            self.count += 1
            self.total += seconds
            self.seconds[bucket] += 1
            self.classic[classic] += 1

    def merge(self, other: "_Series") -> None:
        with other.lock:
            self.count += other.count
            self.total += other.total
            self.seconds = [a + b for a, b in zip(self.seconds, other.seconds, strict=True)]
            self.classic = [a + b for a, b in zip(self.classic, other.classic, strict=True)]


class Telemetry:
    """The server's metrics.

    Args:
        known: whether a name is that of a configured model. Other names come from callers; as labels they would let
            anybody grow the process without bound.
        ended: called for every request that ended, with its seconds.
        outside: returns what was counted elsewhere; the page adds it.
    """

    def __init__(
        self,
        known: Callable[[str], bool],
        *,
        ended: Callable[[Call, Code, float], None] | None = None,
        outside: OutsideCounts = tuple,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._known = known
        self._ended = ended
        self._clock = clock
        self._requests = _RequestMetrics(outside)
        self.registry = CollectorRegistry()
        self.registry.register(self._requests)

    def begin(self, method: str, protocol: str) -> Call:
        """Start the clock of a request. `protocol` is GRPC or REST."""
        return Call(method, protocol, self._clock())

    def end(self, call: Call, code: Code) -> None:
        """Count a request and its time."""
        model = call.model if self._known(call.model) else ""
        key = (model, call.version, call.signature, call.method, call.protocol, code)
        seconds = self._clock() - call.started
        self._requests.series(key).add(seconds)
        if self._ended is not None:
            self._ended(call, code, seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return _classic_lines(generate_latest(self.registry))


def _classic_lines(text: bytes) -> bytes:
    """Write TensorFlow Serving's metrics as it does: without help, and counters by their plain names.

    The library adds `_total` to the name of every counter.
    """
    return _CLASSIC_COUNTER.sub(rb"\1 counter", _CLASSIC_HELP.sub(b"", text))


_CLASSIC_HELP: Final = re.compile(rb"^# HELP :tensorflow:.*\n", re.MULTILINE)
_CLASSIC_COUNTER: Final = re.compile(rb"^(# TYPE :tensorflow:\S+)_total counter$", re.MULTILINE)
_MAX_SERIES: Final = 10_000
"""Far more than real models have; a bound all the same."""


_Key = tuple[str, int, str, str, str, Code]


class _RequestMetrics(Collector):
    def __init__(self, outside: OutsideCounts) -> None:
        self._series: dict[_Key, _Series] = {}
        self._outside = outside

    def series(self, key: _Key) -> _Series:
        found = self._series.get(key)
        if found is None and len(self._series) >= _MAX_SERIES:
            key = (key[0], 0, "", *key[3:])
        # setdefault is atomic: of two threads that meet a new key, both get the same series.
        return found if found is not None else self._series.setdefault(key, _Series())

    @override
    def collect(self) -> Iterator[Metric]:
        known = dict(self._series)
        for counts in self._outside():
            if not sum(counts.seconds):
                continue
            key = (counts.model, counts.version, counts.signature, "Predict", "GRPC", Code.OK)
            both = _Series(
                sum(counts.seconds), counts.total, list(counts.seconds), list(counts.classic)
            )
            if here := known.get(key):
                both.merge(here)
            known[key] = both
        series = [(_Labels(*key[:-1]), key[-1], one) for key, one in known.items()]
        yield from _own(series)
        yield from _classic(series)


def _own(series: Sequence[tuple[_Labels, Code, _Series]]) -> Iterator[Metric]:
    names = ("model", "version", "signature", "method", "protocol")
    requests = CounterMetricFamily(
        "slipway_requests", "Requests answered, by status code.", labels=(*names, "code")
    )
    latency = HistogramMetricFamily(
        "slipway_request_seconds",
        "Seconds from a request's arrival to its answer, whatever the answer was.",
        labels=names,
    )
    merged: dict[_Labels, _Series] = {}
    for labels, code, one in series:
        requests.add_metric((*_values(labels), code.name), one.count)
        merged.setdefault(labels, _Series()).merge(one)
    for labels, one in merged.items():
        latency.add_metric(_values(labels), cumulative(SECONDS, one.seconds), one.total)
    yield requests
    yield latency


def _values(labels: _Labels) -> tuple[str, ...]:
    version = str(labels.version) if labels.version else ""
    return labels.model, version, labels.signature, labels.method, labels.protocol


def _classic(series: Sequence[tuple[_Labels, Code, _Series]]) -> Iterator[Metric]:
    """Over gRPC only inference is counted, over REST everything; latency is that of successful inference."""
    counts: dict[tuple[str, str], int] = {}
    latencies: dict[tuple[str, str, str], _Series] = {}
    for labels, code, one in series:
        rest = labels.protocol == "REST" and labels.method not in _OPEN_INFERENCE
        inference = labels.method in _COUNTED_BY_CLASSIC_GRPC
        if rest or inference:
            counts[labels.model, code.name] = counts.get((labels.model, code.name), 0) + one.count
        if inference and code is Code.OK:
            api = labels.method.lower() if rest else labels.method
            latencies.setdefault((labels.model, api, labels.protocol), _Series()).merge(one)
    latency = HistogramMetricFamily(
        _CLASSIC_LATENCY,
        "Microseconds of successful requests.",
        labels=("model_name", "API", "entrypoint"),
    )
    for key, one in latencies.items():
        latency.add_metric(key, cumulative(CLASSIC_MICROSECONDS, one.classic), one.total * 1e6)
    yield classic_counter_family(
        _CLASSIC_COUNT,
        "Requests, by status.",
        [
            ({"model_name": model, "status": status}, count)
            for (model, status), count in counts.items()
        ],
    )
    yield latency
