"""Where requests go now: what the Services select, and which pods their EndpointSlices show."""

from collections.abc import Mapping

from slipway_operator.api import names
from slipway_operator.model.observed import Observed, Pod


def selects_now(observed: Observed, service: str) -> str:
    """What a Service of ours selects: a servable's id, `rotation`, or nothing when it is absent."""
    child = observed.child("Service", service)
    if child is None:
        return ""
    labels: Mapping[str, str] = child.manifest["metadata"].get("labels") or {}
    return labels.get(names.SELECTS_LABEL, "")


def live_pods(observed: Observed) -> list[Pod]:
    """Pods that are not on their way out."""
    return [pod for pod in observed.pods if not pod.terminating]


def matched_pods(observed: Observed, selects: str) -> list[Pod]:
    """Live pods that a selector finds."""
    live = live_pods(observed)
    if selects == names.SELECTS_ROTATION:
        return [pod for pod in live if pod.in_rotation]
    return [pod for pod in live if pod.servable == selects]


def ready_endpoints(observed: Observed) -> list[Pod]:
    """Pods that take unversioned requests: ready, and shown so by the EndpointSlices of NAME."""
    endpoints = observed.endpoints.get(observed.model.name, frozenset())
    return [pod for pod in live_pods(observed) if pod.ready and pod.uid in endpoints]


def selected_pods(observed: Observed) -> list[Pod]:
    """Pods that will take unversioned requests once the EndpointSlices of NAME are computed anew.

    After a flip they show, for a moment, the pods of the selector before.
    """
    matched = matched_pods(observed, selects_now(observed, observed.model.name))
    return [pod for pod in matched if pod.ready]


def selected_servables(observed: Observed) -> frozenset[str]:
    """Servables that NAME selects now."""
    selects = selects_now(observed, observed.model.name)
    if selects == names.SELECTS_ROTATION:
        return frozenset(pod.servable for pod in matched_pods(observed, selects))
    return frozenset({selects}) if selects else frozenset()
