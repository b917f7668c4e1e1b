"""The gRPC port: open from the first moment, filled with methods once TensorFlow is there.

Nothing here imports TensorFlow, so that the port and the health service answer while it is still being imported.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import wraps
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
from typing_extensions import override

from slipway_server.errors import Code, ServingError, overloaded
from slipway_server.frontends.rpc.transport.arrivals import (
    ArrivalWatch,
    ArrivingBytes,
    received_bytes,
)
from slipway_server.frontends.rpc.transport.compression import Decompression
from slipway_server.frontends.rpc.transport.grpc_internals import UnaryCall
from slipway_server.frontends.rpc.transport.health import SERVICE_NAMES, Health
from slipway_server.frontends.rpc.transport.limits import RpcLimits, channel_options
from slipway_server.frontends.rpc.transport.workers import RpcWorkers, rpc_workers, warn_if_slow

RpcMethod = Callable[[bytes, grpc.ServicerContext], bytes]
RpcStream = Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]
"""A method with a stream of messages in both directions."""
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"

__all__ = ["GRPC_STATUS", "SERVICE_NAMES", "Address", "RpcMethod", "RpcServer", "RpcStream"]

_PREFIXES: Final = (
    "/tensorflow.serving.PredictionService/",
    "/tensorflow.serving.ModelService/",
    "/inference.GRPCInferenceService/",
    "/grpc.reflection.",
)
_STATUS_THREADS: Final = 4
_REFUSAL_THREADS: Final = 1
_STREAM_THREADS: Final = 4
"""Each is kept by one client for as long as its stream is open."""
GRPC_STATUS: Final = {Code(status.value[0]): status for status in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Address:
    """What to listen on, e.g. `[::]:8500` or `unix:/run/serving.sock`, with TLS or in the clear."""

    text: str
    tls: bool = False


class RpcServer:
    """TensorFlow Serving's services and `grpc.health.v1` on one gRPC server.

    Args:
        early: methods that are in place from the beginning and answer also under overload.
        credentials: makes those of an address with TLS.
        channel_arguments: further gRPC channel arguments.

    Raises:
        OSError: an address cannot be listened on.
    """

    def __init__(
        self,
        addresses: Iterable[Address],
        limits: RpcLimits,
        early: Mapping[str, RpcMethod] | None = None,
        *,
        credentials: Callable[[], grpc.ServerCredentials] | None = None,
        channel_arguments: Mapping[str, int | str] | None = None,
    ) -> None:
        warn_if_slow()
        arrivals = ArrivingBytes(max(limits.arriving, limits.message))
        self._pool = rpc_workers(limits.threads, held=limits.held, arrivals=arrivals)
        self._server = grpc.server(
            self._pool, options=channel_options(limits, channel_arguments or {})
        )
        decompression = Decompression(limits.message, limits.decompressed, GRPC_STATUS.__getitem__)
        self._health = Health(self._server, decompression)
        self._methods = _LateMethods(
            self._pool, limits, decompression, arrivals, {**(early or {}), **self._health.methods}
        )
        ports: set[int] = set()
        self._watch = ArrivalWatch(arrivals, self._methods.slow, lambda: received_bytes(ports))
        self._server.add_generic_rpc_handlers((self._methods,))
        for address in addresses:
            try:
                if address.tls and credentials is not None:
                    ports.add(self._server.add_secure_port(address.text, credentials()))
                else:
                    ports.add(self._server.add_insecure_port(address.text))
            except RuntimeError as error:
                raise OSError(f"Cannot listen on {address.text} for gRPC: {error}") from error

    @property
    def waiting(self) -> int:
        """Inference requests that no thread has taken yet."""
        return self._pool.waiting

    @property
    def requests(self) -> int:
        """Number of calls since the start, without those of the early methods."""
        return self._methods.calls

    def start(self) -> None:
        """Begin to answer: health at once, everything else UNAVAILABLE until `serve`."""
        self._server.start()
        self._watch.start()

    def serve(
        self,
        methods: Mapping[str, RpcMethod],
        status_methods: Collection[str] = (),
        reload_methods: Collection[str] = (),
        streams: Mapping[str, RpcStream] = MappingProxyType({}),
    ) -> None:
        """Put the methods in place.

        Args:
            methods: by path.
            status_methods: paths of those that answer also under overload.
            reload_methods: paths of those that may take minutes; they run one at a time, on a thread of their own.
            streams: methods with streams, by path; few are answered at a time, on threads of their own.
        """
        self._methods.bind(methods, status_methods, reload_methods, streams)

    def set_health(self, services: Iterable[str], *, serving: bool) -> None:
        """Set the health status of services."""
        self._health.set(services, serving=serving)

    def enter_shutdown(self) -> None:
        """Set every service to NOT_SERVING for good."""
        self._health.enter_shutdown()

    def stop(self, grace: float) -> None:
        """Refuse new calls, wait up to `grace` seconds for those in flight, then cancel them."""
        self._server.stop(grace).wait()
        self._watch.stop()


class _LateMethods(grpc.GenericRpcHandler):
    def __init__(
        self,
        pool: RpcWorkers,
        limits: RpcLimits,
        decompression: Decompression,
        arrivals: ArrivingBytes,
        early: Mapping[str, RpcMethod],
    ) -> None:
        self._pool = pool
        self._decompression = decompression
        self._status_pool = rpc_workers(_STATUS_THREADS, "rpc-status", arrivals=arrivals)
        # Some may wait even where little is allowed: between its arrival and its thread every request waits.
        self._max_waiting = max(limits.inflight - limits.threads, limits.threads)
        refusals = ThreadPoolExecutor(_REFUSAL_THREADS, thread_name_prefix="rpc-refusal")
        self._overloaded = _refusing(refusals, overloaded(self._max_waiting + limits.threads))
        self._starting = _refusing(
            refusals,
            ServingError(Code.UNAVAILABLE, "the server is starting: its models are not loaded yet"),
        )
        self.calls = 0
        self._early = frozenset(early)
        self._reload_pool = rpc_workers(1, "rpc-reload", arrivals=arrivals)
        self._stream_pool = rpc_workers(_STREAM_THREADS, "rpc-stream")
        self._pools = dict.fromkeys(early, self._status_pool)
        self._handlers = self._handlers_of(early)
        self._bound = False

    def bind(
        self,
        methods: Mapping[str, RpcMethod],
        status_methods: Collection[str],
        reload_methods: Collection[str],
        streams: Mapping[str, RpcStream],
    ) -> None:
        self._pools |= dict.fromkeys(status_methods, self._status_pool)
        self._pools |= dict.fromkeys(reload_methods, self._reload_pool)
        self._pools |= dict.fromkeys(streams, self._stream_pool)
        self._handlers |= self._handlers_of(methods)
        self._handlers |= {
            path: grpc.stream_stream_rpc_method_handler(
                on_pool(self._stream_pool, self._decompression.around_stream(stream))
            )
            for path, stream in streams.items()
        }
        self._bound = True

    def slow(self, before: float) -> list[tuple[UnaryCall, float]]:
        """Return the calls of all methods whose message was asked for before a moment and is not complete."""
        pools = (self._pool, self._status_pool, self._reload_pool)
        return [call for pool in pools for call in pool.slow(before)]

    def _handlers_of(self, methods: Mapping[str, RpcMethod]) -> dict[str, Handler]:
        # No (de)serializers: the handlers take and return bytes.
        plain = {path: self._decompression.around(method) for path, method in methods.items()}
        return {
            path: grpc.unary_unary_rpc_method_handler(
                on_pool(self._pools[path], method) if path in self._pools else method
            )
            for path, method in plain.items()
        }

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        path = handler_call_details.method
        self.calls += path not in self._early
        handler = self._handlers.get(path)
        if handler is None:
            return self._starting if not self._bound and path.startswith(_PREFIXES) else None
        pool = self._pools.get(path, self._pool)
        return handler if pool.has_room(self._max_waiting) else self._overloaded


def _refusing(pool: ThreadPoolExecutor, error: ServingError) -> Handler:
    """Return a handler that ends every call at once; as it takes a stream, it need not wait for the request."""
    status = GRPC_STATUS[error.code]

    def refuse(_requests: Iterator[bytes], context: grpc.ServicerContext) -> NoReturn:
        context.abort(status, error.message)

    return grpc.stream_unary_rpc_method_handler(on_pool(pool, refuse))


def on_pool(pool: ThreadPoolExecutor, behavior: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method's function marked to run on a pool of its own instead of the server's.

    gRPC reads the mark: `experimental_thread_pool`.
    """

    @wraps(behavior)
    def run(*arguments: Any) -> Any:
        return behavior(*arguments)

    cast("Any", run).experimental_thread_pool = pool
    return run
