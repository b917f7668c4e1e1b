"""The native gRPC port: what `frontends.rpc.transport.server.RpcServer` does with grpcio, with the extension module."""

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, cast

import grpc

from slipway_server.errors import invalid_argument
from slipway_server.frontends.native.context import AbortedError, CallContext
from slipway_server.frontends.native.module import native_module
from slipway_server.frontends.native.versions import NativeVersions
from slipway_server.frontends.rpc.transport.compression import Decompression
from slipway_server.frontends.rpc.transport.health import SERVICE_NAMES
from slipway_server.frontends.rpc.transport.limits import RpcLimits
from slipway_server.frontends.rpc.transport.server import GRPC_STATUS, RpcMethod, RpcStream
from slipway_server.frontends.tls import TlsConfig, client_roots
from slipway_server.observability.histogram import CLASSIC_MICROSECONDS
from slipway_server.observability.telemetry import SECONDS

_log: Final = logging.getLogger(__name__)

_UNKNOWN: Final = 2
_Answer = Callable[[bytes, grpc.ServicerContext], list[bytes]]


class NativeRpcServer:
    """TensorFlow Serving's services and `grpc.health.v1` on the native port.

    Attributes:
        versions: where the versions that Predict runs without Python are told of.

    Args:
        early: methods that are in place from the beginning and answer also under overload.
        tensor_content: write Predict outputs as `tensor_content`.

    Raises:
        ServingError: the installation lacks the extension module.
    """

    def __init__(
        self,
        limits: RpcLimits,
        early: Mapping[str, RpcMethod],
        *,
        tensor_content: bool,
    ) -> None:
        self._decompression = Decompression(
            limits.message, limits.decompressed, GRPC_STATUS.__getitem__
        )
        self._answers: dict[str, _Answer] = {}
        self._add(early)
        # Some may wait even where little is allowed: between its arrival and its thread every request waits.
        waiting = max(limits.inflight - limits.threads, limits.threads)
        self._front = native_module()(
            self._answer,
            list(early),
            threads=limits.threads,
            inflight=waiting + limits.threads,
            message=limits.message,
            held=limits.held,
            streams=limits.streams,
            connections=limits.connections,
            age=limits.age,
            age_grace=limits.age_grace,
            workers=len(os.sched_getaffinity(0)),
            tensor_content=tensor_content,
            seconds=SECONDS,
            classic_microseconds=CLASSIC_MICROSECONDS,
        )
        self.versions = NativeVersions(self._front)
        self.set_health(("", *SERVICE_NAMES), serving=False)

    def listen(self, addresses: Iterable[str]) -> None:
        """Listen on addresses, `[::]:8500` or `unix:/run/serving.sock`; clients wait until `start`.

        Raises:
            OSError: an address cannot be listened on.
        """
        for text in addresses:
            path = text.removeprefix("unix:")
            try:
                if path != text:
                    self._front.bind_unix(path)
                else:
                    self._front.bind_tcp(int(text.rpartition(":")[2]))
            except OSError as error:
                raise OSError(f"Cannot listen on {text} for gRPC: {error}") from error

    def use_certificate(self, config: TlsConfig) -> None:
        """Open new connections with TLS, or with another certificate.

        Raises:
            ServingError: INVALID_ARGUMENT when it cannot be used; nothing has changed then.
        """
        roots = client_roots(config)
        if config.client_verify and roots is None:
            raise invalid_argument(
                "client_verify needs custom_ca (--front=native): this machine has no list of certificates"
            )
        try:
            self._front.set_tls(config.key, config.chain, roots, not config.ca)
        except ValueError as error:
            raise invalid_argument(f"{error} (--front=native)") from error

    @property
    def waiting(self) -> int:
        """Inference requests that no thread has taken yet."""
        return self._front.waiting

    @property
    def requests(self) -> int:
        """Number of calls since the start, without those of the early methods and of health."""
        return self._front.requests

    def start(self) -> None:
        """Begin to answer: health at once, everything else UNAVAILABLE until `serve`."""
        self._front.start()

    def serve(
        self,
        methods: Mapping[str, RpcMethod],
        status_methods: Collection[str] = (),
        reload_methods: Collection[str] = (),
        streams: Mapping[str, RpcStream] = MappingProxyType({}),
    ) -> None:
        """Put the methods in place (`RpcServer.serve`)."""
        self._add(methods)
        for path, stream in streams.items():
            self._answers[path] = _exchange(self._decompression.around_stream(stream))
        self._front.serve(
            [path for path in methods if path not in {*status_methods, *reload_methods}],
            [path for path in methods if path in status_methods],
            [path for path in methods if path in reload_methods],
            list(streams),
        )

    def set_health(self, services: Iterable[str], *, serving: bool) -> None:
        """Set the health status of services."""
        self._front.set_health(list(services), serving)

    def enter_shutdown(self) -> None:
        """Set every service to NOT_SERVING for good."""
        self._front.enter_shutdown()

    def stop(self, grace: float) -> None:
        """Take no new connection, wait up to `grace` seconds for the calls in flight, then cut them."""
        self._front.stop(grace)

    def _add(self, methods: Mapping[str, RpcMethod]) -> None:
        self._answers |= {
            path: _single(self._decompression.around(method)) for path, method in methods.items()
        }

    def _answer(
        self,
        path: str,
        message: bytes,
        peer: str,
        metadata: list[tuple[str, str]],
        left: float | None,
        certificate: bytes | None,
    ) -> list[bytes] | tuple[int, str]:
        """Answer a call; on a thread of the extension module."""
        context = cast("grpc.ServicerContext", CallContext(peer, metadata, left, certificate))
        try:
            return self._answers[path](message, context)
        except AbortedError as end:
            return end.code, end.details
        except Exception as error:  # noqa: BLE001 - the client hears of it as a status
            _log.exception("a gRPC method failed")
            return _UNKNOWN, f"Exception calling application: {error}"


def _single(method: RpcMethod) -> _Answer:
    def answer(message: bytes, context: grpc.ServicerContext) -> list[bytes]:
        return [method(message, context)]

    return answer


def _exchange(stream: RpcStream) -> _Answer:
    """Return what answers one message of a stream: each of them stands for itself."""

    def answer(message: bytes, context: grpc.ServicerContext) -> list[bytes]:
        messages: Iterator[bytes] = iter((message,))
        return list(stream(messages, context))

    return answer
