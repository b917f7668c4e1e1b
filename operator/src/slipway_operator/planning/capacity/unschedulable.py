"""What becomes of a transition whose new pods find no room: spec.transition.whenUnschedulable.

The clock is `status.transition.waitingSince`, not the pod's own condition: that one runs also while the
pod waits for the hardware of pods that shut down, and would be over at the moment when they are gone.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

from slipway_operator.api.conditions import Reason
from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.status import TransitionStatus, VersionState, VersionStatus, timestamp
from slipway_operator.model.observed import Observed
from slipway_operator.model.servable import Servable
from slipway_operator.planning.capacity.scaling import limits_of
from slipway_operator.planning.capacity.shortage import shortages
from slipway_operator.planning.versions.desired import DesiredVersions
from slipway_operator.planning.versions.diagnosis import Finding
from slipway_operator.planning.versions.failures import on_trial

QUOTA: Final = "exceeded quota"
"""In the API server's sentence when a ResourceQuota leaves nothing for a pod."""

Stuck = tuple[Servable, Finding]
"""A servable without room, and what the cluster says about it."""
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
) -> Stuck | None:
    """The first servable that replaces another and has no room; None when none is, or room is about to come."""
    if observed.model.spec.paused or not observed.model.spec.serving.replicas:
        return None
    replaced = {d.version for d in observed.deployments if d.servable not in desired.ids}
    if not replaced:
        return None  # There is nothing to go back to.
    old = sum(d.replicas for d in observed.deployments if d.servable not in desired.ids)
    if transition.fallback and old > limits_of(observed.model.spec, None, transition).floor:
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


def _way(observed: Observed, transition: TransitionStatus, finding: Finding) -> Way:
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
    now: datetime,
) -> timedelta | None:
    """Time until a transition without room goes on otherwise; None when it only waits."""
    transition = observed.model.status.transition
    found = stuck(observed, desired, findings, transition) if transition else None
    if transition is None or found is None or not _way(observed, transition, found[1]):
        return None
    due = _due(observed, transition)
    return max(timedelta(seconds=1), due - now) if due else None


def without_room(
    observed: Observed,
    desired: DesiredVersions,
    findings: Mapping[str, Finding],
    transition: TransitionStatus | None,
    now: datetime,
) -> tuple[TransitionStatus | None, tuple[Servable, Finding] | None]:
    """The transition, with since when it has waited and how it goes on.

    Returns:
        The transition, and the servable that is given up, with why; None when none is.
    """
    if transition is None:
        return None, None
    if transition.fallback and not _may_fall_back(observed):
        transition = transition.model_copy(update={"fallback": "", "message": ""})
    found = stuck(observed, desired, findings, transition)
    if found is None:
        return transition.model_copy(update={"waiting_since": None}), None
    since = transition.waiting_since or timestamp(now)
    transition = transition.model_copy(update={"waiting_since": since})
    due, way = _due(observed, transition), _way(observed, transition, found[1])
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


def _may_fall_back(observed: Observed) -> bool:
    """Whether the spec still asks for what was decided: an edit takes effect at once."""
    policy = observed.model.spec.transition
    return (policy.policy, policy.when_unschedulable.then) == (
        "AvailabilityPreserving",
        "ResourcePreserving",
    )


def way_taken(transition: TransitionStatus | None, target: VersionStatus | None) -> Way:
    """What spec.transition.whenUnschedulable has made of the transition to a version.

    Args:
        transition: `status.transition`, the last one before it ended.
        target: The row of the version that it was about.
    """
    if target is not None and target.failed_key and _gave_up(target):
        return "Abort"
    return transition.fallback if transition else ""


def _gave_up(row: VersionStatus) -> bool:
    # Where the version serves on with its inputs before, the reason is within the message.
    reason = Reason.UNSCHEDULABLE_TOO_LONG
    return row.reason == reason or (
        row.reason == Reason.ROLLED_BACK and f"{reason}:" in row.message
    )
