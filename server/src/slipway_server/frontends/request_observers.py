"""Who is told of every request, around the methods of both protocols: the access log, and its trace."""

import random
import uuid
from collections.abc import Callable, Mapping

import grpc

from slipway_server.errors import Code
from slipway_server.frontends.access_log import AccessLog, AccessLogMode, AccessLogRule
from slipway_server.frontends.http.messages import HttpHandler, HttpRequest, HttpResponse
from slipway_server.frontends.rpc.transport.server import RpcMethod
from slipway_server.observability.telemetry import Call
from slipway_server.observability.tracing import Tracing

_Ended = Callable[[Call, Code, float], None]


class RequestObservers:
    """The observers of requests that are switched on; without any, requests pay for none.

    Args:
        rule: of the access log.
        tracing: None for no traces.
    """

    def __init__(self, rule: AccessLogRule, tracing: Tracing | None) -> None:
        self._log = (
            None
            if rule.mode is AccessLogMode.OFF
            else AccessLog(rule, random=random.random, new_id=lambda: uuid.uuid4().hex)
        )
        self._tracing = tracing

    @property
    def any(self) -> bool:
        """Whether requests have to come by here."""
        return self._log is not None or self._tracing is not None

    @property
    def ended(self) -> _Ended | None:
        """What is to be told of every request that ended (`Telemetry`)."""
        log, tracing = self._log, self._tracing
        if tracing is None:
            return log.ended if log else None

        def ended(call: Call, code: Code, seconds: float) -> None:
            tracing.ended(call, code)
            if log is not None:
                log.ended(call, code, seconds)

        return ended

    def rpc(self, methods: Mapping[str, RpcMethod]) -> dict[str, RpcMethod]:
        """Return gRPC methods whose calls are observed."""
        observed = self._log.rpc(methods) if self._log else dict(methods)
        return traced_rpc(self._tracing, observed) if self._tracing else observed

    def rest(self, api: HttpHandler) -> HttpHandler:
        """Return a REST API whose requests are observed."""
        observed = self._log.rest(api) if self._log else api
        return traced_rest(self._tracing, observed) if self._tracing else observed

    def close(self) -> None:
        """Write and send what waits, for up to two seconds each."""
        if self._log:
            self._log.close()
        if self._tracing:
            self._tracing.close()


def traced_rpc(tracing: Tracing, methods: Mapping[str, RpcMethod]) -> dict[str, RpcMethod]:
    """Return gRPC methods each call of which is a span."""

    def traced(path: str, method: RpcMethod) -> RpcMethod:
        name = path.rpartition("/")[2]

        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = {
                key: value
                for key, value in context.invocation_metadata() or ()
                if isinstance(value, str)
            }
            with tracing.request(name, metadata):
                return method(request, context)

        return call

    return {path: traced(path, method) for path, method in methods.items()}


def traced_rest(tracing: Tracing, api: HttpHandler) -> HttpHandler:
    """Return a REST API each request of which is a span."""

    def answer(request: HttpRequest) -> HttpResponse:
        headers = {
            name: request.headers[name.encode()].decode("latin-1")
            for name in ("traceparent", "tracestate")
            if name.encode() in request.headers
        }
        with tracing.request(f"HTTP {request.method}", headers):
            return api(request)

    return answer
