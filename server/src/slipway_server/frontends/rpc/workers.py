"""The threads that answer gRPC requests: an executor that has a request's bytes before a thread takes it up.

gRPC's own way is to give a new call to a thread, which then asks for the message and sleeps until the serving thread
has it: two more changes of thread for each request, each a round of the interpreter lock; and a client that sends
slowly keeps a thread. Here the serving thread asks for the message at once, and a thread is woken when it is there.

This leans on names inside `grpc._server`. They are looked at once, at import; should a release of grpcio have changed
them, every call goes gRPC's own way, which is only slower.
"""

# ruff: noqa: SLF001

import importlib
import inspect
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

_server: Final[Any] = importlib.import_module("grpc._server")
_cygrpc: Final[Any] = importlib.import_module("grpc._cython.cygrpc")
_log: Final = logging.getLogger(__name__)

_MAX_HELD: Final = 256 << 20
"""Bytes of requests that wait for a thread; while there are more, further requests stay unread."""

_ARRIVAL_SECONDS: Final = 30.0
"""Within these a message should come, once there are more requests than may wait."""

_PARAMETERS: Final = {
    "_unary_response_in_pool": (
        *("rpc_event", "state", "behavior", "argument_thunk"),
        *("request_deserializer", "response_serializer"),
    ),
    "_call_behavior": (
        *("rpc_event", "state", "behavior", "argument"),
        *("request_deserializer", "send_response_callback"),
    ),
    "_status": ("rpc_event", "state", "serialized_response"),
    "_possibly_finish_call": ("state", "token"),
    "_abort": ("state", "call", "code", "details"),
    "_Context": ("rpc_event", "state", "request_deserializer"),
}
_CONSTANTS: Final = ("_RECEIVE_MESSAGE_TOKEN", "_CANCELLED", "_CLOSED")
_FIELDS: Final = frozenset({"condition", "client", "due"})


def known(server: Any) -> bool:
    """Whether a `grpc._server` has what is leaned on here."""
    try:
        return (
            all(
                tuple(inspect.signature(getattr(server, name)).parameters) == parameters
                for name, parameters in _PARAMETERS.items()
            )
            and all(hasattr(server, name) for name in _CONSTANTS)
            and vars(server._RPCState()).keys() >= _FIELDS
        )
    except (AttributeError, TypeError, ValueError):
        return False


READS_AHEAD: Final = known(_server)


class RpcWorkers:
    """At most `size` threads, started as they are needed; takes the place of the pool that `grpc.server` wants.

    Threads that have nothing to do are woken in turn, and a thread that has slept for long is slow: a few are better
    than all that there may be.

    Args:
        size: requests worked on at a time.
        read_ahead: False lets every call go gRPC's own way.
        clock: in seconds.
    """

    def __init__(
        self,
        size: int,
        *,
        read_ahead: bool = READS_AHEAD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._size = size
        self._started = 0
        # One for each thread that is free and not yet meant for a task. Whoever gives a task takes one, so a task
        # never counts on a thread that another task has woken already. (When all threads are there, nobody asks.)
        self._free: deque[None] = deque(maxlen=size)
        self._read_ahead = read_ahead
        self._clock = clock
        # Kept by gRPC's serving thread alone: calls whose message is on its way, by when it was asked for, the oldest
        # first; and the bytes of those that wait. What threads have taken of these they put down in `_taken`.
        self._arriving: dict[_Exchange, float] = {}
        self._held = 0
        self._taken: deque[int] = deque()

    @property
    def waiting(self) -> int:
        """Requests that no thread has taken yet, those included whose message is still arriving."""
        return len(self._arriving) + self._tasks.qsize()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function on one of the threads and return its future; called by gRPC's serving thread."""
        while self._taken:
            self._held -= self._taken.popleft()
        if self._read_ahead and _takes_bytes(arguments) and self._held < _MAX_HELD:
            exchange = _Exchange(self, *arguments[1:4])
            self._arriving[exchange] = self._clock()
            exchange.ask()
            return exchange
        future: Future[Any] = Future()
        self._give(lambda: _run_into(future, function, arguments))
        return future

    def end_slow(self) -> None:
        """End the calls whose message has not come for long: they take the room of others. On the serving thread."""
        before = self._clock() - _ARRIVAL_SECONDS
        for exchange, asked in tuple(self._arriving.items()):
            if asked > before:
                break
            exchange.cancel()

    def arrived(self, exchange: "_Exchange", size: int | None) -> None:
        """Hand a request of so many bytes to a thread; None when there will be no message."""
        del self._arriving[exchange]
        if size is not None:
            self._held += size
            self._give(exchange.answer)

    def taken(self, size: int) -> None:
        """A thread has begun with a request of so many bytes."""
        self._taken.append(size)

    def _give(self, task: Callable[[], object]) -> None:
        """Have a task done; called by gRPC's serving thread."""
        if self._free:
            self._free.pop()
        elif self._started < self._size:
            name = f"rpc-{self._started}"
            self._started += 1
            threading.Thread(target=self._work, name=name, daemon=True).start()
        self._tasks.put(task)

    def _work(self) -> None:
        get, free = self._tasks.get, self._free.append
        while True:
            try:
                while True:
                    get()()
                    free(None)
            except Exception:  # noqa: BLE001 - the thread must go on for the others
                _log.exception("A gRPC call could not be ended")
                free(None)


def _takes_bytes(arguments: tuple[Any, ...]) -> bool:
    """Whether these are a unary call's arguments, for a method without deserializer and serializer."""
    return (
        len(arguments) == 1 + len(_PARAMETERS["_unary_response_in_pool"])
        and arguments[0] is _server._unary_response_in_pool
        and arguments[5] is None
        and arguments[6] is None
    )


def _run_into(
    future: "Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    try:
        future.set_result(function(*arguments))
    except Exception as error:  # noqa: BLE001 - as concurrent.futures does
        future.set_exception(error)


class _Exchange:
    """One unary call: its message, then its answer. Also the future that gRPC expects of an executor."""

    __slots__ = ("_behavior", "_done", "_event", "_request", "_state", "_workers")

    def __init__(self, workers: RpcWorkers, event: Any, state: Any, behavior: Any) -> None:
        self._workers = workers
        self._event = event
        self._state = state
        self._behavior = behavior
        self._request: bytes | None = None
        self._done: Callable[[object], object] | None = None

    def add_done_callback(self, callback: Callable[[object], object]) -> None:
        """Call back when the call is over; gRPC says so before it looks at the next event."""
        self._done = callback

    def ask(self) -> None:
        """Ask for the message. gRPC holds the call's lock here."""
        self._event.call.start_server_batch((_cygrpc.ReceiveMessageOperation(0),), self._received)
        self._state.due.add(_server._RECEIVE_MESSAGE_TOKEN)

    def _received(self, event: Any) -> Any:
        """Take the message; on gRPC's serving thread, which wants to hear whether the call is over."""
        state = self._state
        self._request = event.batch_operations[0].message()
        if self._request is not None:
            self._workers.arrived(self, len(self._request))
        else:
            self._workers.arrived(self, None)
            self._refuse_nothing()
        with state.condition:
            return _server._possibly_finish_call(state, _server._RECEIVE_MESSAGE_TOKEN)

    def _refuse_nothing(self) -> None:
        """The client has sent no message: it has gone, or it is told off in gRPC's own words."""
        state = self._state
        with state.condition:
            if state.client is not _server._CANCELLED:
                state.client = _server._CLOSED
                method = self._event.call_details.method.decode()
                _server._abort(
                    state,
                    self._event.call,
                    _cygrpc.StatusCode.unimplemented,
                    f'"{method}" requires exactly one request message.'.encode(),
                )
        self._end()

    def cancel(self) -> None:
        """End the call."""
        self._event.call.cancel()

    def answer(self) -> None:
        """Compute the answer and send it; on one of the threads."""
        event, state = self._event, self._state
        self._workers.taken(len(self._request or b""))
        try:
            # Nobody waits for the answer to a call that was cancelled or whose deadline has passed.
            if state.client is not _server._CANCELLED:
                try:
                    reply = self._behavior(self._request, _server._Context(event, state, None))
                except Exception as error:  # noqa: BLE001 - gRPC's own code knows what to tell the client
                    _server._call_behavior(event, state, _raising(error), None, None)
                else:
                    _server._status(event, state, reply)
        finally:
            self._end()

    def _end(self) -> None:
        if self._done is not None:
            self._done(self)


def _raising(error: Exception) -> Callable[[Any, Any], Any]:
    def behavior(_request: Any, _context: Any) -> Any:
        raise error

    return behavior
