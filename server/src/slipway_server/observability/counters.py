"""How far counters have come: what a reload reports about itself."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry


def exposed_name(name: str) -> str:
    """Return a metric's name as the metrics page writes it; TensorFlow writes its own with slashes.

    >>> exposed_name("/tensorflow/serving/request_count")
    ':tensorflow:serving:request_count'
    """
    return name.replace("/", ":")


def counter_values(registry: CollectorRegistry, names: Iterable[str]) -> dict[str, int]:
    """Return by asked name the sum over a counter's series; names of no counter are left out.

    A counter that nobody has counted with yet has no series and stands at 0.
    """
    wanted = {exposed_name(name): name for name in names}
    if not wanted:
        return {}
    found: dict[str, int] = {}
    for metric in registry.collect():
        if metric.type not in {"counter", "untyped", "unknown"}:
            continue
        for exposed in (metric.name, f"{metric.name}_total"):
            if name := wanted.get(exposed):
                samples = (
                    sample.value
                    for sample in metric.samples
                    if sample.name in {metric.name, f"{metric.name}_total"}
                )
                found[name] = found.get(name, 0) + int(sum(samples))
    return found
