"""How many pods each servable may have next while a step holds two versions beside each other.

The same words and limits as in `capacity.scaling`. There one version grows and the other one goes; here
both have a number to come to, from above or from below, and every other servable goes:

    grow    the stable version first, then the canary, by budget − entitled, or occupied
    shrink  the others first, then the canary, then the stable version, as long as `floor` pods that take
            requests stay for certain
"""

from collections.abc import Callable, Mapping, Sequence

from slipway_operator.planning.capacity.scaling import VIEWS, Fleet, Limits, places
from slipway_operator.planning.rollout.split import Split


def scale_split(fleets: Sequence[Fleet], limits: Limits, split: Split) -> dict[str, int]:
    """Replicas for each servable; a canary whose turn has not come is left out.

    Args:
        fleets: Every servable that has, or is to have, pods.
        limits: What the policy allows.
        split: What the step asks for.
    """
    wanted = {split.stable: split.stable_pods, split.canary: split.canary_pods}
    if any(fleet.id == split.canary and fleet.barred for fleet in fleets):
        # Nothing old goes for what cannot come.
        wanted = {split.stable: limits.replicas}
    budget = limits.replicas + limits.surge
    headroom = budget - sum(f.occupied if limits.awaits_drains else f.entitled for f in fleets)
    room = places(fleets, limits)
    # What is to serve for certain comes first; what may be taken away is looked at from behind.
    ordered = sorted(fleets, key=lambda f: (f.id != split.stable, f.id != split.canary, -f.version))
    decided: dict[str, int] = {}
    for fleet in ordered:
        growth = max(0, min(wanted.get(fleet.id, 0) - fleet.replicas, headroom))
        if fleet.mounts:
            growth = min(growth, room)
            room -= growth
        headroom -= growth
        decided[fleet.id] = fleet.replicas + growth
    keeps = [_keep(ordered, decided, wanted, limits, view) for view in VIEWS]
    return {
        fleet.id: max(keep[fleet.id] for keep in keeps)
        for fleet in ordered
        if fleet.exists or wanted.get(fleet.id)
    }


def _keep(
    ordered: Sequence[Fleet],
    decided: Mapping[str, int],
    wanted: Mapping[str, int],
    limits: Limits,
    view: Callable[[Fleet], int],
) -> dict[str, int]:
    """Replicas after all shrinking that leaves enough pods that take requests."""
    kept = {f.id: min(decided[f.id], wanted.get(f.id, 0)) for f in ordered}
    needed = limits.floor - sum(f.guaranteed(view(f), kept[f.id]) for f in ordered)
    for fleet in ordered:
        if needed > 0 and kept[fleet.id] < decided[fleet.id]:
            before = fleet.guaranteed(view(fleet), kept[fleet.id])
            more = fleet.min_replicas(view(fleet), before + needed)
            kept[fleet.id] = max(kept[fleet.id], more)
            needed -= fleet.guaranteed(view(fleet), kept[fleet.id]) - before
    for fleet in ordered:
        if needed > 0:
            helping = min(needed, max(0, min(fleet.reserve, decided[fleet.id]) - kept[fleet.id]))
            kept[fleet.id] += helping
            needed -= helping
    return kept
