"""How many pods each servable may have next: the two transition policies as one small calculation.

Words used here, for R replicas wanted of each of A aspired servables:

    held      pods that a Deployment has or is entitled to, terminating ones included
    budget    what may be held in all:  A·R + surge     (AvailabilityPreserving)
                                        A·R             (ResourcePreserving)
    floor     pods in rotation that must remain:  R     (AvailabilityPreserving)
                                        R − missing     (ResourcePreserving; at least 1 when R > 1)

    old servables keep      max(0, floor − new pods in rotation)
    new servables may grow  by budget − held

So in the first policy an old pod goes when a new one has taken its place (T3), and in the second a
new one comes when an old one has really gone (T4).

R = 2, surge 1         old 2 new 0 → old 2 new 1 → (in rotation) old 1 new 1 → (gone) old 1 new 2 → old 0 new 2
R = 2, missing 1       old 2 new 0 → old 1 new 0 → (gone) old 1 new 1 → (in rotation) old 0 new 1 → (gone) old 0 new 2
"""

from collections.abc import Sequence
from dataclasses import dataclass

from slipway_operator.api.quantities import resolve_count
from slipway_operator.api.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Limits:
    """What the policy allows.

    Attributes:
        replicas: R.
        surge: Pods above what is wanted.
        floor: Pods in rotation that old servables must leave.
    """

    replicas: int
    surge: int
    floor: int

    @property
    def atomic(self) -> bool:
        """Whether all new pods fit beside the old ones, so that traffic can move at once."""
        return self.surge >= self.replicas


def limits_of(spec: ModelSpec) -> Limits:
    """The limits that a spec sets."""
    replicas = spec.serving.replicas
    transition = spec.transition
    if transition.policy == "AvailabilityPreserving":
        return Limits(replicas, resolve_count(transition.max_surge, replicas), replicas)
    missing = resolve_count(transition.max_unavailable, replicas)
    # T2: only a Model with one replica may have a gap, however much may be missing.
    least = 1 if replicas > 1 else 0
    return Limits(replicas, 0, max(least, replicas - missing))


@dataclass(frozen=True, slots=True)
class Fleet:
    """A servable as scaling sees it.

    Attributes:
        replicas: Of its Deployment; 0 when it has none.
        live: Pods that are not terminating.
        terminating: Pods that still hold their place and their hardware.
        rotating: Live, ready pods that take unversioned requests now.
        incumbent: The Service NAME selects it.
        failed: It will not be tried again.
    """

    id: str
    version: int
    aspired: bool
    exists: bool
    replicas: int
    live: int
    terminating: int
    rotating: int
    incumbent: bool
    failed: bool = False

    @property
    def held(self) -> int:
        """Pods it has or is entitled to."""
        return max(self.replicas, self.live) + self.terminating


def scale(fleets: Sequence[Fleet], limits: Limits) -> dict[str, int]:
    """Replicas for each servable; those without a Deployment that get 0 are left out.

    Args:
        fleets: Aspired ones highest version first; the rest in any order.
        limits: What the policy allows.
    """
    aspired = [fleet for fleet in fleets if fleet.aspired]
    old = [fleet for fleet in fleets if not fleet.aspired]
    budget = len(aspired) * limits.replicas + limits.surge
    headroom = budget - sum(fleet.held for fleet in fleets)
    decided: dict[str, int] = {}
    for fleet in aspired:
        growth = max(0, min(limits.replicas - fleet.replicas, headroom))
        headroom -= growth
        decided[fleet.id] = min(limits.replicas, fleet.replicas + growth)
    decided |= _keep(old, limits, sum(f.rotating for f in aspired), has_successor=bool(aspired))
    return decided


def _keep(
    old: Sequence[Fleet], limits: Limits, replaced: int, *, has_successor: bool
) -> dict[str, int]:
    """Replicas of the old servables: as many as the floor still needs, the best ones first."""
    needed = max(0, limits.floor - replaced) if has_successor else limits.replicas
    decided: dict[str, int] = {}
    ranked = sorted(old, key=lambda f: (f.rotating, f.incumbent, f.version, f.id), reverse=True)
    for fleet in ranked:
        if not fleet.exists:
            continue
        # One that failed keeps its place only with pods that do serve.
        useful = fleet.rotating if fleet.failed else fleet.replicas if fleet.incumbent else 0
        kept = min(fleet.replicas, useful, needed)
        needed -= kept
        decided[fleet.id] = kept
    return decided
