"""Access log: one line of JSON for each request that the rule selects. Switched off, it costs requests nothing."""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import grpc
import orjson

from slipway_server.errors import Code
from slipway_server.frontends.http.messages import HttpHandler, HttpRequest, HttpResponse
from slipway_server.frontends.request_log.background import Background, QueueBounds
from slipway_server.frontends.rpc.transport.server import RpcMethod
from slipway_server.observability.telemetry import Call

_LINE_BYTES: Final = 512
_MAX_NAME: Final = 200
_REQUEST_ID: Final = "x-request-id"
_CLOSE_SECONDS: Final = 2.0


class AccessLogMode(StrEnum):
    """Which requests are logged."""

    OFF = "off"
    ERRORS = "errors"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class AccessLogRule:
    """Which requests are logged, and how many of them.

    Attributes:
        sampling: share of successful requests that is logged; errors always are.
    """

    mode: AccessLogMode = AccessLogMode.OFF
    sampling: float = 1.0


class AccessLog:
    """Writes the lines on a thread of its own. When that cannot keep up, lines are left out and counted.

    Args:
        random: numbers from 0 to below 1.
        new_id: makes the id of a request that has none.
        write: takes whole lines.
        now: seconds since 1970.
    """

    def __init__(
        self,
        rule: AccessLogRule,
        *,
        random: Callable[[], float],
        new_id: Callable[[], str],
        write: Callable[[bytes], None] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._rule = rule
        self._random = random
        self._new_id = new_id
        self._write = write or _to_stderr
        self._now = now
        self._caller = threading.local()
        self._left_out = 0
        self._lines = Background(self._put, "access-log", QueueBounds(items=10_000))

    def ended(self, call: Call, code: Code, seconds: float) -> None:
        """Log a request that ended (`Telemetry`); called on the thread that answered it."""
        if code is Code.OK and (
            self._rule.mode is not AccessLogMode.ALL or self._random() >= self._rule.sampling
        ):
            return
        peer, request_id = getattr(self._caller, "now", ("", ""))
        line = {
            "event": "request",
            "time": datetime.fromtimestamp(self._now(), UTC),
            "protocol": call.protocol,
            "method": call.method,
            "model": call.model[:_MAX_NAME],
            "version": call.version or None,
            "signature": call.signature,
            "code": code.name,
            "seconds": round(seconds, 6),
            "peer": peer,
            "request_id": request_id,
        }
        if not self._lines.offer(line, _LINE_BYTES):
            self._left_out += 1

    def rpc(self, methods: Mapping[str, RpcMethod]) -> dict[str, RpcMethod]:
        """Return gRPC methods that remember who calls."""
        return {path: self._remembering(method) for path, method in methods.items()}

    def _remembering(self, method: RpcMethod) -> RpcMethod:
        def remember(request: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = dict(context.invocation_metadata() or ())
            self._caller.now = (context.peer(), str(metadata.get(_REQUEST_ID, ""))[:_MAX_NAME])
            return method(request, context)

        return remember

    def rest(self, api: HttpHandler) -> HttpHandler:
        """Return a REST API that remembers who calls, and gives a request an id that has none."""

        def answer(request: HttpRequest) -> HttpResponse:
            header = _REQUEST_ID.encode()
            request_id = request.headers.setdefault(header, self._new_id().encode())
            self._caller.now = (request.peer, request_id.decode("latin-1")[:_MAX_NAME])
            return api(request)

        return answer

    def close(self) -> None:
        """Write the lines that wait, for up to two seconds, and stop."""
        self._lines.close(_CLOSE_SECONDS)

    def _put(self, lines: Sequence[dict[str, Any]]) -> None:
        left_out, self._left_out = self._left_out, 0
        more = (
            [{"event": "requests dropped from the access log", "count": left_out}]
            if left_out
            else []
        )
        self._write(b"".join(orjson.dumps(line) + b"\n" for line in [*lines, *more]))


def _to_stderr(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()
