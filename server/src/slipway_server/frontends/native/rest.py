"""The native REST port: what `frontends.http.server.RestServer` does with asyncio, with the extension module."""

import os
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.http.messages import (
    Headers,
    HttpHandler,
    HttpRequest,
    HttpResponse,
    error_response,
    failure,
)
from slipway_server.frontends.http.rendering import with_request_id
from slipway_server.frontends.http.server import Page, RestLimits
from slipway_server.frontends.native.module import native_rest_module

_REQUEST_ID: Final = b"x-request-id"
_Reply = tuple[int, str, list[tuple[str, str]], bytes, bool]


class NativeRestServer:
    """Serves HTTP/1.1, and HTTP/2 without TLS.

    Attributes:
        ports: TCP ports, the health port last.

    Args:
        port: TCP port, on all addresses of both families where the machine has both; None for none.
        fixed: path → page that always says the same; answered without Python.
        pages: path → page that says how things stand. Where Python does not get to it at once, what it last said is
            the answer (`refresh`).
        slow_pages: path → page that takes its time; answered by a thread of their own.
        awaited: paths of pages with which a client may wait until the server is ready (`?wait=SECONDS`).
        health_port: a further port for the pages alone; None for none.
        headers: target's beginning → further headers of the answer, be it a page, an API's answer or a refusal; the
            first that fits.

    Raises:
        OSError: a port cannot be listened on.
        ServingError: the installation lacks the extension module.
    """

    def __init__(
        self,
        port: int | None,
        limits: RestLimits,
        *,
        fixed: Mapping[str, Page],
        pages: Mapping[str, Page],
        slow_pages: Mapping[str, Page] = MappingProxyType({}),
        awaited: tuple[str, ...] = (),
        health_port: int | None = None,
        headers: tuple[tuple[str, Headers], ...] = (),
    ) -> None:
        self._pages = dict(pages)
        self._every_page = {**pages, **slow_pages}
        self._api: HttpHandler = _not_yet
        connection = limits.connection
        self._front = native_rest_module()(
            self._answer,
            self._page,
            fixed=[(path, _reply(page())) for path, page in fixed.items()],
            last=[(path, _reply(_rendered(page))) for path, page in pages.items()],
            slow=list(slow_pages),
            awaited=list(awaited),
            further=[(start, list(of)) for start, of in headers],
            threads=limits.threads,
            inflight=limits.inflight,
            timeout=max(limits.timeout, 0.0),
            body=connection.body,
            bodies=limits.bodies,
            head=connection.head,
            connections=limits.connections,
            head_seconds=connection.head_seconds,
            request_seconds=connection.request_seconds,
            idle_seconds=connection.idle_seconds,
            workers=len(os.sched_getaffinity(0)),
        )
        ports = ((port, False), (health_port, True))
        self.ports = tuple(
            self._listen(number, pages_only=pages_only)
            for number, pages_only in ports
            if number is not None
        )

    def _listen(self, port: int, *, pages_only: bool) -> int:
        try:
            return self._front.bind(port, pages_only)
        except OSError as error:
            raise OSError(f"Cannot listen on port {port} for HTTP: {error}") from error

    @property
    def inflight(self) -> int:
        """Inference requests that are worked on or wait."""
        return self._front.inflight

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._front.connections

    @property
    def requests(self) -> int:
        """Number of requests since the start, without pages."""
        return self._front.requests

    def pages_only(self) -> frozenset[str]:
        """The peers of connections that were used for pages only."""
        return frozenset(self._front.pages_only())

    def start(self) -> None:
        """Begin to answer: pages at once, everything else 503 until `serve`."""
        self._front.start()

    def serve(self, api: HttpHandler) -> None:
        """Put the API in place; it runs on worker threads and raises nothing."""
        self._api = api
        self._front.serve()

    def refresh(self, *, ready: bool) -> None:
        """Say how things stand now; called after every change."""
        for path, page in self._pages.items():
            self._front.set_page(path, _reply(_rendered(page)))
        self._front.set_ready(ready)

    def drain(self) -> None:
        """From now on ask every client, with its next answer, to connect anew (elsewhere)."""
        self.refresh(ready=False)
        self._front.drain()

    def close_idle(self, seconds: float) -> None:
        """Close the connections that have been idle for so many seconds."""
        self._front.close_idle(seconds)

    def stop(self, grace: float) -> None:
        """Accept no more connections, let requests in flight finish for up to `grace` seconds, close the rest."""
        self._front.stop(grace)

    def _page(self, path: str) -> _Reply:
        return _reply(_rendered(self._every_page[path]))

    def _answer(
        self,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        peer: str,
        left: float | None,
    ) -> _Reply:
        """Answer a request; on a thread of the extension module."""
        # Of a repeated header the last one wins.
        request = HttpRequest(method, target, dict(headers), body, peer=peer)
        if left is not None:
            request.deadline = time.monotonic() + left
        try:
            response = self._api(request)
        except Exception as error:  # noqa: BLE001 - the client must hear something
            response = failure(500, f"Internal error: {type(error).__name__}: {error}")
        request_id = request.headers.get(_REQUEST_ID)
        if request_id is not None:
            response = with_request_id(response, request_id)
        return _reply(response)


def _not_yet(_request: HttpRequest) -> HttpResponse:
    starting = "the server is starting: its models are not loaded yet"
    return error_response(ServingError(Code.UNAVAILABLE, starting))


def _reply(response: HttpResponse) -> _Reply:
    return (
        response.status,
        response.content_type,
        list(response.headers),
        response.body,
        response.close,
    )


def _rendered(page: Page) -> HttpResponse:
    """Return a page, or its error: every request must get an answer."""
    try:
        return page()
    except Exception as error:  # noqa: BLE001 - see above
        return error_response(ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}"))
