"""Where the Service NAME points, and how it gets to point elsewhere.

NAME selects either one servable or, while a transition mixes versions, the pods that carry the
rotation label. It is flipped only when NAME-next, a Service with the future selector, shows every
expected pod ready: the EndpointSlice controller learns of labels and readiness from its own
watches, and a flip before it has would leave NAME without endpoints for a moment.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from slipway_operator.api import names
from slipway_operator.model.observed import Observed, Pod
from slipway_operator.planning.capacity.scaling import Limits
from slipway_operator.planning.versions.desired import Aspiration
from slipway_operator.rendering.services import ROTATION, SELECTS_LABEL


@dataclass(frozen=True, slots=True)
class Traffic:
    """The next step of traffic.

    Attributes:
        selects: What NAME selects after this step; empty while there is nothing to select.
        preflight: What NAME-next selects; empty when no flip is being prepared.
        rotate: Pods that get the rotation label.
        unrotate: Pods that lose it.
    """

    selects: str
    preflight: str = ""
    rotate: tuple[Pod, ...] = ()
    unrotate: tuple[Pod, ...] = ()


def selects_now(observed: Observed, service: str) -> str:
    """What a Service of ours selects: a servable's id, `rotation`, or nothing when it is absent."""
    child = observed.services.get(service)
    if child is None:
        return ""
    labels: Mapping[str, str] = child.manifest["metadata"].get("labels") or {}
    return labels.get(SELECTS_LABEL, "")


def live_pods(observed: Observed) -> list[Pod]:
    """Pods that are not on their way out."""
    return [pod for pod in observed.pods if not pod.terminating]


def rotating_pods(observed: Observed) -> list[Pod]:
    """Pods that take unversioned requests: ready, and shown so by the EndpointSlices of NAME."""
    shown = observed.endpoints.get(observed.model.name, frozenset())
    return [pod for pod in live_pods(observed) if pod.ready and pod.uid in shown]


def selected_pods(observed: Observed) -> list[Pod]:
    """Pods that will take unversioned requests once the EndpointSlices of NAME are computed anew.

    After a flip they show, for a moment, the pods of the selector before.
    """
    behind = _behind(observed, selects_now(observed, observed.model.name))
    return [pod for pod in behind if pod.ready]


def incumbents(observed: Observed) -> frozenset[str]:
    """Servables that NAME selects now."""
    selects = selects_now(observed, observed.model.name)
    if selects == ROTATION:
        return frozenset(pod.servable for pod in live_pods(observed) if pod.in_rotation)
    return frozenset({selects}) if selects else frozenset()


def _vacant(observed: Observed, selects: str) -> bool:
    """Whether nothing is left, or to come, behind a selector."""
    entitled = any(d.servable == selects and d.replicas > 0 for d in observed.deployments)
    return not entitled and not _behind(observed, selects)


def _behind(observed: Observed, selects: str) -> list[Pod]:
    """Live pods that a selector finds."""
    live = live_pods(observed)
    if selects == ROTATION:
        return [pod for pod in live if pod.in_rotation]
    return [pod for pod in live if pod.servable == selects]


def _relief(observed: Observed, selects: str) -> str:
    """The servable with the most ready pods, when nothing is ready behind a selector; or nothing.

    T2: as long as any pod can serve, requests find one.
    """
    if any(pod.ready for pod in _behind(observed, selects)):
        return ""
    ready = Counter(pod.servable for pod in live_pods(observed) if pod.ready)
    versions = {pod.servable: pod.version for pod in observed.pods}
    return max(ready, key=lambda s: (ready[s], versions[s], s), default="")


def _future(
    observed: Observed, aspiration: Aspiration, limits: Limits, now: str
) -> tuple[str, frozenset[str]]:
    """Where NAME should point next, and the pods that must be seen ready there before it does."""
    primary = aspiration.primary
    assert primary is not None  # noqa: S101 (checked by the only caller)
    live = live_pods(observed)
    ready = frozenset(p.uid for p in live if p.ready and p.servable == primary.id)
    if limits.replicas > 0 and len(ready) >= limits.replicas:
        return primary.id, ready
    if relief := _relief(observed, now):
        return relief, frozenset()
    if _vacant(observed, now):
        return primary.id, frozenset()
    aspired = {servable.id for servable in aspiration.servables}
    # An incumbent that stays has all its pods, so traffic can wait and then move at once; so it
    # does where all the new pods fit beside the old ones, and where there is only one pod to move.
    if now == ROTATION or now in aspired or limits.atomic or limits.replicas <= 1:
        return now, frozenset()
    expected = frozenset(p.uid for p in live if p.ready and p.servable == now)
    return ROTATION, expected


def route(observed: Observed, aspiration: Aspiration, limits: Limits) -> Traffic:
    """Decide the next step of traffic."""
    name = observed.model.name
    now = selects_now(observed, name)
    primary = aspiration.primary
    if primary is None:
        return Traffic(selects=_relief(observed, now) or now)
    if not now:
        return Traffic(selects=_relief(observed, now) or primary.id)
    future, expected = _future(observed, aspiration, limits, now)
    preflight = ""
    selects = now
    if future != now:
        next_name = names.next_service(name)
        tried = selects_now(observed, next_name) == future
        shown = observed.endpoints.get(next_name, frozenset())
        if not expected or (tried and expected <= shown):
            selects = future
        else:
            preflight = future
    return _with_rotation(observed, primary.id, now, selects, preflight)


def _with_rotation(
    observed: Observed, primary: str, now: str, selects: str, preflight: str
) -> Traffic:
    """Add which pods must carry the label for the selector that NAME has or is about to get."""
    live = live_pods(observed)
    if ROTATION in (selects, preflight):
        members = incumbents(observed) | {primary}
        rotate = tuple(p for p in live if p.servable in members and not p.in_rotation)
        return Traffic(selects, preflight, rotate=rotate)
    if now == ROTATION or observed.model.name not in observed.caught_up:
        # The EndpointSlice controller may learn of the pods' labels before it learns of the
        # Service's selector: the marks go when its slices show that it no longer looks at them.
        return Traffic(selects, preflight)
    return Traffic(selects, preflight, unrotate=tuple(p for p in live if p.in_rotation))
