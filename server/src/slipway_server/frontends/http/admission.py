"""Requests on their way through the workers: how many there may be, and what becomes of each.

There are two lanes. Inference may fill its lane; questions about state have a lane of their own and are answered all
the same.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.http.messages import (
    Answer,
    Request,
    Response,
    error_response,
    failure,
)
from slipway_server.frontends.http.workers import Mailbox, Workers
from slipway_server.frontends.overload import overloaded

_RETRY_AFTER: Final = (("Retry-After", "1"),)

Send = Callable[[Response], None]


class Lane:
    """A pool of workers and the requests that run on it or wait for it. Used on the loop's thread only.

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

    def take(self, api: Answer, request: Request, send: Send) -> None:
        """Have a request answered; `send` is called once, on the loop's thread, never from here."""
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

    __slots__ = ("_answered", "_api", "_lane", "_request", "_send", "_timer")

    def __init__(self, lane: Lane, api: Answer, request: Request, send: Send) -> None:
        self._lane = lane
        self._api = api
        self._request = request
        self._send = send
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, workers: Workers, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        if timeout > 0:
            self._request.deadline = monotonic() + timeout
            self._timer = loop.call_later(timeout, self._time_out)
        workers.submit(self._work)

    def _work(self) -> None:
        response: Response | None = None
        if not self._answered:
            try:
                response = self._api(self._request)
            except Exception as error:  # noqa: BLE001 - the client must hear something, and the worker must live
                response = failure(500, f"Internal error: {type(error).__name__}: {error}")
        self._lane.post(lambda: self._finish(response))

    def _finish(self, response: Response | None) -> None:
        # A request that timed out holds its place until the worker is really free again.
        self._lane.inflight -= 1
        if response is not None:
            self._answer(response)

    def _time_out(self) -> None:
        late = ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for the model to answer")
        self._answer(error_response(late, close=True))

    def _answer(self, response: Response) -> None:
        if self._answered:
            return
        self._answered = True
        if self._timer is not None:
            self._timer.cancel()
        self._send(response)
