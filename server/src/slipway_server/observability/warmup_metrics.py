"""Counts and times warm-ups, under TensorFlow Serving's names and Slipway's."""

from typing import Final

from prometheus_client import CollectorRegistry

from slipway_server.errors import Code, ServingError
from slipway_server.observability.families import Families
from slipway_server.observability.histogram import CLASSIC_MICROSECONDS

_SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class WarmUpMetrics:
    """What is known of warm-ups (`inference.warmup.WarmUpObserver`)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        declare = Families(registry)
        self._classic_latency = declare.histogram(
            ":tensorflow:serving:model_warmup_latency",
            "Microseconds that warming up a version took.",
            ("model_path", "status"),
            CLASSIC_MICROSECONDS,
        )
        self._classic_records = declare.gauge(
            ":tensorflow:serving:model_warmup_records_read",
            "Warm-up requests of a version that were run.",
            ("model_path", "status"),
        )
        self._seconds = declare.histogram(
            "slipway_model_warmup_seconds",
            "Seconds that warming up a version took, by outcome.",
            ("model", "outcome"),
            _SECONDS,
        )
        self._records = declare.counter(
            "slipway_model_warmup_records", "Warm-up requests that were run.", ("model",)
        )

    def warmed_up(
        self, model: str, path: str, records: int, seconds: float, error: ServingError | None
    ) -> None:
        """Count one warm-up, in seconds, with the number of its requests; None is success."""
        code = (error.code if error else Code.OK).name
        self._classic_latency.labels(path, code).observe(seconds * 1e6)
        self._classic_records.labels(path, code).set(records)
        self._seconds.labels(model, code).observe(seconds)
        self._records.labels(model).inc(records)
