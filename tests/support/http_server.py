"""A local HTTP server for tests: port, TLS, threads and the sending of answers; subclasses decide what is answered."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from typing_extensions import override


class HttpHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection; logs nothing.

    Attributes:
        owner: the `LocalHttpServer` whose connection it is.
    """

    protocol_version = "HTTP/1.1"
    owner: Any

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    @override
    def handle(self) -> None:
        # A client may go away at any time, or refuse the certificate.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            super().handle()

    def header_map(self) -> dict[str, str]:
        """The request's headers by lower-case name."""
        return {name.lower(): value for name, value in self.headers.items()}

    def request_body(self) -> bytes:
        """The request's body, read to its announced length."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send_body(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        cut: int | None = None,
    ) -> None:
        """Send an answer with its length; after `cut` bytes of the body, break the connection."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True


def byte_range(header: str, total: int) -> tuple[int, int]:
    """First and last byte of a Range header with one range."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    return int(first), min(int(last or total - 1), total - 1)


class LocalHttpServer:
    """Serves on a free port of loopback while its `with` block runs.

    Attributes:
        handler: answers; its `owner` is this server.
        tls: what clients speak; None is plain HTTP.
    """

    handler: ClassVar[type[HttpHandler]]
    tls: ssl.SSLContext | None = None
    address: str = "127.0.0.1"

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://{self.host}"

    def __enter__(self) -> Self:
        handler = type("Handler", (self.handler,), {"owner": self})
        self._server = _Server((self.address, 0), handler)
        self._server.tls = self.tls
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self.before_close()
        self._server.server_close()
        self._thread.join()

    def before_close(self) -> None:
        """Called when no further connection is accepted; for what must end before the threads do."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    tls: ssl.SSLContext | None = None

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # A client that went away, or a connection that a test has broken.

    @override
    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with contextlib.closing(self.tls.wrap_socket(request, server_side=True)) as secured:
            super().finish_request(secured, client_address)
