"""The gRPC port: open from the first moment, filled with methods once TensorFlow is there.

Nothing here imports TensorFlow, so that the port and the health service answer while it is still being imported.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from slipway_server.markers import override

Method = Callable[[bytes, grpc.ServicerContext], bytes]

SERVICE_NAMES: Final = (
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    # TensorFlow Serving's own health service uses the bare names.
    "PredictionService",
    "ModelService",
)
_PREFIXES: Final = ("/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/")
_HEALTH_WATCH_THREADS: Final = 2


class RpcServer:
    """TensorFlow Serving's services and `grpc.health.v1` on one gRPC server.

    Args:
        addresses: what to listen on, e.g. `[::]:8500` or `unix:/run/serving.sock`.
        max_threads: requests worked on at a time.
        max_connection_age: seconds after which a connection is asked to reconnect; what it carries finishes.
        channel_arguments: further gRPC channel arguments.

    Raises:
        OSError: an address cannot be listened on.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        *,
        max_threads: int,
        max_connection_age: float,
        channel_arguments: Mapping[str, int | str] | None = None,
    ) -> None:
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # Two servers on one port would share its connections without anybody noticing.
            ("grpc.so_reuseport", 0),
            ("grpc.max_connection_age_ms", round(max_connection_age * 1000)),
        ]
        options.extend((channel_arguments or {}).items())
        self._pool = ThreadPoolExecutor(max_threads, thread_name_prefix="rpc")
        self._server = grpc.server(self._pool, options=options)
        self._methods = _LateMethods()
        self._server.add_generic_rpc_handlers((self._methods,))
        self._health = health.HealthServicer(
            experimental_thread_pool=ThreadPoolExecutor(
                _HEALTH_WATCH_THREADS, thread_name_prefix="health"
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.set_health(("", *SERVICE_NAMES), serving=False)
        for address in addresses:
            try:
                self._server.add_insecure_port(address)
            except RuntimeError as error:
                raise OSError(f"Cannot listen on {address} for gRPC: {error}") from error

    def start(self) -> None:
        """Begin to answer: health at once, everything else UNAVAILABLE until `serve`."""
        self._server.start()

    def serve(self, methods: Mapping[str, Method]) -> None:
        """Put the methods in place, by path."""
        self._methods.bind(methods)

    def set_health(self, services: Iterable[str], *, serving: bool) -> None:
        """Say of services whether they serve."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in services:
            self._health.set(service, status)

    def enter_shutdown(self) -> None:
        """Set every service to NOT_SERVING for good."""
        self._health.enter_graceful_shutdown()

    def stop(self, grace: float) -> None:
        """Refuse new calls, wait up to `grace` seconds for those in flight, then cancel them."""
        self._server.stop(grace).wait()


class _LateMethods(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
        self._bound = False
        self._starting: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            _starting
        )

    def bind(self, methods: Mapping[str, Method]) -> None:
        # No (de)serializers: the handlers take and return bytes.
        self._handlers = {
            path: grpc.unary_unary_rpc_method_handler(method) for path, method in methods.items()
        }
        self._bound = True

    @override
    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        path = handler_call_details.method
        if not self._bound and path.startswith(_PREFIXES):
            return self._starting
        return self._handlers.get(path)


def _starting(_request: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(
        grpc.StatusCode.UNAVAILABLE, "The server is starting; its models are not loaded yet"
    )
