"""What becomes of a transition whose new pods find no room: spec.transition.whenUnschedulable.

The clock is `status.transition.waitingSince`, not the pod's own condition: that one runs also while the
pod waits for the hardware of pods that shut down, and would be over at the moment when they are gone.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

from slipway_operator.api.conditions import Reason
from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.status import TransitionStatus, VersionState, VersionStatus, timestamp
from slipway_operator.api.verbs import Verb
from slipway_operator.model.observed import Observed
from slipway_operator.model.servable import Servable
from slipway_operator.planning.capacity.scaling import Limits, limits_of
from slipway_operator.planning.capacity.shortage import shortages
from slipway_operator.planning.versions.desired import DesiredVersions
from slipway_operator.planning.versions.diagnosis import Finding
from slipway_operator.planning.versions.failures import failed_reason, on_trial

QUOTA: Final = "exceeded quota"
"""In the API server's sentence when a ResourceQuota leaves nothing for a pod."""

Stuck = tuple[Servable, Finding]
"""A servable without room, and what the cluster says about it."""
Share = Callable[[Limits], tuple[int, int]]
"""Pods of the new version and of the old one in the step of a rollout that is under way."""
Way = Literal["", "ResourcePreserving", "Abort"]
"""How a transition goes on that has waited for long enough; empty: as before."""


def _is_given_back(finding: Finding) -> bool:
    """Whether what a pod lacks is something that an old pod gives back when it is gone."""
    return bool(shortages(finding.message)) or QUOTA in finding.message


def returns_by_itself(observed: Observed, finding: Finding) -> bool:
    """Whether pods that shut down are about to give back what a pod waits for.

    Their hardware is free, and a quota counts them no more, only when they are gone.
    """
    return any(pod.terminating for pod in observed.pods) and _is_given_back(finding)


def stuck(
    observed: Observed,
    desired: DesiredVersions,
    findings: Mapping[str, Finding],
    transition: TransitionStatus,
    share: Share | None,
) -> Stuck | None:
    """The first servable that replaces another and has no room; None when none is, or room is about to come."""
    if observed.model.spec.paused or not observed.model.spec.serving.replicas:
        return None
    replaced = {d.version for d in observed.deployments if d.servable not in desired.ids}
    if not replaced:
        return None  # There is nothing to go back to.
    old = sum(d.replicas for d in observed.deployments if d.servable not in desired.ids)
    if transition.fallback and old > _left(observed, transition, share):
        return None  # Decided, and not done yet: an operator that was killed has still to write it.
    for servable in on_trial(observed, desired):
        finding = findings.get(servable.id)
        if finding is None or finding.reason is not Reason.UNSCHEDULABLE:
            continue
        if servable != desired.primary and servable.version not in replaced:
            continue  # One version more, which replaces none.
        if not returns_by_itself(observed, finding):
            return servable, finding
    return None


def _left(observed: Observed, transition: TransitionStatus, share: Share | None) -> int:
    """Old pods that are left when all have gone that may go before a new one comes."""
    limits = limits_of(observed.model.spec, None, transition)
    return max(limits.floor, share(limits)[1]) if share else limits.floor


def _is_indivisible(observed: Observed, transition: TransitionStatus, share: Share | None) -> bool:
    """Whether a step of a rollout could have no canary without extra pods: there is one replica."""
    spec = observed.model.spec
    if share is None or not spec.serving.replicas:
        return False
    without = transition.model_copy(update={"fallback": "ResourcePreserving"})
    return not share(limits_of(spec, None, without))[0]


def _way(
    observed: Observed, transition: TransitionStatus, finding: Finding, share: Share | None
) -> Way:
    """What is done when the time is over."""
    policy = observed.model.spec.transition
    then = policy.when_unschedulable.then
    if then == "Wait":
        return ""
    if then == "Abort" or transition.fallback:
        # Without extra pods there was no room either: what served comes back.
        return "Abort"
    if policy.policy == "ResourcePreserving" or not _is_given_back(finding):
        return ""  # Old pods would go for nothing.
    if _is_indivisible(observed, transition, share):
        return ""
    return then


def _due(observed: Observed, transition: TransitionStatus) -> datetime | None:
    if transition.waiting_since is None:
        return None
    after = parse_duration(observed.model.spec.transition.when_unschedulable.after)
    return datetime.fromisoformat(transition.waiting_since) + after


def unschedulable_due(
    observed: Observed,
    desired: DesiredVersions,
    findings: Mapping[str, Finding],
    share: Share | None,
    now: datetime,
) -> timedelta | None:
    """Time until a transition without room goes on otherwise; None when it only waits."""
    transition = observed.model.status.transition
    found = stuck(observed, desired, findings, transition, share) if transition else None
    if transition is None or found is None or not _way(observed, transition, found[1], share):
        return None
    due = _due(observed, transition)
    return max(timedelta(seconds=1), due - now) if due else None


def without_room(
    observed: Observed,
    desired: DesiredVersions,
    findings: Mapping[str, Finding],
    transition: TransitionStatus | None,
    share: Share | None,
    now: datetime,
) -> tuple[TransitionStatus | None, tuple[Servable, Finding] | None]:
    """The transition, with since when it has waited and how it goes on.

    Returns:
        The transition, and the servable that is given up, with why; None when none is.
    """
    if transition is None:
        return None, None
    if not transition.fallback or not _may_fall_back(observed, transition, share):
        transition = transition.model_copy(update={"fallback": "", "message": ""})
    found = stuck(observed, desired, findings, transition, share)
    if found is None:
        return transition.model_copy(update={"waiting_since": None}), None
    since = transition.waiting_since or timestamp(now)
    transition = transition.model_copy(update={"waiting_since": since})
    due, way = _due(observed, transition), _way(observed, transition, found[1], share)
    if (
        not way
        and due is not None
        and now >= due
        and (_asks_to_fall_back(observed) and _is_indivisible(observed, transition, share))
    ):
        message = _indivisible(observed.model.name, found[0].version)
        return transition.model_copy(update={"message": message}), None
    if not way or due is None or now < due:
        return transition, None
    servable, finding = found
    after = observed.model.spec.transition.when_unschedulable.after
    waited = f"no room for {after} (spec.transition.whenUnschedulable)"
    if way == "Abort":
        message = f"given up after {waited}: {finding.message}"
        reason = Reason.UNSCHEDULABLE_TOO_LONG
        return transition, (servable, Finding(VersionState.FAILED, reason, message, final=True))
    changed = {
        "fallback": way,
        "waiting_since": timestamp(now),
        "message": f"version {servable.version} had {waited}: this transition continues without "
        "extra pods, so that an old pod goes before a new one comes",
    }
    return transition.model_copy(update=changed), None


def _indivisible(name: str, version: int) -> str:
    return (
        "one replica cannot be shared by two versions without an extra pod, so that "
        "spec.transition.whenUnschedulable has no effect: free hardware, or replace it at once with kubectl "
        f"annotate model {name} {Verb.PROMOTE.annotation}={version} --overwrite"
    )


def _asks_to_fall_back(observed: Observed) -> bool:
    policy = observed.model.spec.transition
    return (policy.policy, policy.when_unschedulable.then) == (
        "AvailabilityPreserving",
        "ResourcePreserving",
    )


def _may_fall_back(observed: Observed, transition: TransitionStatus, share: Share | None) -> bool:
    """Whether the spec still asks for what was decided: an edit takes effect at once."""
    return _asks_to_fall_back(observed) and not _is_indivisible(observed, transition, share)


def way_taken(transition: TransitionStatus | None, target: VersionStatus | None) -> Way:
    """What spec.transition.whenUnschedulable has made of the transition to a version.

    Args:
        transition: `status.transition`, the last one before it ended.
        target: The row of the version that it was about.
    """
    if target is not None and failed_reason(target) == Reason.UNSCHEDULABLE_TOO_LONG:
        return "Abort"
    return transition.fallback if transition else ""
