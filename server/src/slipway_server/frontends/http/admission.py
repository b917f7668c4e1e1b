"""Admission control: how many requests may be in flight, overload refusals and the timeout of each request.

Inference, status requests and slow pages are admitted apart, so that full inference queues delay no status request.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from slipway_server.errors import Code, ServingError, overloaded
from slipway_server.frontends.http.messages import (
    HttpHandler,
    HttpRequest,
    HttpResponse,
    error_response,
    failure,
)
from slipway_server.frontends.http.workers import Mailbox, Workers

_RETRY_AFTER: Final = (("Retry-After", "1"),)

Send = Callable[[HttpResponse], None]


class Admission:
    """A worker pool and a bound on the requests that run or wait. Used on the loop's thread only.

    Args:
        threads: requests worked on at a time.
        limit: requests in flight, worked on or waiting; further ones are refused at once.
        timeout: seconds after which a request is answered 504; 0 or less means never.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        limit: int,
        timeout: float,
        loop: asyncio.AbstractEventLoop,
        mailbox: Mailbox,
    ) -> None:
        self._workers = Workers(threads, name)
        self._limit = limit
        self._timeout = timeout
        self._loop = loop
        self._mailbox = mailbox
        self.inflight = 0

    def admit(self, api: HttpHandler, request: HttpRequest, send: Send) -> None:
        """Run a request on a worker, or refuse it; `send` is called once, later, on the loop's thread."""
        if self.inflight >= self._limit:
            refusal = error_response(overloaded(self._limit), headers=_RETRY_AFTER)
            self._loop.call_soon(send, refusal)
            return
        self.inflight += 1
        _Exchange(self, api, request, send).begin(self._workers, self._loop, self._timeout)

    def post(self, call: Callable[[], None]) -> None:
        """Run a call on the loop's thread; called on workers."""
        self._mailbox.post(call)


class _Exchange:
    """One request on a worker and its answer; whichever comes first, answer or timeout, is sent."""

    __slots__ = ("_admission", "_answered", "_api", "_request", "_send", "_timer")

    def __init__(
        self, admission: Admission, api: HttpHandler, request: HttpRequest, send: Send
    ) -> None:
        self._admission = admission
        self._api = api
        self._request = request
        self._send = send
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, workers: Workers, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        if timeout > 0:
            self._request.deadline = monotonic() + timeout
            self._timer = loop.call_later(timeout, self._time_out)
        self._request.working = True
        workers.submit(self._work)

    def _work(self) -> None:
        response: HttpResponse | None = None
        if not self._answered:
            try:
                response = self._api(self._request)
            except Exception as error:  # noqa: BLE001 - the client must hear something, and the worker must live
                response = failure(500, f"Internal error: {type(error).__name__}: {error}")
        self._admission.post(lambda: self._finish(response))

    def _finish(self, response: HttpResponse | None) -> None:
        # A request that timed out holds its place until the worker is really free again.
        self._admission.inflight -= 1
        self._request.working = False
        if response is not None:
            self._answer(response)
        self._request.release()

    def _time_out(self) -> None:
        late = ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for the model to answer")
        self._answer(error_response(late, close=True))

    def _answer(self, response: HttpResponse) -> None:
        if self._answered:
            return
        self._answered = True
        if self._timer is not None:
            self._timer.cancel()
        self._send(response)
