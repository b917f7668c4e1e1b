"""`grpc.health.v1` on threads of its own: it answers while every other thread is busy."""

from collections.abc import Iterable
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from slipway_server.frontends.rpc.pools import Pool, on_pool

SERVICE_NAMES: Final = (
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "inference.GRPCInferenceService",
    # TensorFlow Serving's own health service uses the bare names.
    "PredictionService",
    "ModelService",
)
_WATCH_THREADS: Final = 2


class Health:
    """Health of the server as a whole (the empty name), of its services and of each model by name.

    Args:
        pool: runs the checks.
    """

    def __init__(self, server: grpc.Server, pool: Pool) -> None:
        self._servicer = health.HealthServicer(
            experimental_thread_pool=Pool(_WATCH_THREADS, thread_name_prefix="health-watch")
        )
        self._servicer.Check = on_pool(pool, self._servicer.Check)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        self.set(("", *SERVICE_NAMES), serving=False)

    def set(self, services: Iterable[str], *, serving: bool) -> None:
        """Say of services whether they serve."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in services:
            self._servicer.set(service, status)

    def enter_shutdown(self) -> None:
        """Set every service to NOT_SERVING for good."""
        self._servicer.enter_graceful_shutdown()
