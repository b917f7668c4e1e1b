"""Metric families, declared in one way: Slipway's own, and TensorFlow Serving's, whose counters lack the `_total`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from slipway_server.observability.histogram import BucketCounts, cumulative


class Families:
    """Declares families that are updated as things happen; a page lists them in the order of declaration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def gauge(self, name: str, text: str, labels: Sequence[str]) -> Gauge:
        """Declare a gauge; the page shows it as `NAME`."""
        return Gauge(name, text, labels, registry=self._registry)

    def counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        """Declare a counter; the page shows it as `NAME_total`."""
        return Counter(name, text, labels, registry=self._registry)

    def histogram(
        self, name: str, text: str, labels: Sequence[str], limits: Sequence[float]
    ) -> Histogram:
        """Declare a histogram with these upper limits."""
        return Histogram(name, text, labels, buckets=limits, registry=self._registry)

    def classic_counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        """Declare a counter of TensorFlow Serving; the page shows it as `NAME`."""
        counter = Counter(name, text, labels, registry=None)
        self._registry.register(_Suffixless(counter))
        return counter


class _Suffixless(Collector):
    """Shows a counter by its plain name; the library adds `_total`."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    @override
    def collect(self) -> Iterator[Metric]:
        for family in self._counter.collect():
            yield classic_counter_family(
                family.name,
                family.documentation,
                (
                    (sample.labels, sample.value)
                    for sample in family.samples
                    if sample.name.endswith("_total")
                ),
            )


def classic_counter_family(
    name: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> Metric:
    """Return a counter of TensorFlow Serving for a page: labels and value of each series."""
    family = Metric(name, text, "counter")
    for labels, value in samples:
        family.add_sample(name, dict(labels), value)
    return family


def histogram_family(
    name: str,
    text: str,
    labels: Sequence[str],
    series: Iterable[tuple[Sequence[str], BucketCounts]],
) -> HistogramMetricFamily:
    """Return a histogram for a page: label values and counts of each series."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, counts in series:
        buckets = cumulative(counts.limits, counts.counts)
        family.add_metric(values, buckets, counts.total)
    return family


def exposed_name(name: str) -> str:
    """Return a metric's name as the metrics page writes it; TensorFlow writes its own with slashes.

    >>> exposed_name("/tensorflow/serving/request_count")
    ':tensorflow:serving:request_count'
    """
    return name.replace("/", ":")


def counter_values(registry: CollectorRegistry, names: Iterable[str]) -> dict[str, int]:
    """Return the sum over a counter's series by the name that was asked for; names of no counter are left out.

    A counter has several names, and each that is asked for is answered. One that nobody has counted with yet has no
    series and stands at 0.
    """
    wanted = {name: exposed_name(name) for name in names}
    if not wanted:
        return {}
    asked = frozenset(wanted.values())
    found: dict[str, int] = {}
    for metric in registry.collect():
        if metric.type not in {"counter", "untyped", "unknown"}:
            continue
        both = {metric.name, f"{metric.name}_total"}
        total = int(sum(sample.value for sample in metric.samples if sample.name in both))
        for exposed in both & asked:
            found[exposed] = found.get(exposed, 0) + total
    return {name: found[exposed] for name, exposed in wanted.items() if exposed in found}
