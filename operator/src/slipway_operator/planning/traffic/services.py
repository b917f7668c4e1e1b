"""The Services of a Model, and how NAME gets to point elsewhere.

NAME selects either one servable or, while a transition mixes versions, the pods that carry the
rotation label. It is flipped only when NAME-next, a Service with the future selector, shows every
expected pod ready: the EndpointSlice controller learns of labels and readiness from its own
watches, and a flip before it has would leave NAME without endpoints for a moment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slipway_operator.api import names
from slipway_operator.api.names import SELECTS_ROTATION
from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.model.observed import Observed, Pod
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.drift import apply_child, delete_child
from slipway_operator.planning.endpoints import live_pods, selected_servables, selects_now
from slipway_operator.planning.traffic.routing import Traffic, route
from slipway_operator.rendering import services as manifests


@dataclass(frozen=True, slots=True)
class ServiceStep:
    """The next step of the Services towards a `Traffic`.

    Attributes:
        selects: What NAME selects after this step; empty while there is nothing to select.
        preflight: What NAME-next selects; empty when no flip is being prepared.
        label: Pods that get the rotation label.
        unlabel: Pods that lose it.
    """

    selects: str
    preflight: str = ""
    label: tuple[Pod, ...] = ()
    unlabel: tuple[Pod, ...] = ()


def service_step(observed: Observed, traffic: Traffic, *, relabel: bool = True) -> ServiceStep:
    """What brings the traffic about with Services.

    Args:
        observed: The snapshot.
        traffic: Where requests should go.
        relabel: Whether pods may get or lose the rotation label.
    """
    now = selects_now(observed, observed.model.name)
    future = SELECTS_ROTATION if traffic.mixed else next(iter(traffic.weights), "")
    preflight = "" if future == now or _may_flip(observed, traffic, now, future) else future
    step = ServiceStep(now if preflight else future, preflight)
    return _with_labels(observed, traffic, now, step) if relabel else step


def _may_flip(observed: Observed, traffic: Traffic, now: str, future: str) -> bool:
    """Whether NAME-next shows the pods that must not be missed after the flip."""
    if traffic.urgent:
        return True
    servable = now if traffic.mixed else future
    expected = {p.uid for p in live_pods(observed) if p.ready and p.servable == servable}
    next_name = _next_name(observed)
    tried = selects_now(observed, next_name) == future
    return not expected or (tried and expected <= observed.endpoints.get(next_name, frozenset()))


def _next_name(observed: Observed) -> str:
    """The Service that tries selectors out; another one's NAME-next must not hold the traffic up."""
    name = names.next_service(observed.model.name)
    taken = f"Service/{name}" in observed.foreign
    return names.spare_next_service(observed.model.name) if taken else name


def _with_labels(observed: Observed, traffic: Traffic, now: str, step: ServiceStep) -> ServiceStep:
    """Add which pods must carry the label for the selector that NAME has or is about to get."""
    live = live_pods(observed)
    if SELECTS_ROTATION in (step.selects, step.preflight):
        members = set(traffic.weights) | selected_servables(observed)
        label = tuple(p for p in live if p.servable in members and not p.in_rotation)
        return ServiceStep(step.selects, step.preflight, label=label)
    if now == SELECTS_ROTATION or observed.model.name not in observed.caught_up:
        # The EndpointSlice controller may learn of the pods' labels before it learns of the
        # Service's selector: the marks go when its slices show that it no longer looks at them.
        return step
    unlabel = tuple(p for p in live if p.in_rotation)
    return ServiceStep(step.selects, step.preflight, unlabel=unlabel)


def service_actions(decision: Decision) -> Iterator[Action]:
    """Take the next step of traffic, and keep the Services of versions and labels."""
    observed = decision.observed
    traffic = route(observed, decision.desired, decision.limits, decision.split)
    # The rotation label has no effect without a primary, or before NAME selects anything.
    relabel = decision.desired.primary is not None and bool(decision.selects)
    step = service_step(observed, traffic, relabel=relabel)
    for pod in step.label:
        yield actions.RotatePod(pod.name, pod.uid, rotate=True)
    for pod in step.unlabel:
        yield actions.RotatePod(pod.name, pod.uid, rotate=False)
    wanted = _wanted(decision, step)
    for manifest in wanted:
        yield from apply_child(observed, manifest)
    if decision.desired.primary is None:
        return
    kept = {manifest["metadata"]["name"] for manifest in wanted}
    # T10: the Service of a label whose version is not ready stays where it points.
    kept |= {
        names.label_service(observed.model.name, label) for label in observed.model.spec.labels
    }
    for name in sorted(set(observed.of_kind("Service")) - kept):
        yield from delete_child(observed, "Service", name)


def _wanted(decision: Decision, step: ServiceStep) -> list[dict[str, Any]]:
    observed, limits = decision.observed, decision.limits
    model = observed.model
    wanted = []
    if step.selects:
        wanted += [
            manifests.model_service(model, step.selects),
            manifests.pods_service(model, step.selects),
        ]
    if step.preflight:
        wanted.append(manifests.next_service(model, step.preflight, _next_name(observed)))
    versions = {servable.version for servable in decision.desired.servables}
    versions |= {d.version for d in observed.deployments}
    wanted += [manifests.version_service(model, version) for version in sorted(versions)]
    for label, version in sorted(model.spec.labels.items()):
        # T10: a label moves when all replicas of its version are ready, and not before.
        ready = sum(p.ready and p.version == version for p in observed.pods if not p.terminating)
        if limits.replicas and ready >= limits.replicas:
            wanted.append(manifests.label_service(model, label, version))
    return wanted
