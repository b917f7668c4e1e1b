"""§11: the metrics of batches under both families of names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from slipway_server.observability.batching_metrics import (
    SIZES,
    WAIT_MICROS,
    WAIT_SECONDS,
    BatchCounts,
    BatchingMetrics,
)

CLASSIC = ":tensorflow:serving:batching_session:"


def test_batches_are_counted() -> None:
    registry = CollectorRegistry()
    observer = BatchingMetrics(registry, "pool").observer("m", 3)
    observer.ran("s", [1, 2], [0.0, 0.5], 4, [None, None])
    for _ in range(2):
        observer.ran_alone("s", 1, 1)
    labels = {"model": "m", "version": "3", "signature": "s"}

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(name, more)

    for _ in range(2):  # reading changes nothing
        assert value("slipway_batch_padding_rows_total", **labels) == 1
        assert value("slipway_batch_size_count", **labels) == 3
        assert value("slipway_batch_size_sum", **labels) == 6
        assert value("slipway_batch_request_size_count", **labels) == 4
        assert value("slipway_batch_request_size_sum", **labels) == 5
        assert value("slipway_batch_wait_seconds_sum", **labels) == 0.5
        assert value("slipway_batch_wait_seconds_bucket", **labels, le="0.25") == 3
        assert value(CLASSIC + "wrapped_run_count") == 3
        assert value(CLASSIC + "processed_batch_size_sum") == 6
        assert value(CLASSIC + "input_batch_size_count") == 4
        assert value(CLASSIC + "queuing_latency_sum", thread_pool_name="pool") == 500_000
        assert value(CLASSIC + "padding_size_sum", execution_batch_size="4") == 1
        assert value(CLASSIC + "padding_size_count", execution_batch_size="1") == 2


def test_nothing_batched_is_nothing_said_under_the_classic_names() -> None:
    registry = CollectorRegistry()
    BatchingMetrics(registry, "pool")
    assert registry.get_sample_value(CLASSIC + "wrapped_run_count") is None


def test_batches_that_ran_elsewhere_are_added() -> None:
    registry = CollectorRegistry()

    def counts(limits: int, value: float) -> tuple[list[int], float]:
        return [1, *[0] * limits], value

    elsewhere = BatchCounts(
        ("m", "3", "s"),
        1,
        2,
        [
            counts(len(SIZES), 4.0),
            counts(len(SIZES), 2.0),
            counts(len(WAIT_SECONDS), 0.25),
            counts(len(WAIT_MICROS), 250_000.0),
        ],
        [(4, counts(len(SIZES), 2.0))],
    )

    metrics = BatchingMetrics(registry, "pool", lambda: [elsewhere])
    metrics.observer("m", 3).ran("s", [1], [0.5], 4, [None])
    labels = {"model": "m", "version": "3", "signature": "s"}

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(name, more)

    for _ in range(2):  # reading changes nothing
        assert value("slipway_batch_padding_rows_total", **labels) == 3 + 2
        assert value("slipway_batch_size_count", **labels) == 2
        assert value("slipway_batch_size_sum", **labels) == 8
        assert value("slipway_batch_wait_seconds_sum", **labels) == 0.75
        assert value(CLASSIC + "wrapped_run_count") == 2
        assert value(CLASSIC + "queuing_latency_sum", thread_pool_name="pool") == 750_000
        assert value(CLASSIC + "padding_size_sum", execution_batch_size="4") == 3 + 2
        assert value(CLASSIC + "padding_size_count", execution_batch_size="4") == 2
