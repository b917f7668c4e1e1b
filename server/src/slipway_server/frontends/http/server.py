"""The HTTP port: an event loop in a thread of its own that accepts connections and hands requests to workers.

Nothing here imports TensorFlow. Health pages are answered on the loop itself, so they answer while every worker is
busy and while TensorFlow is still being imported. The metrics page has a thread: thousands of series take a while.
"""

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from types import MappingProxyType
from typing import Final

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.http.admission import Admission
from slipway_server.frontends.http.budget import BodyBudget
from slipway_server.frontends.http.connection import ConnectionLimits, HttpConnection
from slipway_server.frontends.http.listener import Listener, listening_socket
from slipway_server.frontends.http.messages import (
    TEXT,
    Headers,
    HttpHandler,
    HttpRequest,
    HttpResponse,
    error_response,
)
from slipway_server.frontends.http.workers import Mailbox

_SWEEP_SECONDS: Final = 1.0
_DRAIN_POLL_SECONDS: Final = 0.05
_STATUS_THREADS: Final = 2
_MAX_SLOW_PAGES: Final = 16
_MAX_HELD_PAGES: Final = 16
_MAX_HOLD_SECONDS: Final = 5.0
_HOLD_POLL_SECONDS: Final = 0.02
_WAIT: Final = re.compile(rb"[?&]wait=([0-9]{1,4}(?:\.[0-9]{1,6})?)(?:&|$)")

Page = Callable[[], HttpResponse]


@dataclass(frozen=True, slots=True)
class RestLimits:
    """Limits of the HTTP port.

    Attributes:
        threads: inference requests worked on at a time.
        inflight: requests worked on or waiting; further ones are refused at once.
        connections: open at a time.
        timeout: seconds after which a request is answered 504; 0 or less means never.
        bodies: bytes of all large request bodies together, from their arrival to the answer.
        connection: what one connection may send.
    """

    threads: int
    inflight: int = 1024
    connections: int = 10_000
    timeout: float = 30.0
    bodies: int = 512 << 20
    connection: ConnectionLimits = field(default_factory=ConnectionLimits)


class RestServer:
    """Serves HTTP.

    Args:
        port: TCP port, on all addresses of both families where the machine has both; None for none.
        health_port: a further port for the pages alone, without TLS; None for none.
        pages: path → page answered at once on the loop; must not block.
        slow_pages: path → page that takes its time; answered by a thread of their own.
        awaited: path of a page → whether what a client may wait for (`?wait=SECONDS`) has happened: the page is then
            answered as soon as it has, after so many seconds (5 at most), or when the server drains.
        context: the TLS context for new connections, or None for plain HTTP.
        headers: returns further headers of the answer to a request, be it a page, an API's answer or a refusal.

    Raises:
        OSError: a port cannot be listened on.
    """

    def __init__(
        self,
        port: int | None,
        pages: Mapping[str, Page],
        limits: RestLimits,
        *,
        slow_pages: Mapping[str, Page] = MappingProxyType({}),
        awaited: Mapping[str, Callable[[], bool]] = MappingProxyType({}),
        health_port: int | None = None,
        context: Callable[[], ssl.SSLContext | None] = lambda: None,
        headers: Callable[[HttpRequest], Headers] = lambda _request: (),
    ) -> None:
        self._headers = headers
        self._pages = pages
        self._slow_pages = slow_pages
        self._awaited = awaited
        self._held = 0
        self._limits = limits
        self._api: HttpHandler | None = None
        self._connections: set[HttpConnection] = set()
        self._budget = BodyBudget(limits.bodies)
        self._draining = False
        self._requests = 0
        self._loop = asyncio.new_event_loop()
        mailbox = Mailbox(self._loop)
        self._inference_admission = Admission(
            "rest", limits.threads, limits.inflight, limits.timeout, self._loop, mailbox
        )
        self._status_admission = Admission(
            "status", _STATUS_THREADS, limits.inflight, limits.timeout, self._loop, mailbox
        )
        self._slow_page_admission = Admission(
            "pages", 1, _MAX_SLOW_PAGES, limits.timeout, self._loop, mailbox
        )
        self._listeners: list[Listener] = []
        if port is not None:
            self._listen(port, self._dispatch, context)
        if health_port is not None:
            self._listen(health_port, self._dispatch_page, lambda: None)
        self._thread = threading.Thread(target=self._run, name="rest-loop", daemon=True)

    def _listen(
        self,
        port: int,
        dispatch: Callable[[HttpConnection, HttpRequest], None],
        context: Callable[[], ssl.SSLContext | None],
    ) -> None:
        def connection() -> HttpConnection:
            return HttpConnection(
                dispatch,
                self._limits.connection,
                lambda: self._draining,
                self._register,
                self._budget,
                self._headers,
            )

        self._listeners.append(
            Listener(listening_socket(port), connection, self._has_room, context)
        )

    @property
    def ports(self) -> tuple[int, ...]:
        """TCP ports of the listeners, the health port last."""
        return tuple(listener.port for listener in self._listeners)

    @property
    def inflight(self) -> int:
        """Inference requests that are worked on or wait."""
        return self._inference_admission.inflight

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def requests(self) -> int:
        """Number of requests since the start, without pages."""
        return self._requests

    def pages_only(self) -> frozenset[str]:
        """The peers of connections that were used for pages only."""
        return frozenset(one.peer for one in tuple(self._connections) if one.asked_api is False)

    def start(self) -> None:
        """Begin to answer: pages at once, everything else 503 until `serve`."""
        self._thread.start()

    def serve(self, api: HttpHandler) -> None:
        """Put the API in place; it runs on worker threads and raises nothing."""
        self._api = api

    def drain(self) -> None:
        """From now on ask every client, with its next answer, to connect anew (elsewhere)."""
        self._draining = True

    def close_idle(self, seconds: float) -> None:
        """Close the connections that have been idle for so many seconds."""
        self._loop.call_soon_threadsafe(self._close_idle, seconds)

    def stop(self, grace: float) -> None:
        """Accept no more connections, let requests in flight finish for up to `grace` seconds, close the rest."""
        done: Future[None] = asyncio.run_coroutine_threadsafe(self._stop(grace), self._loop)
        with contextlib.suppress(TimeoutError):
            done.result(grace + 1.0)

    # ---- the loop's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for listener in self._listeners:
            listener.start(self._loop)
        self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        self._loop.run_forever()

    def _has_room(self) -> bool:
        handshaking = sum(listener.handshaking for listener in self._listeners)
        return len(self._connections) + handshaking < self._limits.connections

    def _register(self, connection: HttpConnection, begins: bool) -> None:  # noqa: FBT001 - one callback for both
        if begins:
            self._connections.add(connection)
        else:
            self._connections.discard(connection)

    def _dispatch(self, connection: HttpConnection, request: HttpRequest) -> None:
        # Answers go out from the loop, not from here: a client may have sent a thousand requests at once, and each
        # answer starts the next one.
        page = request.path in self._pages or request.path in self._slow_pages
        connection.asked_api = bool(connection.asked_api) or not page
        self._requests += not page
        if page and request.method in {"GET", "HEAD"}:
            self._dispatch_page(connection, request)
        elif self._api is None:
            starting = ServingError(
                Code.UNAVAILABLE, "the server is starting: its models are not loaded yet"
            )
            self._loop.call_soon(connection.answer, error_response(starting))
        else:
            admission = (
                self._inference_admission if request.method == "POST" else self._status_admission
            )
            admission.admit(self._api, request, connection.answer)

    def _dispatch_page(self, connection: HttpConnection, request: HttpRequest) -> None:
        reads = request.method in {"GET", "HEAD"}
        if reads and (quick := self._pages.get(request.path)):
            happened = self._awaited.get(request.path)
            if happened and (seconds := _wait(request)) and self._held < _MAX_HELD_PAGES:
                self._held += 1
                until = monotonic() + seconds
                self._loop.call_soon(self._hold, connection, quick, happened, until)
            else:
                self._loop.call_soon(lambda: connection.answer(_render(quick)))
        elif reads and (slow := self._slow_pages.get(request.path)):
            self._slow_page_admission.admit(
                lambda _request: _render(slow), request, connection.answer
            )
        else:
            self._loop.call_soon(connection.answer, HttpResponse(404, b"Not Found\n", TEXT))

    def _hold(
        self,
        connection: HttpConnection,
        page: Page,
        happened: Callable[[], bool],
        until: float,
    ) -> None:
        """Answer a page once there is nothing left to wait for."""
        with contextlib.suppress(Exception):  # The page itself says what is wrong.
            if not (self._draining or monotonic() >= until or happened()):
                self._loop.call_later(
                    _HOLD_POLL_SECONDS, self._hold, connection, page, happened, until
                )
                return
        self._held -= 1
        connection.answer(_render(page))

    def _sweep(self) -> None:
        now = monotonic()
        for connection in tuple(self._connections):
            connection.sweep(now)
        self._budget.sweep(now)
        self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _close_idle(self, seconds: float) -> None:
        before = monotonic() - seconds
        for connection in tuple(self._connections):
            connection.close_idle(before)

    async def _stop(self, grace: float) -> None:
        for listener in self._listeners:
            listener.close()
        deadline = monotonic() + grace
        while monotonic() < deadline and any(  # noqa: ASYNC110 - many connections, each with many states
            connection.busy for connection in self._connections
        ):
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        for connection in tuple(self._connections):
            connection.close()
        await asyncio.sleep(0)


def _wait(request: HttpRequest) -> float:
    """Return how many seconds a client wants to wait for a page; 0 for none."""
    asked = _WAIT.search(request.target)
    return min(float(asked[1]), _MAX_HOLD_SECONDS) if asked else 0.0


def _render(page: Page) -> HttpResponse:
    """Return a page, or its error: every request must get an answer."""
    try:
        return page()
    except Exception as error:  # noqa: BLE001 - see above
        return error_response(ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}"))
