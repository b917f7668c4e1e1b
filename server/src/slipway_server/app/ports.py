"""Everything that listens: REST, health pages, gRPC, the UNIX socket; and the certificate they share."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slipway_server.app.drain import Clients
from slipway_server.app.sockets import client_peers
from slipway_server.frontends.http.connection import ConnectionLimits
from slipway_server.frontends.http.cors import CORS_HEADERS, cors_headers
from slipway_server.frontends.http.messages import HttpHandler, HttpResponse
from slipway_server.frontends.http.server import RestLimits, RestServer
from slipway_server.frontends.oip import server_metadata
from slipway_server.frontends.rpc.transport.unix_socket import UnixSocket
from slipway_server.settings.command_line import version
from slipway_server.settings.server import NATIVE, Settings

if TYPE_CHECKING:
    from slipway_server.frontends.native.rest import NativeRestServer
    from slipway_server.frontends.native.server import NativeRpcServer
    from slipway_server.frontends.native.versions import NativeVersions
    from slipway_server.frontends.rpc.transport.limits import RpcLimits
    from slipway_server.frontends.rpc.transport.server import (
        Address,
        RpcMethod,
        RpcServer,
        RpcStream,
    )
    from slipway_server.frontends.tls import CertificateFile

_METRICS: Final = "/monitoring/prometheus/metrics"


@dataclass(frozen=True, slots=True)
class Pages:
    """What the ports tell about the server; called on a port's own thread, must not block.

    Attributes:
        ready: whether requests should be sent here.
        readyz: the same as a page that gives the reasons.
    """

    ready: Callable[[], bool]
    livez: Callable[[], HttpResponse]
    readyz: Callable[[], HttpResponse]
    metrics: Callable[[], HttpResponse]


@dataclass(frozen=True, slots=True)
class _Apis:
    rest: HttpHandler
    methods: "Mapping[str, RpcMethod]"
    questions: Collection[str]
    changes: Collection[str]
    streams: "Mapping[str, RpcStream]"


class Ports:
    """The server's ports. `open` first; the other methods may be called whatever `open` has got to.

    Attributes:
        takes_over: another process listened on the UNIX socket when this one took its path.

    Args:
        say_certificate: told a sentence when the certificate's file changed; the flag says whether it could be used.
    """

    def __init__(
        self, settings: Settings, pages: Pages, say_certificate: Callable[[str, bool], None]
    ) -> None:
        self._settings = settings
        self._pages = pages
        self._say_certificate = say_certificate
        self._certificate: CertificateFile | None = None
        self._apis: _Apis | None = None
        self._socket: UnixSocket | None = None
        self.takes_over = False
        self.rest: RestServer | NativeRestServer | None = None
        self._native_rest: NativeRestServer | None = None
        self.rpc: RpcServer | NativeRpcServer | None = None
        self._native: NativeRpcServer | None = None

    def open(self) -> dict[str, object]:
        """Open REST first: it needs the fewest imports, and probes ask there. Returns what the log should say.

        Raises:
            OSError: a port cannot be listened on.
            ServingError: the certificate or the monitoring config cannot be used.
        """
        settings = self._settings
        if settings.ssl_config_file:
            from slipway_server.frontends.tls import CertificateFile  # noqa: PLC0415 - 100 ms that only TLS needs

            self._certificate = CertificateFile(settings.ssl_config_file, self._say_certificate)
        # As TensorFlow Serving does: of two services on one port, gRPC gets it.
        rest_port = settings.rest_port if settings.rest_port != settings.port else 0
        if rest_port or settings.health_port:
            self.rest = self._rest_server(rest_port or None, settings.health_port or None)
            if self._apis:
                self.rest.serve(self._apis.rest)
            self.rest.start()
        addresses = self._open_rpc()
        return {
            "grpc": addresses,
            "rest": rest_port or None,
            "health": settings.health_port or None,
            "tls": self._certificate is not None,
            "grpc_max_message_bytes": settings.rpc_memory.message,
        }

    def _rest_server(
        self, port: int | None, health_port: int | None
    ) -> "RestServer | NativeRestServer":
        settings = self._settings
        fixed = {"/livez": self._pages.livez, **server_metadata.fixed_pages(version())}
        pages = {"/readyz": self._pages.readyz, **server_metadata.pages(self._pages.ready)}
        if settings.front == NATIVE and self._certificate is None:
            from slipway_server.frontends.native.rest import NativeRestServer  # noqa: PLC0415 - only where it is asked for

            self._native_rest = NativeRestServer(
                port,
                _rest_limits(settings),
                fixed=fixed,
                pages=pages,
                slow_pages=self._slow_pages(),
                awaited=("/readyz",),
                health_port=health_port,
                headers=CORS_HEADERS if settings.cors else (),
            )
            return self._native_rest
        return RestServer(
            port,
            {**fixed, **pages},
            _rest_limits(settings),
            slow_pages=self._slow_pages(),
            awaited={"/readyz": self._pages.ready},
            health_port=health_port,
            context=self._certificate.context if self._certificate else lambda: None,
            headers=cors_headers if settings.cors else lambda _request: (),
        )

    def _slow_pages(self) -> dict[str, Callable[[], HttpResponse]]:
        path = _metrics_path(self._settings.monitoring_config_file)
        return {path: self._pages.metrics} if path else {}

    def _open_rpc(self) -> list[str]:
        from slipway_server.frontends.rpc.transport.server import Address  # noqa: PLC0415 - 100 ms that /livez need not wait

        settings = self._settings
        tls = self._certificate is not None
        addresses = [Address(f"[::]:{settings.port}", tls)] if settings.port else []
        shown = [address.text for address in addresses]
        if settings.socket_path:
            self._socket = UnixSocket(settings.socket_path)
            self.takes_over = self._socket.listener()
            addresses.append(Address(f"unix:{self._socket.bound}", tls))
            shown.append(f"unix:{settings.socket_path}")
        try:
            self._start_rpc(addresses)
        except OSError as error:
            if self._socket is None:
                raise
            self._socket.remove()
            raise OSError(str(error).replace(self._socket.bound, settings.socket_path)) from error
        if self._socket:
            self._socket.publish(settings.socket_mode)
        return shown

    def _start_rpc(self, addresses: "Sequence[Address]") -> None:
        from slipway_server.frontends.rpc.transport.server import RpcServer  # noqa: PLC0415 - 100 ms that /livez need not wait

        settings = self._settings
        if (native := self._native_server()) is not None:
            if self._certificate:
                self._certificate.follow(native.use_certificate)
            native.listen(address.text for address in addresses)
            self.rpc = native
        else:
            self.rpc = RpcServer(
                addresses,
                _rpc_limits(settings),
                server_metadata.methods(self._pages.ready),
                credentials=self._certificate.credentials if self._certificate else None,
                channel_arguments=settings.channel_arguments,
            )
        if self._apis:
            apis = self._apis
            self.rpc.serve(apis.methods, apis.questions, apis.changes, apis.streams)
        self.rpc.start()

    def native_versions(self) -> "NativeVersions | None":
        """Return what has to be told of versions with `--front=native`; None otherwise.

        Raises:
            ServingError: the installation lacks the extension module.
        """
        server = self._native_server()
        return server.versions if server else None

    def _native_server(self) -> "NativeRpcServer | None":
        if self._native is None and self._settings.front == NATIVE:
            from slipway_server.frontends.native.server import NativeRpcServer  # noqa: PLC0415 - only where it is asked for

            self._native = NativeRpcServer(
                _rpc_limits(self._settings),
                server_metadata.methods(self._pages.ready),
                tensor_content=self._settings.tensor_content,
            )
        return self._native

    def watch_certificate(self) -> None:
        """Begin to look whether the certificate changes."""
        if self._certificate:
            self._certificate.watch()

    def serve(
        self,
        rest_api: HttpHandler,
        methods: Mapping[str, "RpcMethod"],
        questions: Collection[str],
        changes: Collection[str],
        streams: Mapping[str, "RpcStream"],
    ) -> None:
        """Put the APIs in place (`RestServer.serve`, `RpcServer.serve`), also behind ports that are opened later."""
        self._apis = _Apis(rest_api, methods, questions, changes, streams)
        if self.rest:
            self.rest.serve(rest_api)
        if self.rpc:
            self.rpc.serve(methods, questions, changes, streams)

    def waiting(self) -> dict[str, int]:
        """Return how many requests wait for a thread, by protocol."""
        counts: dict[str, int] = {}
        if self.rpc:
            counts["GRPC"] = self.rpc.waiting
        if self.rest:
            counts["REST"] = max(self.rest.inflight - self._settings.rest_threads, 0)
        return counts

    def show_health(self, models: Iterable[tuple[str, bool]], *, ready: bool) -> None:
        """Tell `grpc.health.v1`, and the pages, whether the server and each model serve."""
        if self._native_rest:
            self._native_rest.refresh(ready=ready)
        if self.rpc is None:
            return
        from slipway_server.frontends.rpc.transport.server import SERVICE_NAMES  # noqa: PLC0415 - imported long ago

        self.rpc.set_health(("", *SERVICE_NAMES), serving=ready)
        for model, serving in models:
            self.rpc.set_health((model,), serving=serving)

    def drain(self) -> None:
        """Say at once that the server does not serve, and ask clients to go elsewhere."""
        if self.rpc:
            self.rpc.enter_shutdown()
        if self.rest:
            self.rest.drain()

    def clients(self) -> Clients:
        """Count the clients, without connections to the health port or only for health pages and metrics."""
        requests = 0
        pages_only: Collection[str] = ()
        ports = [self._settings.port] if self.rpc and self._settings.port else []
        if self.rpc:
            requests += self.rpc.requests
        if self.rest:
            requests += self.rest.requests
            pages_only = self.rest.pages_only()
            ports += [port for port in self.rest.ports if port != self._settings.health_port]
        peers = client_peers(ports, self._socket.bound if self._socket else "")
        if peers is None:
            return Clients(None, requests)
        return Clients(sum(peer not in pages_only for peer in peers), requests)

    def close_idle(self) -> None:
        """Close REST connections that have been idle for drain_seconds.

        A client that sends requests more often gets `Connection: close` with a response before the drain is over, and
        never sees its connection close unannounced.
        """
        if self.rest:
            self.rest.close_idle(self._settings.drain)

    def stop(self, grace: float) -> None:
        """Take no new request, give those in flight `grace` seconds, leave nothing behind."""
        if self._certificate:
            self._certificate.stop()
        ports = [port for port in (self.rest, self.rpc) if port is not None]
        threads = [threading.Thread(target=port.stop, args=(grace,)) for port in ports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._socket:
            self._socket.remove()


def _metrics_path(config_file: str) -> str:
    """Return where the metrics are: at the usual place, or where a MonitoringConfig says, which may be nowhere."""
    if not config_file:
        return _METRICS
    from slipway_server.text_files import read_message  # noqa: PLC0415 - needed where there is a file only
    from slipway_server.wire.monitoring_config_pb2 import MonitoringConfig  # noqa: PLC0415 - likewise

    config = read_message(config_file, MonitoringConfig()).prometheus_config
    return (config.path or _METRICS) if config.enable else ""


def _rpc_limits(settings: Settings) -> "RpcLimits":
    from slipway_server.frontends.rpc.transport.limits import RpcLimits  # noqa: PLC0415 - 100 ms that /livez need not wait

    return RpcLimits(
        threads=settings.rpc_threads,
        inflight=settings.max_inflight,
        message=settings.rpc_memory.message,
        held=settings.rpc_memory.held,
        arriving=settings.rpc_memory.arriving,
        decompressed=settings.rpc_memory.decompressed,
        streams=settings.rpc_max_streams,
        connections=settings.rpc_max_connections,
        age=settings.max_connection_age,
        age_grace=settings.max_connection_age_grace,
    )


def _rest_limits(settings: Settings) -> RestLimits:
    return RestLimits(
        threads=settings.rest_threads,
        inflight=settings.max_inflight,
        connections=settings.rest_max_connections,
        timeout=settings.rest_timeout,
        bodies=settings.rest_max_bodies,
        connection=ConnectionLimits(
            body=settings.rest_max_body,
            head=settings.rest_max_head,
            request_seconds=settings.rest_receive_timeout,
        ),
    )
