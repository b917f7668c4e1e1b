"""How many pods of two versions come nearest to a weight, within what the transition policy allows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from slipway_operator.model.observed import Observed
from slipway_operator.planning.capacity.scaling import Limits
from slipway_operator.planning.rollout.record import canary_of, is_held
from slipway_operator.planning.versions.desired import DesiredVersions


@dataclass(frozen=True, slots=True)
class Split:
    """The pods of a step.

    Attributes:
        canary: Id of the servable that takes over.
        stable: Id of the servable that it takes over from.
        canary_pods: Pods of the canary; 0 where no pod can be had for it.
        stable_pods: Pods of the stable one.
    """

    canary: str
    stable: str
    canary_pods: int
    stable_pods: int


def pods_of(weight: int, limits: Limits) -> tuple[int, int]:
    """Pods of the canary and of the stable version for a weight in percent.

    With a surge the canary is extra: the stable version keeps all its pods, so that to take the traffic back
    needs no new pod. Without one the canary takes its pods from R, and the stable version keeps one at least.

    >>> pods_of(10, Limits(replicas=2, surge=1, floor=2)), pods_of(30, Limits(replicas=10, surge=0, floor=9))
    ((1, 2), (3, 7))
    """
    replicas = limits.replicas
    if limits.surge:
        choices = [(pods, replicas) for pods in range(1, min(limits.surge, replicas) + 1)]
    else:
        choices = [(pods, replicas - pods) for pods in range(1, replicas)]
    return min(
        choices,
        key=lambda pods: (abs(100 * pods[0] - weight * sum(pods)) / sum(pods), pods[0]),
        default=(0, replicas),
    )


def share_of(
    observed: Observed, desired: DesiredVersions
) -> Callable[[Limits], tuple[int, int]] | None:
    """What the recorded step makes of limits, as `pods_of`; None when no step of what is desired is under way."""
    rollout, primary = observed.model.status.rollout, desired.primary
    if rollout is None or primary is None or observed.model.spec.rollout is None:
        return None
    if not is_held(rollout) or canary_of(rollout) != primary.id:
        return None
    return partial(pods_of, rollout.weight)
