"""Tells of versions and what they cost: state, load time, memory, requests in flight."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from slipway_server.core.states import Availability, VersionState
from slipway_server.errors import Code
from slipway_server.observability.families import Families

_LOAD_SECONDS: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_CLASSIC: Final = ":tensorflow:cc:saved_model:"
_VERSION: Final = ("model", "version")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

VersionKey = tuple[str, int]


def resident_bytes() -> int:
    """Return the memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE


@dataclass(slots=True)
class _Load:
    """A load under way.

    Attributes:
        alone: whether no other load was under way at any time; only then is the memory that came this version's.
    """

    since: float
    resident: int
    alone: bool


class LoadMetrics:
    """Follows the versions' states.

    Args:
        estimated: the bytes that a version in a directory is taken to need.
        resident: the process's memory now, in bytes.
        clock: seconds.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        estimated: Callable[[str], int],
        resident: Callable[[], int] = resident_bytes,
        clock: Callable[[], float],
    ) -> None:
        self._estimated = estimated
        self._resident = resident
        self._clock = clock
        # States are published on the threads that load.
        self._lock = threading.Lock()
        self._loads: dict[VersionKey, _Load] = {}
        declare = Families(registry)
        self._state = declare.gauge(
            "slipway_model_version_state",
            "State of a version: 10 start, 20 loading, 30 available, 40 unloading, 50 end.",
            _VERSION,
        )
        self._seconds = declare.histogram(
            "slipway_model_load_seconds",
            "Seconds that loading a version took, warm-up and retries included, by outcome.",
            ("model", "outcome"),
            _LOAD_SECONDS,
        )
        self._last_seconds = declare.gauge(
            "slipway_model_version_load_seconds",
            "Seconds that loading this version took.",
            _VERSION,
        )
        self._memory = declare.gauge(
            "slipway_model_version_resident_bytes",
            "Memory of a version. source=measured: what the process grew by during its load; source=estimated, where "
            "other loads ran at the same time: 1.2 times its files.",
            (*_VERSION, "source"),
        )
        self._attempts = declare.classic_counter(
            _CLASSIC + "load_attempt_count", "Loads of SavedModels.", ("model_path", "status")
        )
        self._latency = declare.classic_counter(
            _CLASSIC + "load_latency", "Microseconds of loads that succeeded.", ("model_path",)
        )
        ProcessCollector(registry=registry)

    def changed(self, state: VersionState, path: str) -> None:
        """Take note of a version's new state; `path` is its directory."""
        key = (state.model, state.version)
        labels = (state.model, str(state.version))
        self._state.labels(*labels).set(int(state.availability))
        with self._lock:
            if state.availability is Availability.LOADING:
                self._begin(key)
                return
            load = self._loads.pop(key, None)
        if state.availability is Availability.AVAILABLE and load is not None:
            self._loaded(labels, load, path)
        elif state.availability is Availability.END:
            if load is not None:
                self._failed(labels, load, path, state)
            self._forget(labels)

    def _begin(self, key: VersionKey) -> None:
        if key in self._loads:  # another attempt
            return
        for other in self._loads.values():
            other.alone = False
        self._loads[key] = _Load(self._clock(), self._resident(), not self._loads)

    def _loaded(self, labels: tuple[str, str], load: _Load, path: str) -> None:
        seconds = self._clock() - load.since
        self._seconds.labels(labels[0], Code.OK.name).observe(seconds)
        self._last_seconds.labels(*labels).set(seconds)
        self._attempts.labels(path, "success").inc()
        self._latency.labels(path).inc(seconds * 1e6)
        grown = self._resident() - load.resident
        if load.alone and grown > 0:
            self._memory.labels(*labels, "measured").set(grown)
        else:
            with suppress(OSError):  # the files may be gone; the version is in memory
                estimated = self._estimated(path)
                self._memory.labels(*labels, "estimated").set(estimated)

    def _failed(self, labels: tuple[str, str], load: _Load, path: str, state: VersionState) -> None:
        code = state.error.code if state.error else Code.CANCELLED
        self._seconds.labels(labels[0], code.name).observe(self._clock() - load.since)
        self._attempts.labels(path, "fail").inc()

    def _forget(self, labels: tuple[str, str]) -> None:
        for source in ("measured", "estimated"):
            self._memory.remove(*labels, source)
        self._last_seconds.remove(*labels)


class InFlight(Collector):
    """Shows how many requests use each version, and how many wait at each port.

    Args:
        users: version → requests that use it, asked whenever somebody reads the page.
        ports: port → requests that wait for a thread.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        users: Callable[[], Mapping[VersionKey, int]],
        ports: Callable[[], Mapping[str, int]],
    ) -> None:
        self._users = users
        self._ports = ports
        registry.register(self)

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield what the page shows (`prometheus_client`)."""
        inflight = GaugeMetricFamily(
            "slipway_requests_in_flight", "Requests that use a version now.", labels=_VERSION
        )
        for (model, version), count in self._users().items():
            inflight.add_metric((model, str(version)), count)
        yield inflight
        waiting = GaugeMetricFamily(
            "slipway_requests_waiting", "Requests that wait for a thread.", labels=("protocol",)
        )
        for port, count in self._ports().items():
            waiting.add_metric((port,), count)
        yield waiting
