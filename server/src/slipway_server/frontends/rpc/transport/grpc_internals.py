"""The private half of grpcio that reading ahead needs. No other module may name it.

What is used of `grpc._server` is compared with what is expected, once, at import. With a release of grpcio that differs
`AVAILABLE` is False, nothing else here may be called, and `workers` falls back to an ordinary thread pool.
"""

# ruff: noqa: SLF001

import importlib
import inspect
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

_log: Final = logging.getLogger(__name__)

_PARAMETERS: Final = {
    "_unary_response_in_pool": (
        *("rpc_event", "state", "behavior", "argument_thunk"),
        *("request_deserializer", "response_serializer"),
    ),
    "_status": ("rpc_event", "state", "serialized_response"),
    "_possibly_finish_call": ("state", "token"),
    "_abort": ("state", "call", "code", "details"),
    "_Context": ("rpc_event", "state", "request_deserializer"),
}
_CONSTANTS: Final = ("_RECEIVE_MESSAGE_TOKEN", "_CANCELLED", "_CLOSED")
_FIELDS: Final = frozenset({"condition", "client", "due", "statused", "aborted", "rpc_errors"})
_CYGRPC: Final = ("ReceiveMessageOperation", "StatusCode")


def matches(server: Any, cygrpc: Any) -> bool:
    """Whether these stand-ins of `grpc._server` and `grpc._cython.cygrpc` have what is used here."""
    try:
        return (
            all(
                tuple(inspect.signature(getattr(server, name)).parameters) == parameters
                for name, parameters in _PARAMETERS.items()
            )
            and all(hasattr(server, name) for name in _CONSTANTS)
            and vars(server._RPCState()).keys() >= _FIELDS
            and all(hasattr(cygrpc, name) for name in _CYGRPC)
        )
    except (AttributeError, TypeError, ValueError):
        return False


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_server: Final[Any] = _module("grpc._server")
_cygrpc: Final[Any] = _module("grpc._cython.cygrpc")

AVAILABLE: Final = matches(_server, _cygrpc)
"""Whether calls can be read ahead with the grpcio that is installed."""


def is_unary_call_of_bytes(arguments: tuple[Any, ...]) -> bool:
    """Whether these arguments of `Executor.submit` are a unary call, of a method without (de)serializer."""
    return (
        len(arguments) == 1 + len(_PARAMETERS["_unary_response_in_pool"])
        and arguments[0] is _server._unary_response_in_pool
        and arguments[5] is None
        and arguments[6] is None
    )


class CallOwner(Protocol):
    """Observer of a call's progress (`workers.ReadAheadWorkers`)."""

    def arrived(self, call: "UnaryCall", size: int | None) -> None:
        """The call's message has this many bytes; None when it will have none. On gRPC's serving thread."""
        ...

    def taken(self) -> None:
        """A thread begins to answer a request."""
        ...

    def answered(self, size: int) -> None:
        """A request of so many bytes is answered, and gone."""
        ...


class UnaryCall:
    """One unary call: its message, then its answer. Also the future that gRPC expects of an executor.

    Args:
        arguments: of `Executor.submit`, for which `is_unary_call_of_bytes` holds.
    """

    __slots__ = ("_behavior", "_done", "_event", "_over", "_owner", "_request", "_state")

    def __init__(self, owner: CallOwner, arguments: tuple[Any, ...]) -> None:
        self._owner = owner
        self._event, self._state, self._behavior = arguments[1:4]
        self._request: bytes | None = None
        self._done: Callable[[object], object] | None = None
        self._over = False

    def add_done_callback(self, callback: Callable[[object], object]) -> None:
        """Have gRPC called back when the call is over, at once if it is already."""
        self._done = callback
        if self._over:
            callback(self)

    def receive(self) -> bool:
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

    @property
    def peer(self) -> str:
        """The client, as gRPC writes it: `ipv4:10.0.0.7:51324`."""
        return self._event.call.peer().decode(errors="replace")  # type: ignore[no-any-return]

    def abort_arrival(self, details: bytes) -> None:
        """End the call without its message. The pending receive operation ends, too: `_received`."""
        state = self._state
        with state.condition:
            if self._active:
                _server._abort(
                    state,
                    self._event.call,
                    _cygrpc.StatusCode.unavailable,
                    details,
                )

    @property
    def _active(self) -> bool:
        state = self._state
        return state.client is not _server._CANCELLED and not state.statused

    def _received(self, event: Any) -> Any:
        """Take the message; on gRPC's serving thread, which is told whether the call is over."""
        state = self._state
        self._request = event.batch_operations[0].message()
        if self._request is not None:
            self._owner.arrived(self, len(self._request))
        else:
            self._owner.arrived(self, None)
            self._refuse_missing_message()
        with state.condition:
            return _server._possibly_finish_call(state, _server._RECEIVE_MESSAGE_TOKEN)

    def _refuse_missing_message(self) -> None:
        """End a call without a message: its client has gone, or was aborted, or gets gRPC's own error for this."""
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
        """Compute the answer and send it; on a worker's thread."""
        event, state = self._event, self._state
        # Given away, not shared: whoever still refers to the call later does not keep the message.
        request, self._request = self._request, None
        size = len(request or b"")
        self._owner.taken()
        try:
            # Nobody waits for the answer to a call that was cancelled or whose deadline has passed.
            if state.client is not _server._CANCELLED and not state.statused:
                try:
                    reply = self._behavior(request, _server._Context(event, state, None))
                except Exception as error:  # noqa: BLE001 - the client hears of it as a status
                    self._fail(error)
                else:
                    _server._status(event, state, reply)
        finally:
            del request
            self._owner.answered(size)
            self._end()

    def _fail(self, error: Exception) -> None:
        """End the call with the status that its method has aborted with, or with UNKNOWN.

        What gRPC itself does here would raise the error anew, from a function that holds it: error, traceback and
        frame would keep each other, and the request with them, until the garbage collector comes by.
        """
        state = self._state
        with state.condition:
            if state.aborted:
                details = b"RPC Aborted"
            elif error in state.rpc_errors:  # the client has gone, and gRPC has said so
                return
            else:
                _log.error("a gRPC method failed", exc_info=error)
                details = f"Exception calling application: {error}".encode("utf-8", "replace")
            _server._abort(state, self._event.call, _cygrpc.StatusCode.unknown, details)

    def _end(self) -> None:
        self._over = True
        if self._done is not None:
            self._done(self)
