"""The threads that answer gRPC requests.

grpcio's own way is to give a new call to a thread, which then asks for the message and sleeps until the serving thread
has it: two more changes of thread for each request, each a round of the interpreter lock; and a client that sends
slowly keeps a thread. `ReadAheadWorkers` has the serving thread ask for the message at once, and wakes a thread when it
is there.

Clients that announce a message and never send it cost next to nothing that way. They do count among those who wait, so
when there is no room left for others, calls that have kept the server waiting for long are aborted first.

Reading ahead needs private names of grpcio (`grpc_internals`); where they differ, `RpcWorkers` does with its public
interface, which is only slower.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from typing_extensions import override

from slipway_server.frontends.rpc.transport import grpc_internals
from slipway_server.frontends.rpc.transport.arrivals import ArrivingBytes, connection_of
from slipway_server.frontends.rpc.transport.grpc_internals import UnaryCall

_log: Final = logging.getLogger(__name__)

_READ_FOR_EACH: Final = 2
"""Unread requests that are asked for when one is answered: so it soon becomes as many as there is room for."""

_TIMED_OUT: Final = b"Timed out receiving the request, and others need its place"

_ARRIVAL_SECONDS: Final = 10.0
"""Within these a message should come, once there are more requests than may wait."""


_HELD: Final = 256 << 20


def rpc_workers(
    size: int, name: str = "rpc", *, held: int = _HELD, arrivals: ArrivingBytes | None = None
) -> "RpcWorkers":
    """Return workers that read ahead, where the grpcio that is installed allows that."""
    if grpc_internals.AVAILABLE:
        return ReadAheadWorkers(size, name, held=held, arrivals=arrivals)
    return RpcWorkers(size, name)


def warn_if_slow() -> None:
    """Log a warning when calls cannot be read ahead; called once, when the port is opened."""
    if not grpc_internals.AVAILABLE:
        _log.warning(
            "This release of grpcio is not known: gRPC requests are answered by an ordinary thread pool, which needs "
            "more CPU time for each"
        )


class RpcWorkers(ThreadPoolExecutor):
    """An ordinary thread pool that knows how many calls wait.

    Args:
        size: requests worked on at a time.
        name: of the threads.
    """

    def __init__(self, size: int, name: str = "rpc") -> None:
        super().__init__(size, thread_name_prefix=name)
        # One for each call that no thread has taken yet; a deque, since both its ends are atomic.
        self._queued: deque[None] = deque()

    @property
    def waiting(self) -> int:
        """Requests that no thread has taken yet, those included whose message is still arriving."""
        return len(self._queued)

    def has_room(self, most: int) -> bool:
        """Whether fewer than `most` requests wait; called by gRPC's serving thread."""
        return self.waiting < most

    def slow(self, _before: float) -> list[tuple[UnaryCall, float]]:
        """Return the calls whose message was asked for before a moment and is not complete, as far as is known."""
        return []

    @override
    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        """Run a function on one of the threads and return its future; called by gRPC's serving thread."""
        future: Future[Any] = Future()
        self._queued.append(None)
        try:
            super().submit(self._take, [future], fn, arguments, options)
        except (
            RuntimeError
        ) as error:  # no further thread is allowed; the call waits for those that are there
            _log.warning("Cannot start another thread for gRPC requests: %s", error)
        return future

    def _take(
        self,
        future: "list[Future[Any]]",
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: dict[str, Any],
    ) -> None:
        self._queued.pop()
        _run_into(future, function, arguments, options)


class ReadAheadWorkers(RpcWorkers):
    """At most `size` threads, started as they are needed, each woken when a request's bytes are there.

    Threads that have nothing to do are woken in turn, and a thread that has slept for long is slow: a few are better
    than all that there may be. Of `ThreadPoolExecutor` only the type is used: gRPC asks for it.

    Args:
        size: requests worked on at a time.
        name: of the threads.
        held: bytes of requests that wait for a thread or are worked on; while there are more, further ones stay unread.
        arrivals: is told of complete messages.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        size: int,
        name: str = "rpc",
        *,
        held: int = _HELD,
        arrivals: ArrivingBytes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(size, name)
        self._tasks: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._size = size
        self._most_held = held
        self._arrivals = arrivals
        self._name = name
        self._started = 0
        # One for each thread that is free and not yet meant for a task. Whoever gives a task takes one, so a task
        # never counts on a thread that another task has woken already. (When all threads are there, nobody asks.)
        self._free: deque[None] = deque(maxlen=size)
        self._clock = clock
        # Calls whose message is on its way, by when it was asked for, the oldest first; and those whose message is not
        # asked for yet.
        self._arriving: dict[UnaryCall, float] = {}
        self._unread: deque[UnaryCall] = deque()
        # Bytes of those that wait or are worked on, and how many are worked on.
        self._lock = threading.Lock()
        self._held = 0
        self._working = 0

    @property
    @override
    def waiting(self) -> int:
        """Requests that no thread has taken yet, those included whose message is still arriving."""
        return len(self._arriving) + len(self._unread) + self._tasks.qsize()

    @override
    def has_room(self, most: int) -> bool:
        """Whether fewer than `most` requests wait; called by gRPC's serving thread.

        Where there are more, those whose message has been arriving for long are ended to make room.
        """
        if self.waiting < most:
            return True
        before = self._clock() - _ARRIVAL_SECONDS
        for call, since in tuple(self._arriving.items()):
            if since > before:
                break
            self._arriving.pop(call, None)
            call.abort_arrival(_TIMED_OUT)
        return self.waiting < most

    @override
    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        """Run a function on one of the threads and return its future; called by gRPC's serving thread."""
        if grpc_internals.is_unary_call_of_bytes(arguments):
            call = UnaryCall(self, arguments)
            if self._held < self._most_held:
                self._receive(call)
                return call
            self._unread.append(call)
            # The threads may have made room meanwhile, and look here only when they have answered something.
            if self._held < self._most_held or self._quiet:
                self._receive_unread()
            return call
        future: Future[Any] = Future()
        self._give(partial(_run_into, [future], fn, arguments, options))
        return future

    @override
    def slow(self, before: float) -> list[tuple[UnaryCall, float]]:
        """Return the calls whose message was asked for before a moment and is not complete, and that moment."""
        return [(call, since) for call, since in tuple(self._arriving.items()) if since <= before]

    def arrived(self, call: UnaryCall, size: int | None) -> None:
        """Hand a request of so many bytes to a thread; None when there will be no message."""
        self._arriving.pop(call, None)
        if size is not None:
            if (arrivals := self._arrivals) is not None and arrivals.counts:
                arrivals.completed(connection_of(call.peer), size)
            with self._lock:
                self._held += size
            self._give(call.answer)

    def taken(self) -> None:
        """A thread has begun with a request."""
        with self._lock:
            self._working += 1

    def answered(self, size: int) -> None:
        """A thread has answered a request of so many bytes."""
        with self._lock:
            self._working -= 1
            self._held -= size
        if self._unread and (self._held < self._most_held or self._quiet):
            self._receive_unread()

    @property
    def _quiet(self) -> bool:
        """Whether no request will be answered soon, upon which others would be asked for."""
        return not self._working and self._tasks.empty()

    def _receive(self, call: UnaryCall) -> None:
        self._arriving[call] = self._clock()
        if not call.receive():
            self._arriving.pop(call, None)

    def _receive_unread(self) -> None:
        """Ask for the next messages; for all when all is quiet, since some of them may never come."""
        for _ in range(len(self._unread) if self._quiet else _READ_FOR_EACH):
            try:
                call = self._unread.popleft()
            except IndexError:  # another thread was here
                return
            self._receive(call)

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
        free = self._free.append
        while True:
            try:
                while True:
                    self._do_next()
                    free(None)
            except Exception:  # noqa: BLE001 - the thread must go on for the others
                _log.exception("A gRPC call could not be ended")
                free(None)

    def _do_next(self) -> None:
        # A function of its own: while a thread waits for the next task, nothing keeps the last one and its request.
        task = self._tasks.get()
        task()


def _run_into(
    future: "list[Future[Any]]",
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    """Run a function and tell the future how it ended, which is taken out of its list.

    An error's traceback leads to this frame and to those above it: none of them may lead back to the error.
    """
    try:
        result = function(*arguments, **options)
    except Exception as error:  # noqa: BLE001 - as concurrent.futures does
        future.pop().set_exception(error)
    else:
        future.pop().set_result(result)
