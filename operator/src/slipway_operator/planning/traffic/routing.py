"""Which servables should take unversioned requests next, and how large a share each."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from slipway_operator.api.names import SELECTS_ROTATION, servable_id
from slipway_operator.model.observed import Observed, Pod
from slipway_operator.planning.capacity.scaling import Limits
from slipway_operator.planning.endpoints import (
    live_pods,
    matched_pods,
    selected_servables,
    selects_now,
)
from slipway_operator.planning.rollout.analysis import is_condemned
from slipway_operator.planning.rollout.split import Split
from slipway_operator.planning.versions.desired import DesiredVersions

K = TypeVar("K", int, str)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where unversioned requests should go next, whatever brings it about.

    Attributes:
        weights: Percent of the requests by servable id; sums to 100, empty while there is nothing
            to send requests to.
        mixed: Versions share the requests while one replaces the other, each by its ready pods, and
            a share may be 0 until its first pod is ready.
        urgent: Nothing answers, or is to come, where requests go now: they need not wait until the
            way there has been seen to work.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    mixed: bool = False
    urgent: bool = False


def only(servable: str, *, urgent: bool = False) -> Traffic:
    """All requests to one servable; none while there is no servable."""
    return Traffic({servable: 100} if servable else {}, urgent=urgent)


def percent(counts: Mapping[K, int]) -> dict[K, int]:
    """Shares in percent that sum to 100; none when nothing is counted.

    >>> percent({"a": 1, "b": 2}), percent({"a": 0})
    ({'a': 33, 'b': 67}, {'a': 0})
    """
    total = sum(counts.values())
    if not total:
        return dict.fromkeys(counts, 0)
    shares = {key: count * 100 // total for key, count in counts.items()}
    left = 100 - sum(shares.values())
    for key in sorted(counts, key=lambda k: (-(counts[k] * 100 % total), k))[:left]:
        shares[key] += 1
    return shares


def _mixture(observed: Observed, members: Iterable[str]) -> Traffic:
    """The members share the requests by their ready pods."""
    ready = Counter(pod.servable for pod in live_pods(observed) if pod.ready)
    return Traffic(percent({member: ready[member] for member in sorted(members)}), mixed=True)


def _unchanged(observed: Observed, now: str, primary: str) -> Traffic:
    """Requests go on where they go now; in a mixture the primary takes part."""
    if now != SELECTS_ROTATION:
        return only(now)
    return _mixture(observed, selected_servables(observed) | ({primary} if primary else set()))


def _vacant(observed: Observed, selects: str) -> bool:
    """Whether nothing is left, or to come, behind a selector."""
    entitled = any(d.servable == selects and d.replicas > 0 for d in observed.deployments)
    return not entitled and not matched_pods(observed, selects)


def _fallback(observed: Observed, selects: str) -> str:
    """The servable with the most ready pods, when nothing is ready behind a selector; or nothing.

    T2: as long as any pod can serve, requests find one.
    """
    if any(pod.ready for pod in matched_pods(observed, selects)):
        return ""
    ready = Counter(pod.servable for pod in live_pods(observed) if pod.ready)
    versions = {pod.servable: pod.version for pod in observed.pods}
    return max(ready, key=lambda s: (ready[s], versions[s], s), default="")


def _shared(observed: Observed, now: str, split: Split, limits: Limits) -> Traffic:
    """Two versions beside each other, each by its ready pods; the canary takes part once it has one."""
    if not limits.replicas:
        return _unchanged(observed, now, "")
    if fallback := _fallback(observed, now):
        return only(fallback, urgent=True)
    if _vacant(observed, now):
        return only(split.stable, urgent=True)
    canary = split.canary if split.canary_pods and _ready(observed, split.canary) else ""
    if now != SELECTS_ROTATION and not canary:
        return only(now)
    members = selected_servables(observed) | {split.stable} | ({canary} if canary else set())
    return _mixture(observed, members)


def _condemned_alone(observed: Observed, primary: str) -> bool:
    """Whether all that shares the requests with the primary is a canary that was found worse."""
    rows = {servable_id(row.version, row.failed_key): row for row in observed.model.status.versions}
    others = selected_servables(observed) - {primary}
    return bool(others) and all(
        (row := rows.get(other)) is not None and is_condemned(row) for other in others
    )


def _ready(observed: Observed, servable: str) -> list[Pod]:
    return [pod for pod in live_pods(observed) if pod.ready and pod.servable == servable]


def route(
    observed: Observed, desired: DesiredVersions, limits: Limits, split: Split | None = None
) -> Traffic:
    """Decide the next step of traffic.

    Args:
        observed: The snapshot.
        desired: Which servables should serve.
        limits: What the policy allows.
        split: How two versions share the requests while a step of a rollout lasts.
    """
    now = selects_now(observed, observed.model.name)
    primary = desired.primary
    if primary is None:
        fallback = _fallback(observed, now)
        return only(fallback, urgent=True) if fallback else _unchanged(observed, now, "")
    if not now:
        return only(_fallback(observed, now) or primary.id, urgent=True)
    if split is not None:
        return _shared(observed, now, split, limits)
    if limits.replicas > 0 and len(_ready(observed, primary.id)) >= limits.replicas:
        return only(primary.id)
    if fallback := _fallback(observed, now):
        return only(fallback, urgent=True)
    if (
        now == SELECTS_ROTATION
        and _ready(observed, primary.id)
        and _condemned_alone(observed, primary.id)
    ):
        # Known to be worse than fewer pods: it takes no request until the others are back.
        return only(primary.id)
    if _vacant(observed, now):
        return only(primary.id, urgent=True)
    # A servable that stays has all its pods, so traffic can wait and then move at once; so it does
    # where all the new pods fit beside the old ones, and where there is only one pod to move.
    stays = now == SELECTS_ROTATION or now in desired.ids
    if stays or limits.atomic or limits.replicas <= 1:
        return _unchanged(observed, now, primary.id)
    return _mixture(observed, {now, primary.id})
