"""Who batches, and who is told of the batches, as the settings ask for it."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from slipway_server.batching.model import BatchObserver
from slipway_server.batching.native import NativeQueues
from slipway_server.loading.chain import batching_parameters
from slipway_server.observability.batching_metrics import BatchingMetrics
from slipway_server.observability.tracing import TracedBatches, Tracing
from slipway_server.settings.server import Settings


def native_queues(settings: Settings, *, wanted: bool) -> NativeQueues | None:
    """Return the queues for what the extension module batches; None when they are not wanted, or nothing is batched.

    Raises:
        ServingError: the parameters cannot be used.
    """
    if not wanted or not settings.batching:
        return None
    return NativeQueues(batching_parameters(settings).num_batch_threads)


def batch_observers(
    settings: Settings,
    registry: CollectorRegistry,
    tracing: Tracing | None,
    queues: NativeQueues | None,
) -> Callable[[str, int], BatchObserver] | None:
    """Return who is told of the batches of a model and a version; None when nothing is batched.

    Raises:
        ServingError: the parameters cannot be used.
    """
    if not settings.batching:
        return None
    pool = batching_parameters(settings).thread_pool_name
    counted = BatchingMetrics(registry, pool, queues.counts if queues else tuple)
    if tracing is None:
        return counted.observer
    return lambda model, number: TracedBatches(counted.observer(model, number), tracing)
