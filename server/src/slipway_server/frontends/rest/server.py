"""The HTTP port: an event loop in a thread of its own that accepts connections and hands requests to workers.

Nothing here imports TensorFlow. Health pages are answered on the loop itself, so they answer while every worker is
busy and while TensorFlow is still being imported.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Final

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.rest.connection import HttpConnection, Limits
from slipway_server.frontends.rest.messages import (
    Answer,
    Request,
    Response,
    error_response,
    failure,
)
from slipway_server.frontends.rest.workers import Mailbox, Workers

_BACKLOG: Final = 1024
_SWEEP_SECONDS: Final = 2.0
_DRAIN_POLL_SECONDS: Final = 0.05


class RestServer:
    """Serves HTTP.

    Args:
        port: TCP port, on all addresses of both families where the machine has both.
        pages: path → page answered at once on the loop; must not block.
        threads: requests worked on at a time.
        timeout: seconds after which a request is answered 504; 0 or less means never.

    Raises:
        OSError: the port cannot be listened on.
    """

    def __init__(
        self,
        port: int,
        pages: dict[str, Callable[[], Response]],
        *,
        threads: int,
        timeout: float,
        limits: Limits,
    ) -> None:
        self._socket = _listening_socket(port)
        self._pages = pages
        self._timeout = timeout
        self._limits = limits
        self._workers = Workers(threads)
        self._api: Answer | None = None
        self._connections: set[HttpConnection] = set()
        self._draining = False
        self._loop = asyncio.new_event_loop()
        self._mailbox = Mailbox(self._loop)
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run, name="rest-loop", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Begin to answer: pages at once, everything else 503 until `serve`."""
        self._thread.start()

    def serve(self, api: Answer) -> None:
        """Put the API in place; it runs on worker threads and raises nothing."""
        self._api = api

    def drain(self) -> None:
        """From now on ask every client, with its next answer, to connect anew (elsewhere)."""
        self._draining = True

    def stop(self, grace: float) -> None:
        """Accept no more connections, let requests in flight finish for up to `grace` seconds, close the rest."""
        done: Future[None] = asyncio.run_coroutine_threadsafe(self._stop(grace), self._loop)
        with contextlib.suppress(TimeoutError):
            done.result(grace + 1.0)

    # ---- the loop's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(
            self._loop.create_server(self._connection, sock=self._socket, backlog=_BACKLOG)
        )
        self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        self._loop.run_forever()

    def _connection(self) -> HttpConnection:
        return HttpConnection(self._dispatch, self._limits, lambda: self._draining, self._register)

    def _register(self, connection: HttpConnection, begins: bool) -> None:  # noqa: FBT001 - one callback for both
        if begins:
            self._connections.add(connection)
        else:
            self._connections.discard(connection)

    def _dispatch(self, connection: HttpConnection, request: Request) -> None:
        page = self._pages.get(request.path)
        # Answers go out from the loop, not from here: a client may have sent a thousand requests at once, and each
        # answer starts the next one.
        if page is not None and request.method in {"GET", "HEAD"}:
            self._loop.call_soon(lambda: connection.answer(page()))
        elif self._api is None:
            starting = ServingError(
                Code.UNAVAILABLE, "The server is starting; its models are not loaded yet"
            )
            self._loop.call_soon(connection.answer, error_response(starting))
        else:
            _Exchange(connection, request, self._api, self._mailbox).begin(
                self._workers, self._loop, self._timeout
            )

    def _sweep(self) -> None:
        now = monotonic()
        for connection in tuple(self._connections):
            connection.sweep(now)
        self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    async def _stop(self, grace: float) -> None:
        if self._server is not None:
            self._server.close()
        deadline = monotonic() + grace
        while monotonic() < deadline and any(  # noqa: ASYNC110 - many connections, each with many states
            connection.busy for connection in self._connections
        ):
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        for connection in tuple(self._connections):
            connection.close()
        await asyncio.sleep(0)


class _Exchange:
    """One request on a worker and its answer; whichever comes first, answer or timeout, is sent."""

    __slots__ = ("_answered", "_api", "_connection", "_mailbox", "_request", "_timer")

    def __init__(
        self, connection: HttpConnection, request: Request, api: Answer, mailbox: Mailbox
    ) -> None:
        self._connection = connection
        self._request = request
        self._api = api
        self._mailbox = mailbox
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, workers: Workers, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        if timeout > 0:
            self._request.deadline = monotonic() + timeout
            self._timer = loop.call_later(timeout, self._time_out)
        workers.submit(self._work)

    def _work(self) -> None:
        if self._answered:
            return
        try:
            response = self._api(self._request)
        except Exception as error:  # noqa: BLE001 - the client must hear something, and the worker must live
            response = failure(500, f"Internal error: {type(error).__name__}: {error}")
        self._mailbox.post(lambda: self._send(response))

    def _time_out(self) -> None:
        self._send(
            error_response(
                ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for the model to answer"),
                close=True,
            )
        )

    def _send(self, response: Response) -> None:
        if self._answered:
            return
        self._answered = True
        if self._timer is not None:
            self._timer.cancel()
        self._connection.answer(response)


def _listening_socket(port: int) -> socket.socket:
    try:
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6,
            backlog=_BACKLOG,
            dualstack_ipv6=socket.has_dualstack_ipv6(),
        )
    except OSError as first:
        try:
            return socket.create_server(("", port), backlog=_BACKLOG)
        except OSError:
            raise OSError(
                f"Cannot listen on port {port} for HTTP: {first.strerror or first}"
            ) from first
