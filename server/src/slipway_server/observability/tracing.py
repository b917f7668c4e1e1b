"""Traces of requests for OpenTelemetry collectors: the request, the model's run, and the batch it was part of.

Optional: its packages are imported, and requests pay for it, only where the environment names a collector.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from typing_extensions import override

from slipway_server.errors import Code
from slipway_server.observability.batching_metrics import VersionBatches
from slipway_server.observability.run_metrics import RunMetrics
from slipway_server.observability.telemetry import Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_log: Final = structlog.get_logger("slipway_server.tracing")

COLLECTORS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables that name the collector; those and the others with OTEL_ in front are OpenTelemetry's own."""

_NAME: Final = "slipway-server"
_CLOSE_SECONDS: Final = 2.0
_QUIET_SECONDS: Final = 60.0
_NANO: Final = 1_000_000_000

_FAULTS_OF_THE_SERVER: Final = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
"""As OpenTelemetry's conventions for gRPC servers say; other codes are the caller's, and no error of the span."""


@dataclass(frozen=True, slots=True)
class RequestInBatch:
    """What a batch's span needs of a request.

    Attributes:
        span: of the request.
        arrived: when it was put into the queue, in nanoseconds since 1970.
    """

    span: "Span"
    arrived: int


class Tracing:
    """Makes spans. What a thread works on for a request belongs to the span that the thread has begun last.

    Args:
        provider: of the tracer.
        now: nanoseconds since 1970.
    """

    def __init__(
        self, provider: "TracerProvider", *, now: Callable[[], int] = time.time_ns
    ) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context  # noqa: PLC0415 - optional
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - optional
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer("slipway_server")
        self._propagator = TraceContextTextMapPropagator()
        self._server = SpanKind.SERVER
        self._error = Status(StatusCode.ERROR)
        self._within = set_span_in_context
        self._now = now
        self._thread = threading.local()

    @contextmanager
    def request(self, name: str, caller: Mapping[str, str]) -> "Iterator[None]":
        """Trace what the thread does until the end of the `with` block.

        Args:
            name: of the span, until `ended` knows a better one.
            caller: headers, of which `traceparent` and `tracestate` say what trace this belongs to.
        """
        context = self._propagator.extract(caller)
        span = self._tracer.start_span(name, context, self._server)
        self._thread.span = span
        try:
            yield
        finally:
            self._thread.span = None
            span.end()

    def ended(self, call: Call, code: Code) -> None:
        """Say of the request's span what is known at the end (`Telemetry`)."""
        if (span := self._span) is None:
            return
        if call.method:
            span.update_name(call.method)
        span.set_attributes(
            {
                "rpc.system": call.protocol.lower(),
                "rpc.method": call.method,
                "slipway.model": call.model,
                "slipway.version": call.version,
                "slipway.signature": call.signature,
                "slipway.code": code.name,
            }
        )
        if code in _FAULTS_OF_THE_SERVER:
            span.set_status(self._error)

    def ran(self, seconds: float) -> None:
        """Add the model's run, which has ended now, to this thread's request; waiting for a batch is part of it."""
        if (span := self._span) is not None:
            end = self._now()
            self._add(span, "run", end - int(seconds * _NANO), end, {})

    def waiting(self) -> RequestInBatch | None:
        """Return what `ran_batch` needs of this thread's request, which is about to wait for a batch."""
        span = self._span
        return None if span is None else RequestInBatch(span, self._now())

    def ran_batch(
        self,
        requests: Sequence[RequestInBatch | None],
        waits: Sequence[float],
        rows: int,
        size: int,
    ) -> None:
        """Add the run of a batch, which has ended now, to each of its requests.

        Args:
            requests: what `waiting` returned for each.
            waits: seconds from each one's coming to the batch's beginning.
            rows: of all of them.
            size: rows that ran, those included that only filled the batch up.
        """
        end = self._now()
        about = {
            "slipway.batch.requests": len(requests),
            "slipway.batch.rows": rows,
            "slipway.batch.size": size,
        }
        for request, wait in zip(requests, waits, strict=True):
            if request is not None:
                self._add(request.span, "batch", request.arrived + int(wait * _NANO), end, about)

    def close(self) -> None:
        """Send what is left, for up to two seconds."""
        closing = threading.Thread(
            target=self._provider.shutdown, name="tracing-close", daemon=True
        )
        closing.start()
        closing.join(_CLOSE_SECONDS)

    @property
    def _span(self) -> "Span | None":
        found: Span | None = getattr(self._thread, "span", None)
        return found

    def _add(
        self, parent: "Span", name: str, start: int, end: int, attributes: Mapping[str, int]
    ) -> None:
        self._tracer.start_span(
            name, self._within(parent), attributes=attributes, start_time=min(start, end)
        ).end(end)


class TracedRuns:
    """Runs that are counted, and traced (`inference.predictor.RunObserver`)."""

    def __init__(self, counted: RunMetrics, tracing: Tracing) -> None:
        self._counted = counted
        self._tracing = tracing

    def ran(
        self,
        method: str,
        model: str,
        version: int,
        signature: str,
        seconds: float,
        examples: int | None = None,
    ) -> None:
        """Take note of a run that succeeded."""
        self._counted.ran(method, model, version, signature, seconds, examples)
        self._tracing.ran(seconds)


class TracedBatches:
    """Batches that are counted, and traced (`batching.model.BatchObserver`)."""

    def __init__(self, counted: VersionBatches, tracing: Tracing) -> None:
        self._counted = counted
        self._tracing = tracing

    def waiting(self) -> object | None:
        """Return the span of this thread's request."""
        return self._tracing.waiting()

    def ran(
        self,
        signature: str,
        requests: Sequence[int],
        waits: Sequence[float],
        size: int,
        callers: Sequence[Any],
    ) -> None:
        """Take note of a batch."""
        self._counted.ran(signature, requests, waits, size, callers)
        self._tracing.ran_batch(callers, waits, sum(requests), size)

    def ran_alone(self, signature: str, rows: int, size: int) -> None:
        """Take note of a request that ran at once and alone: its run is all there is to trace."""
        self._counted.ran_alone(signature, rows, size)


def open_tracing(environment: Mapping[str, str], version: str) -> Tracing | None:
    """Return what traces requests, or None where nobody asks for it.

    Args:
        environment: the process's; OpenTelemetry reads the variables of its own from there.
        version: of the server.
    """
    asked = next((name for name in COLLECTORS if environment.get(name)), None)
    if asked is None or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        tracing = Tracing(_provider(environment, version))
    except ImportError as error:
        # Other packages bring parts of it.
        problem = f"{asked} is set, and OpenTelemetry is not installed ({error}): pip install 'slipway-server[tracing]'"
    except Exception as error:  # noqa: BLE001 - a value of OpenTelemetry's variables that it cannot use
        problem = (
            f"OpenTelemetry cannot be set up as its variables say: {type(error).__name__}: {error}"
        )
    else:
        _log.info("requests are traced", collector=environment[asked])
        return tracing
    _log.warning("requests are not traced", problem=problem)
    return None


def _provider(environment: Mapping[str, str], version: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - optional
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - optional
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - optional

    _quieten()
    resource = Resource.create(
        {"service.version": version}
        | ({} if environment.get("OTEL_SERVICE_NAME") else {"service.name": _NAME})
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _OnceAMinute(logging.Handler):
    """What the library has to say, as one line of the server's log and seldom."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._quiet_until = 0.0

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if (now := self._clock()) >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            _log.warning("traces are not sent", problem=record.getMessage()[:300])


def _quieten() -> None:
    library: Any = logging.getLogger("opentelemetry")
    library.handlers = [_OnceAMinute()]
    library.propagate = False
