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

An old servable that takes requests also grows, before new ones do, when R has grown beyond what it and
the new pods in rotation make up: the floor holds for the R of now.

Of several desired servables, the highest version is begun at once, and each other one when every pod of
those that were begun has its node: there are as many as there is room for, and one that shows that
there is no more. The one that NAME selects waits for nothing. What has not had a node yet gives way when a
pod of a higher version has none, and what it replaces stays until its turn has come (`_successions`).

A desired servable whose Deployment cannot be created is none: what serves stands in for it.

R = 2, surge 1         old 2 new 0 → old 2 new 1 → (in rotation) old 1 new 1 → old 1 new 2 → (in rotation) old 0 new 2
R = 2, missing 1       old 2 new 0 → old 1 new 0 → (gone) old 1 new 1 → (in rotation) old 0 new 1 → (gone) old 0 new 2
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
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
    fallen_back = transition is not None and transition.fallback
    if policy.policy == "AvailabilityPreserving" and not fallen_back:
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
        barred: Its Deployment cannot be created: the name belongs to someone else, for example.
        proven: All its replicas have been ready once.
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
    proven: bool = False

    @property
    def entitled(self) -> int:
        """Pods it has or may have, but for terminating ones."""
        return max(self.replicas, self.live)

    @property
    def occupied(self) -> int:
        """Pods that hold hardware, or may come to."""
        return self.entitled + self.terminating

    @property
    def is_probe(self) -> bool:
        """Whether it has only shown so far that there is no room: no pod of it has had a node."""
        return not self.proven and not self.ready and 0 < self.entitled <= self.unplaced

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
    fleets = _with_stand_ins(fleets)
    desired = [fleet for fleet in fleets if fleet.desired]
    old = [fleet for fleet in fleets if not fleet.desired and fleet.exists]
    budget = len(desired) * limits.replicas + limits.surge
    headroom = budget - sum(
        fleet.occupied if limits.awaits_drains else fleet.entitled for fleet in fleets
    )
    room = places(fleets, limits)
    grown = _grown(old, desired, limits, headroom, room)
    headroom -= sum(grown.values())
    room -= sum(count for fleet in old if fleet.mounts for count in [grown.get(fleet.id, 0)])
    placing = any(fleet.unplaced for fleet in desired)
    without_node = False
    decided: dict[str, int] = {}
    waiting: set[str] = set()
    for fleet in desired:
        may_wait = not fleet.selected and fleet is not desired[0]
        gives_way = without_node and fleet.is_probe
        without_node = without_node or (fleet.exists and fleet.unplaced > 0)
        if may_wait and (gives_way or (placing and not fleet.entitled)):
            waiting.add(fleet.id)
            if fleet.exists:
                decided[fleet.id] = 0
            continue
        growth = max(0, min(limits.replicas - fleet.replicas, headroom))
        if fleet.mounts:
            # One that could never attach its volume is not created.
            growth = min(growth, room)
            room -= growth
        headroom -= growth
        placing = placing or growth > 0
        # Above R, when R was lowered: only as far as none is lost that takes requests.
        taking = max(fleet.min_replicas(view(fleet), limits.replicas) for view in VIEWS)
        shrunk = max(limits.replicas, taking)
        decided[fleet.id] = min(fleet.replicas + growth, shrunk)
    keeps = [_keep(old, desired, decided, limits, view) for view in VIEWS]
    if len(desired) > 1:
        keeps.append(_keep_for_successors(old, desired, decided, limits, waiting))
    kept = {fleet.id: max(keep.get(fleet.id, 0) for keep in keeps) for fleet in old}
    return (
        decided
        | kept
        | {f.id: max(kept[f.id], f.replicas + grown[f.id]) for f in old if grown.get(f.id)}
    )


def _grown(
    old: Sequence[Fleet], desired: Sequence[Fleet], limits: Limits, headroom: int, places: int
) -> dict[str, int]:
    """Pods by which the old servable that takes most of the requests grows, as R has grown."""
    taking = [f for f in old if not f.failed and f.replicas and min(v(f) for v in VIEWS)]
    if not desired or not taking:
        return {}
    new = sum(min(f.guaranteed(view(f), f.replicas) for view in VIEWS) for f in desired)
    short = limits.floor - new - sum(fleet.entitled for fleet in taking)
    best = max(taking, key=lambda f: (min(v(f) for v in VIEWS), f.version, f.id))
    room = min(headroom, places) if best.mounts else headroom
    return {best.id: max(0, min(short, room))}


def _keep_for_successors(
    old: Sequence[Fleet],
    desired: Sequence[Fleet],
    decided: Mapping[str, int],
    limits: Limits,
    waiting: Collection[str],
) -> dict[str, int]:
    """Replicas of old servables until what takes the place of each, of several, is there.

    NAME may not lead to them; the Services of their versions and labels do.
    """
    kept: dict[str, int] = {}
    arrived = True
    for fleet, before in _successions(old, desired, limits.replicas):
        # Without extra pods, one version after the other has fewer pods.
        turn = fleet.id not in waiting and (limits.surge > 0 or arrived)
        floor = limits.floor if turn else limits.replicas
        arrived = arrived and fleet.ready >= limits.replicas
        if before is not None:
            new = fleet.guaranteed(fleet.ready, decided.get(fleet.id, 0))
            kept[before.id] = before.min_replicas(before.ready, max(0, floor - new))
    return kept


def _with_stand_ins(fleets: Sequence[Fleet]) -> list[Fleet]:
    """The fleets without desired ones that cannot be created; what serves is desired in their place.

    Nothing old goes for what cannot come, and what serves follows R meanwhile.
    """
    barred = [fleet for fleet in fleets if fleet.desired and fleet.barred]
    free = [f for f in fleets if not f.desired and f.replicas and not f.failed]
    found = []
    for fleet in fleets:
        if fleet not in barred:
            found.append(fleet)
            continue
        best = max(free, key=lambda f: (f.version == fleet.version, *_rank(f)), default=None)
        if best:
            free.remove(best)
            found.append(replace(best, desired=True))
    stand_ins = {fleet.id for fleet in found if fleet.desired}
    return [fleet for fleet in found if fleet.desired or fleet.id not in stand_ins]


def _rank(fleet: Fleet) -> tuple[int, bool, int, str]:
    return fleet.ready, fleet.selected, fleet.version, fleet.id


def _successions(
    old: Sequence[Fleet], desired: Sequence[Fleet], replicas: int
) -> list[tuple[Fleet, Fleet | None]]:
    """Each desired servable with what it takes the place of: the same version, or the best that is left."""
    same = {fleet.id: [f for f in old if f.version == fleet.version] for fleet in desired}
    versions = {fleet.version for fleet in desired}
    left = [f for f in old if f.version not in versions and f.ready and not f.failed]
    left.sort(key=_rank)
    found: list[tuple[Fleet, Fleet | None]] = []
    for fleet in desired:
        before = max(same[fleet.id], key=_rank, default=None)
        if before is None and fleet.ready < replicas and left:
            before = left.pop()
        found.append((fleet, before))
    return found


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
    for fleet in sorted(old, key=_rank, reverse=True):
        helping = min(needed, max(0, fleet.reserve - kept[fleet.id]))
        kept[fleet.id] += helping
        needed -= helping
    return kept
