"""Instrumentation of every gRPC method: metrics, the deadline, and errors as status codes."""

import time
from collections.abc import Callable
from typing import Final

import grpc
import structlog

from slipway_server.errors import Code, ServingError, deadline_exceeded
from slipway_server.frontends.rpc.transport.deadline import deadline
from slipway_server.frontends.rpc.transport.server import GRPC_STATUS, RpcMethod
from slipway_server.observability.telemetry import Call, Telemetry

_log: Final = structlog.get_logger("slipway_server.rpc")

CallHandler = Callable[[bytes, Call], bytes]

_MAX_MESSAGE: Final = 1024
"""Bytes, to which the mark of the cut is added."""
_TRUNCATED: Final = "...TRUNCATED"


def instrumented(
    telemetry: Telemetry,
    name: str,
    answer: CallHandler,
    *,
    check: Callable[[grpc.ServicerContext], None] | None = None,
) -> RpcMethod:
    """Return the gRPC handler of a method.

    Args:
        telemetry: counts the calls.
        name: of the method.
        answer: takes the request's bytes and raises ServingError.
        check: refuses a caller with a ServingError, before the request is looked at.
    """

    def method(request: bytes, context: grpc.ServicerContext) -> bytes:
        call = telemetry.begin(name, "GRPC")
        try:
            if check is not None:
                check(context)
            call.deadline = _deadline(context)
            reply = answer(request, call)
        except ServingError as error:
            telemetry.end(call, error.code)
            _abort(context, error)
        except Exception as error:  # noqa: BLE001 - gRPC would tell the client UNKNOWN; REST says this
            telemetry.end(call, Code.INTERNAL)
            _log.exception("a request failed", method=name)
            _abort(context, ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}"))
        telemetry.end(call, Code.OK)
        return reply

    return method


def _deadline(context: grpc.ServicerContext) -> float | None:
    """Return until when the client waits, on the monotonic clock; refuse the call when that has passed.

    The client hears of a deadline that passes later from gRPC itself, at that moment.
    """
    until = deadline(context)
    if until is not None and until <= time.monotonic():
        raise deadline_exceeded()
    return until


def _abort(context: grpc.ServicerContext, error: ServingError) -> None:
    """End the call with a status; gRPC carries it in a header, so a long message is cut as TensorFlow Serving does."""
    data = error.message.encode("utf-8", "replace")
    message = data.decode()
    if len(data) > _MAX_MESSAGE:
        message = data[:_MAX_MESSAGE].decode("utf-8", "ignore") + _TRUNCATED
    context.abort(GRPC_STATUS[error.code], message)
