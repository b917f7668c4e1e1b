"""Counts and times requests: TensorFlow Serving's metric names and Slipway's own, which know version and signature."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from slipway_server.errors import Code
from slipway_server.markers import override

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_CLASSIC_COUNT: Final = ":tensorflow:serving:request_count"
_CLASSIC_BUCKETS: Final = tuple(10 * 1.8**power for power in range(33))
_COUNTED_BY_CLASSIC_GRPC: Final = frozenset({"Predict", "Classify", "Regress"})
_SECONDS: Final = (
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
_LOAD_SECONDS: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(slots=True)
class Call:
    """One request on its way; the front end fills in what it learns."""

    method: str
    protocol: str
    started: float
    model: str = ""
    version: int = 0
    signature: str = ""


@dataclass(slots=True, eq=False)
class _ClassicCounter(Collector):
    """TensorFlow Serving's counter has no `_total` suffix, which the library would insist on."""

    values: dict[tuple[str, str], float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, model: str, status: str) -> None:
        with self.lock:
            self.values[model, status] = self.values.get((model, status), 0.0) + 1

    @override
    def collect(self) -> list[Metric]:
        metric = Metric(_CLASSIC_COUNT, "", "untyped")
        for (model, status), value in list(self.values.items()):
            metric.add_sample(_CLASSIC_COUNT, {"model_name": model, "status": status}, value)
        return [metric]


class Telemetry:
    """The server's metrics.

    Args:
        known: whether a name is that of a configured model. Other names come from callers; as labels they would let
            anybody grow the process without bound.
    """

    def __init__(
        self, known: Callable[[str], bool], *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._known = known
        self._clock = clock
        self.registry = CollectorRegistry()
        self._classic_count = _ClassicCounter()
        self.registry.register(self._classic_count)
        self._classic_latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds of successful requests.",
            ("model_name", "API", "entrypoint"),
            buckets=_CLASSIC_BUCKETS,
            registry=self.registry,
        )
        names = ("model", "version", "signature", "method", "protocol")
        self._requests = Counter(
            "slipway_requests",
            "Requests answered, by status code.",
            (*names, "code"),
            registry=self.registry,
        )
        self._latency = Histogram(
            "slipway_request_seconds",
            "Seconds from a request's arrival to its answer, whatever the answer was.",
            names,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._load_seconds = Histogram(
            "slipway_model_load_seconds",
            "Seconds that loading a version took, by outcome.",
            ("model", "outcome"),
            buckets=_LOAD_SECONDS,
            registry=self.registry,
        )
        self._state = Gauge(
            "slipway_model_version_state",
            "State of a version: 10 start, 20 loading, 30 available, 40 unloading, 50 end.",
            ("model", "version"),
            registry=self.registry,
        )
        self._children: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}
        self._classic_children: dict[tuple[str, str, str], Histogram] = {}

    def begin(self, method: str, protocol: str) -> Call:
        """Start the clock of a request. `protocol` is GRPC or REST."""
        return Call(method, protocol, self._clock())

    def end(self, call: Call, code: Code) -> None:
        """Count a request and its time."""
        seconds = self._clock() - call.started
        model = call.model if self._known(call.model) else ""
        version = str(call.version) if call.version else ""
        key = (model, version, call.signature, call.method, call.protocol, code.name)
        found = self._children.get(key)
        if found is None:
            found = (self._requests.labels(*key), self._latency.labels(*key[:-1]))
            self._children[key] = found
        found[0].inc()
        found[1].observe(seconds)
        if call.protocol == "REST" or call.method in _COUNTED_BY_CLASSIC_GRPC:
            self._count_classic(call, model, code, seconds)

    def loaded(self, model: str, seconds: float, outcome: str) -> None:
        """Record a load; `outcome` is a status code's name."""
        self._load_seconds.labels(model, outcome).observe(seconds)

    def state(self, model: str, version: int, state: int) -> None:
        """Record the state of a version, by its wire number."""
        self._state.labels(model, str(version)).set(state)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        text = generate_latest(self.registry)
        return text.replace(
            f"{_CLASSIC_COUNT} untyped".encode(), f"{_CLASSIC_COUNT} counter".encode()
        )

    def _count_classic(self, call: Call, model: str, code: Code, seconds: float) -> None:
        self._classic_count.count(model, code.name)
        if code is not Code.OK or call.method not in _COUNTED_BY_CLASSIC_GRPC:
            return
        rest = call.protocol == "REST"
        labels = (model, call.method.lower() if rest else call.method, call.protocol)
        child = self._classic_children.get(labels)
        if child is None:
            child = self._classic_latency.labels(*labels)
            self._classic_children[labels] = child
        child.observe(seconds * 1e6)
