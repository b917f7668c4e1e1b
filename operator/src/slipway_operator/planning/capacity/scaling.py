"""How many pods each servable may have next: the two transition policies as one small calculation.

Words used here, for R replicas wanted of each of A desired servables:

    entitled  pods that a Deployment has or may have, terminating ones not counted
    occupied  the same and terminating pods, which still hold their hardware
    budget    A·R + surge  of what is entitled in all   (AvailabilityPreserving)
              A·R          of what is occupied in all   (ResourcePreserving, in a transition)
              A·R          of what is entitled in all   (ResourcePreserving, otherwise)
              A·R + 1      of what is occupied in all   (ResourcePreserving, R fell to 1 in a transition)
    floor     pods in rotation that must remain:  R     (AvailabilityPreserving)
                                        R − missing     (ResourcePreserving; at least 1 unless the
                                                         transition began with R = 1)

    old servables keep      max(0, floor − new pods in rotation)    pods in rotation, for certain
    new servables may grow  by budget − entitled, or occupied

So in the first policy an old pod goes when a new one has taken its place (T3), and in the second a
new one comes when an old one has really gone (T4). Only there does anything wait for a drain: where
nothing is replaced, a scale-up does not wait for the pods of a scale-down before it.

Of several desired servables, the highest version is begun at once, and each other one when every pod of
those that were begun has its node: there are as many as there is room for, and one that shows that
there is no more. The one that NAME selects waits for nothing.

R = 2, surge 1         old 2 new 0 → old 2 new 1 → (in rotation) old 1 new 1 → old 1 new 2 → (in rotation) old 0 new 2
R = 2, missing 1       old 2 new 0 → old 1 new 0 → (gone) old 1 new 1 → (in rotation) old 0 new 1 → (gone) old 0 new 2
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slipway_operator.api.quantities import resolve_count
from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import TransitionStatus


@dataclass(frozen=True, slots=True)
class Limits:
    """What the policy allows.

    Attributes:
        replicas: R.
        surge: Pods above what is wanted.
        floor: Pods in rotation that old servables must leave.
        mounting: Pods that may mount the Model's volume at a time, terminating ones included; None
            means any number.
        awaits_drains: Whether terminating pods count against the budget.
    """

    replicas: int
    surge: int
    floor: int
    mounting: int | None = None
    awaits_drains: bool = False

    @property
    def atomic(self) -> bool:
        """Whether all new pods fit beside the old ones, so that traffic can move at once."""
        return self.surge >= self.replicas


def limits_of(
    spec: ModelSpec, mounting: int | None = None, transition: TransitionStatus | None = None
) -> Limits:
    """The limits that a spec sets, its volume, and the transition that is under way."""
    replicas = spec.serving.replicas
    policy = spec.transition
    if policy.policy == "AvailabilityPreserving":
        return Limits(replicas, resolve_count(policy.max_surge, replicas), replicas, mounting)
    missing = resolve_count(policy.max_unavailable, replicas)
    began = transition.replicas if transition else replicas
    if mounting is not None:
        began = min(began, mounting)  # It never had more, and there cannot be a second pod.
    # T2: only a transition that began with one replica may have a gap, however much may be missing.
    least = 1 if replicas and max(began, replicas) > 1 else 0
    floor = max(least, replicas - missing)
    # One that began with more goes on, when an autoscaler leaves one, with a second pod.
    surge = 1 if 0 < floor == replicas else 0
    return Limits(replicas, surge, floor, mounting, awaits_drains=transition is not None)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A servable as scaling sees it.

    Attributes:
        replicas: Replicas of its Deployment; 0 when it has none.
        live: Pods that are not terminating.
        ready: Live pods that are ready.
        endpoints: Ready pods that the EndpointSlices of NAME show: they take requests now.
        matched: Ready pods that NAME selects: they take requests once its slices are computed anew.
        terminating: Pods that still hold their place and their hardware.
        selected: The Service NAME selects it.
        failed: It will not be tried again.
        mounts: Its pods mount the Model's volume.
        unplaced: Pods it has or may have that no node has been found for, or not yet.
        barred: Its Deployment cannot be created: the name belongs to someone else.
    """

    id: str
    version: int
    desired: bool
    exists: bool
    replicas: int
    live: int
    ready: int
    endpoints: int
    matched: int
    terminating: int
    selected: bool
    failed: bool = False
    mounts: bool = False
    unplaced: int = 0
    barred: bool = False

    @property
    def entitled(self) -> int:
        """Pods it has or may have, but for terminating ones."""
        return max(self.replicas, self.live)

    @property
    def occupied(self) -> int:
        """Pods that hold hardware, or may come to."""
        return self.entitled + self.terminating

    @property
    def reserve(self) -> int:
        """Replicas that could help out: ready pods, or a selected servable's that may become ready again."""
        if self.failed:
            return min(self.ready, self.replicas)
        return self.replicas if self.selected or self.ready else 0

    def guaranteed(self, taking: int, replicas: int) -> int:
        """How many of the pods that take requests stay for certain with so many replicas.

        A ReplicaSet deletes pods that are not ready first. Among ready ones it may choose any: it
        knows nothing of the rotation.
        """
        victims = max(0, self.live - replicas)
        return max(0, taking - max(0, victims - (self.live - self.ready)))

    def min_replicas(self, taking: int, wanted: int) -> int:
        """The fewest replicas that leave so many pods taking requests, as far as it can."""
        wanted = min(wanted, self.guaranteed(taking, self.replicas))
        return next(n for n in range(self.replicas + 1) if self.guaranteed(taking, n) >= wanted)


def _endpoints(fleet: Fleet) -> int:
    return fleet.endpoints


def _matched(fleet: Fleet) -> int:
    return fleet.matched


VIEWS: Final = (_endpoints, _matched)
"""Where requests go now, and where they go once the EndpointSlice controller has caught up with the
last flip: what is decided must be right in both."""


def scale(fleets: Sequence[Fleet], limits: Limits) -> dict[str, int]:
    """Replicas for each servable; those whose turn has not come are left out.

    Args:
        fleets: Desired ones highest version first; the rest in any order.
        limits: What the policy allows.
    """
    desired = [fleet for fleet in fleets if fleet.desired]
    old = [fleet for fleet in fleets if not fleet.desired and fleet.exists]
    budget = len(desired) * limits.replicas + limits.surge
    headroom = budget - sum(
        fleet.occupied if limits.awaits_drains else fleet.entitled for fleet in fleets
    )
    room = places(fleets, limits)
    placing = any(fleet.unplaced for fleet in desired)
    decided: dict[str, int] = {}
    for fleet in desired:
        if placing and not fleet.entitled and not fleet.selected and fleet is not desired[0]:
            if fleet.exists:
                decided[fleet.id] = 0
            continue
        growth = max(0, min(limits.replicas - fleet.replicas, headroom))
        if fleet.mounts:
            # One that could never attach its volume is not created.
            growth = min(growth, room)
            room -= growth
        headroom -= growth
        placing = placing or (growth > 0 and not fleet.barred)
        # Above R, when R was lowered: only as far as none is lost that takes requests.
        taking = max(fleet.min_replicas(view(fleet), limits.replicas) for view in VIEWS)
        shrunk = max(limits.replicas, taking)
        decided[fleet.id] = min(fleet.replicas + growth, shrunk)
    keeps = [_keep(old, desired, decided, limits, view) for view in VIEWS]
    return decided | {fleet.id: max(keep[fleet.id] for keep in keeps) for fleet in old}


def places(fleets: Sequence[Fleet], limits: Limits) -> int:
    """How many more pods may mount the Model's volume."""
    if limits.mounting is None:
        return sum(limits.replicas for _ in fleets)
    return max(0, limits.mounting - sum(fleet.occupied for fleet in fleets if fleet.mounts))


def _keep(
    old: Sequence[Fleet],
    desired: Sequence[Fleet],
    decided: Mapping[str, int],
    limits: Limits,
    view: Callable[[Fleet], int],
) -> dict[str, int]:
    """Replicas of the old servables: pods that take requests first, then what could help out."""
    replaced = sum(fleet.guaranteed(view(fleet), decided.get(fleet.id, 0)) for fleet in desired)
    needed = max(0, limits.floor - replaced) if desired else limits.replicas
    kept: dict[str, int] = {}
    for fleet in sorted(old, key=lambda f: (view(f), f.selected, f.version, f.id), reverse=True):
        kept[fleet.id] = fleet.min_replicas(view(fleet), needed)
        needed -= min(needed, fleet.guaranteed(view(fleet), kept[fleet.id]))
    for fleet in sorted(old, key=lambda f: (f.ready, f.selected, f.version, f.id), reverse=True):
        helping = min(needed, max(0, fleet.reserve - kept[fleet.id]))
        kept[fleet.id] += helping
        needed -= helping
    return kept
