"""The page of metrics: those that the programs declare, each with its type, labels and help."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

import slipway_operator.metrics
from slipway_server.core.states import Availability, VersionState
from slipway_server.errors import Code
from slipway_server.frontends.native.versions import NativeVersions
from slipway_server.frontends.request_log.sampler import RecordFile, RequestLog
from slipway_server.observability.batching_metrics import BatchingMetrics
from slipway_server.observability.load_metrics import InFlight, LoadMetrics
from slipway_server.observability.run_metrics import RunMetrics
from slipway_server.observability.telemetry import Telemetry
from slipway_server.observability.warmup_metrics import WarmUpMetrics
from slipway_server.storage.source import LoggingRule

Row = tuple[str, str, tuple[str, ...], str]
"""Name as the page of a scrape writes it, type, labels, help."""

CLASSIC: Final = ":tensorflow:"
_PROCESS: Final = "process_"

_HEAD: Final = """\
<!-- Written by `make generate`. Do not edit. -->

# Metrics

In Prometheus's text format. A histogram `NAME` has the series `NAME_bucket`, `NAME_sum` and `NAME_count`. How to scrape
them, alerts and dashboards: [Monitoring](../guide/monitoring.md).

## Operator

Port 8080, path `/metrics`; also the `python_*` and `process_*` metrics of Prometheus's client for Python.

"""
_SERVER: Final = """
## Model server

Port 8501, path `/monitoring/prometheus/metrics`; also `process_*`: memory, CPU and file descriptors. What is counted,
and when: [Operations](../guide/server-operations.md#metrics). The label `version` is empty where there was none.

"""
_NAMED: Final = """
## Model server, TensorFlow Serving's names

On the same page, with TensorFlow Serving's labels and buckets.

"""


def page() -> str:
    """The page, in Markdown."""
    server = [row for row in server_rows() if not row[0].startswith(_PROCESS)]
    own = [row for row in server if not row[0].startswith(CLASSIC)]
    classic = [row for row in server if row[0].startswith(CLASSIC)]
    parts = (_HEAD, _table(operator_rows()), _SERVER, _table(own), _NAMED, _table(classic))
    return "".join(parts)


def operator_rows() -> list[Row]:
    """The metrics that the operator's module declares."""
    declared = [
        value
        for value in vars(slipway_operator.metrics).values()
        if isinstance(value, MetricWrapperBase)
    ]
    return [
        row
        for metric in declared
        for row in _rows(metric.collect(), tuple(metric._labelnames))  # noqa: SLF001 (not to be had otherwise)
    ]


def server_rows() -> list[Row]:
    """The metrics of a server that has loaded, warmed up, answered, batched and logged: each has a series then."""
    telemetry = Telemetry(lambda _: True)
    registry = telemetry.registry
    call = telemetry.begin("Predict", "GRPC")
    call.model, call.version, call.signature = "m", 1, "s"
    telemetry.end(call, Code.OK)
    RunMetrics(registry).ran("Classify", "m", 1, "s", 0.1, examples=1)
    InFlight(registry, lambda: {("m", 1): 1}, lambda: {"GRPC": 0})
    NativeVersions(_IdleFront()).watch(registry)  # type: ignore[arg-type]
    loads = LoadMetrics(registry, estimated=len, resident=lambda: 0, clock=lambda: 0.0)
    for availability in (Availability.LOADING, Availability.AVAILABLE):
        loads.changed(VersionState("m", 1, availability), "/models/m/1")
    WarmUpMetrics(registry).warmed_up("m", "/models/m/1", 1, 0.1, None)
    BatchingMetrics(registry, "pool").observer("m", 1).ran("s", [1], [0.0], 1, [None])
    log = RequestLog(registry, open_file=_no_file, max_bytes=1, random=lambda: 0.0)
    log.keep("m", LoggingRule("", 1.0), lambda _: b"", 0)
    return list(_rows(registry.collect(), ()))


class _IdleFront:
    """A native front that has answered nothing."""

    def predictions(self) -> tuple[int, int]:
        return 0, 0


def _no_file(_: str) -> RecordFile:
    raise NotImplementedError


def _rows(families: Iterable[Metric], labels: tuple[str, ...]) -> Iterator[Row]:
    for family in families:
        of_samples = {name: None for sample in family.samples for name in sample.labels}
        shown = labels or tuple(name for name in of_samples if name != "le")
        own_counter = family.type == "counter" and not family.name.startswith(CLASSIC)
        name = f"{family.name}_total" if own_counter else family.name
        yield name, family.type, shown, family.documentation


def _table(rows: Iterable[Row]) -> str:
    lines = ["| Metric | Type | Labels | Meaning |", "| --- | --- | --- | --- |"]
    for name, kind, labels, text in rows:
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {shown} | {text.rstrip('.')}. |")
    return "\n".join(lines) + "\n"
