"""`grpc.health.v1`: it answers while every thread for inference is busy."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from slipway_server.frontends.rpc.transport.compression import Decompression

SERVICE_NAMES: Final = (
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "inference.GRPCInferenceService",
    # TensorFlow Serving's own health service uses the bare names.
    "PredictionService",
    "ModelService",
)
_SERVICE: Final = "grpc.health.v1.Health"
_WATCH_THREADS: Final = 2


class Health:
    """Health of the server as a whole (the empty name), of its services and of each model by name.

    `Watch` has threads of its own; it keeps none while nothing changes.

    Attributes:
        methods: `Check` by path, which takes and returns bytes: so a client that does not finish sending keeps no
            thread (`workers`).
    """

    def __init__(self, server: grpc.Server, decompression: Decompression) -> None:
        self._servicer = health.HealthServicer(
            experimental_thread_pool=ThreadPoolExecutor(
                _WATCH_THREADS, thread_name_prefix="health-watch"
            )
        )
        watch = grpc.unary_stream_rpc_method_handler(
            self._servicer.Watch,
            request_deserializer=lambda data: health_pb2.HealthCheckRequest.FromString(
                decompression.read(data)
            ),
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE, {"Watch": watch}),)
        )
        self.methods: dict[str, Callable[[bytes, grpc.ServicerContext], bytes]] = {
            f"/{_SERVICE}/Check": self._check
        }
        self.set(("", *SERVICE_NAMES), serving=False)

    def _check(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            request = health_pb2.HealthCheckRequest.FromString(data)
        except DecodeError:
            context.abort(
                grpc.StatusCode.INTERNAL, "The request is not a HealthCheckRequest message"
            )
        return bytes(self._servicer.Check(request, context).SerializeToString())

    def set(self, services: Iterable[str], *, serving: bool) -> None:
        """Set the health status of services."""
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
