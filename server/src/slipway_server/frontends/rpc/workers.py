"""The threads that answer gRPC requests: an executor that has a request's bytes before a thread takes it up.

gRPC's own way is to give a new call to a thread, which then asks for the message and sleeps until the serving thread
has it: two more changes of thread for each request, each a round of the interpreter lock; and a client that sends
slowly keeps a thread. Here the serving thread asks for the message at once, and a thread is woken when it is there.

Clients that announce a message and never send it cost next to nothing that way. They do count among those who wait, so
when there is no room left for others, whoever has kept the server waiting for long is sent away first.

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
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from slipway_server.markers import override

_server: Final[Any] = importlib.import_module("grpc._server")
_cygrpc: Final[Any] = importlib.import_module("grpc._cython.cygrpc")
_log: Final = logging.getLogger(__name__)

_MAX_HELD: Final = 256 << 20
"""Bytes of requests that wait for a thread; while there are more, further requests stay unread."""

_ARRIVAL_SECONDS: Final = 10.0
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
_FIELDS: Final = frozenset({"condition", "client", "due", "statused"})


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


class RpcWorkers(ThreadPoolExecutor):
    """At most `size` threads, started as they are needed; takes the place of the pool that `grpc.server` wants.

    Threads that have nothing to do are woken in turn, and a thread that has slept for long is slow: a few are better
    than all that there may be. Of its base class only the type is used: gRPC asks for it.

    Args:
        size: requests worked on at a time.
        name: of the threads.
        read_ahead: False lets every call go gRPC's own way.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        size: int,
        name: str = "rpc",
        *,
        read_ahead: bool = READS_AHEAD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(size)
        self._tasks: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._size = size
        self._name = name
        self._started = 0
        # One for each thread that is free and not yet meant for a task. Whoever gives a task takes one, so a task
        # never counts on a thread that another task has woken already. (When all threads are there, nobody asks.)
        self._free: deque[None] = deque(maxlen=size)
        self._read_ahead = read_ahead
        self._clock = clock
        # Calls whose message is on its way, by when it was asked for, the oldest first; and those whose message is not
        # asked for yet.
        self._arriving: dict[_Exchange, float] = {}
        self._unread: deque[_Exchange] = deque()
        # Bytes of those that wait, counted by gRPC's serving thread alone. What threads have taken of these they put
        # down in `_taken`.
        self._held = 0
        self._taken: deque[int] = deque()

    @property
    def waiting(self) -> int:
        """Requests that no thread has taken yet, those included whose message is still arriving."""
        return len(self._arriving) + len(self._unread) + self._tasks.qsize()

    def has_room(self, most: int) -> bool:
        """Whether fewer than `most` requests wait; called by gRPC's serving thread.

        Where there are more, those whose message has been arriving for long are ended to make room.
        """
        if self.waiting < most:
            return True
        before = self._clock() - _ARRIVAL_SECONDS
        for exchange, asked in tuple(self._arriving.items()):
            if asked > before:
                break
            self._arriving.pop(exchange, None)
            exchange.send_away()
        return self.waiting < most

    @override
    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        """Run a function on one of the threads and return its future; called by gRPC's serving thread."""
        while self._taken:
            self._held -= self._taken.popleft()
        if self._read_ahead and _takes_bytes(arguments):
            exchange = _Exchange(self, *arguments[1:4])
            if self._held < _MAX_HELD:
                self._ask(exchange)
                return exchange
            self._unread.append(exchange)
            # The threads may have emptied the queue meanwhile, and look here only when they take something from it.
            if self._tasks.empty():
                self._ask_unread()
            return exchange
        future: Future[Any] = Future()
        self._give(lambda: _run_into(future, fn, arguments, options))
        return future

    def arrived(self, exchange: "_Exchange", size: int | None) -> None:
        """Hand a request of so many bytes to a thread; None when there will be no message."""
        self._arriving.pop(exchange, None)
        if size is not None:
            self._held += size
            self._give(exchange.answer)

    def taken(self, size: int) -> None:
        """A thread has begun with a request of so many bytes."""
        self._taken.append(size)

    def _ask(self, exchange: "_Exchange") -> None:
        self._arriving[exchange] = self._clock()
        if not exchange.ask():
            self._arriving.pop(exchange, None)

    def _ask_unread(self) -> None:
        """Ask for the next message; for all when no other waits, since some of them may never come."""
        for _ in range(len(self._unread) if self._tasks.empty() else 1):
            try:
                exchange = self._unread.popleft()
            except IndexError:  # another thread was here
                return
            self._ask(exchange)

    def _give(self, task: Callable[[], object]) -> None:
        """Have a task done; called by gRPC's serving thread, which must not see an exception."""
        if self._free:
            self._free.pop()
        elif self._started < self._size:
            thread = threading.Thread(
                target=self._work, name=f"{self._name}-{self._started}", daemon=True
            )
            try:
                thread.start()
                self._started += 1
            except RuntimeError as error:  # no more are allowed; those that are there must do
                _log.warning("Cannot start another thread for gRPC requests: %s", error)
        self._tasks.put(task)

    def _work(self) -> None:
        get, free, unread = self._tasks.get, self._free.append, self._unread
        while True:
            try:
                while True:
                    task = get()
                    if unread:
                        self._ask_unread()
                    task()
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
    future: "Future[Any]",
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    try:
        future.set_result(function(*arguments, **options))
    except Exception as error:  # noqa: BLE001 - as concurrent.futures does
        future.set_exception(error)


class _Exchange:
    """One unary call: its message, then its answer. Also the future that gRPC expects of an executor."""

    __slots__ = ("_behavior", "_done", "_event", "_over", "_request", "_state", "_workers")

    def __init__(self, workers: RpcWorkers, event: Any, state: Any, behavior: Any) -> None:
        self._workers = workers
        self._event = event
        self._state = state
        self._behavior = behavior
        self._request: bytes | None = None
        self._done: Callable[[object], object] | None = None
        self._over = False

    def add_done_callback(self, callback: Callable[[object], object]) -> None:
        """Call back when the call is over."""
        self._done = callback
        if self._over:
            callback(self)

    def ask(self) -> bool:
        """Ask for the message; False when the call has ended meanwhile, or is not to be answered."""
        state = self._state
        with state.condition:
            if self._active:
                self._event.call.start_server_batch(
                    (_cygrpc.ReceiveMessageOperation(0),), self._received
                )
                state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
                return True
        self._end()
        return False

    def send_away(self) -> None:
        """End the call without its message. What was asked for comes to its end, too: `_received`."""
        state = self._state
        with state.condition:
            if self._active:
                _server._abort(
                    state,
                    self._event.call,
                    _cygrpc.StatusCode.unavailable,
                    b"Timed out receiving the request, and others need its place",
                )

    @property
    def _active(self) -> bool:
        state = self._state
        return state.client is not _server._CANCELLED and not state.statused

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
        """The client has sent no message: it has gone, or was sent away, or is told off in gRPC's own words."""
        state = self._state
        with state.condition:
            if self._active:
                state.client = _server._CLOSED
                method = self._event.call_details.method.decode()
                _server._abort(
                    state,
                    self._event.call,
                    _cygrpc.StatusCode.unimplemented,
                    f'"{method}" requires exactly one request message.'.encode(),
                )
        self._end()

    def answer(self) -> None:
        """Compute the answer and send it; on one of the threads."""
        event, state = self._event, self._state
        self._workers.taken(len(self._request or b""))
        try:
            # Nobody waits for the answer to a call that was cancelled or whose deadline has passed.
            if state.client is not _server._CANCELLED and not state.statused:
                try:
                    reply = self._behavior(self._request, _server._Context(event, state, None))
                except Exception as error:  # noqa: BLE001 - gRPC's own code knows what to tell the client
                    _server._call_behavior(event, state, _raising(error), None, None)
                else:
                    _server._status(event, state, reply)
        finally:
            self._end()

    def _end(self) -> None:
        self._over = True
        if self._done is not None:
            self._done(self)


def _raising(error: Exception) -> Callable[[Any, Any], Any]:
    def behavior(_request: Any, _context: Any) -> Any:
        raise error

    return behavior
