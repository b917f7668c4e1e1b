"""Which step of a rollout is under way: a function of the spec, the recorded step, the snapshot and the time.

A canary is a transition that is held: the new version is the desired one, what serves is what it
replaces, and while a step lasts neither comes to an end. So a canary that fails is a version that
fails, and what follows is the same.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.rollout import Rollout, RolloutStep
from slipway_operator.api.status import RolloutStatus, TransitionStatus, timestamp
from slipway_operator.model.observed import Deployment, Observed
from slipway_operator.model.servable import Servable
from slipway_operator.planning.capacity.scaling import Limits
from slipway_operator.planning.endpoints import (
    live_pods,
    ready_endpoints,
    selected_servables,
    selects_now,
)
from slipway_operator.planning.rollout.analysis import analysed, analysis_due, is_being_read
from slipway_operator.planning.rollout.record import (
    ANALYSIS,
    APPROVAL,
    DURATION,
    GATEWAY,
    PODS,
    PROMOTION,
    canary_of,
    is_held,
    stable_of,
)
from slipway_operator.planning.rollout.routed import is_exact, routed_share
from slipway_operator.planning.rollout.split import Split, pods_of
from slipway_operator.planning.versions.desired import DesiredVersions

_ALL: Final = 100


def split_of(rollout: RolloutStatus | None, limits: Limits) -> Split | None:
    """The pods of the step under way; None when none is."""
    if rollout is None or not is_held(rollout):
        return None
    canary, stable = pods_of(rollout.weight, limits)
    return Split(canary_of(rollout), stable_of(rollout), canary, stable)


def rollout_under_way(
    observed: Observed,
    desired: DesiredVersions,
    limits: Limits,
    transition: TransitionStatus | None,
    now: datetime,
) -> RolloutStatus | None:
    """The rollout under way; None when no version takes over in steps.

    It begins when a version is to replace one that takes requests and is no higher: a way back takes no
    steps. Another version, other inputs or other steps begin anew; the stable version stays what it is.
    With all steps done it ends with its transition. At 0 replicas it stands where it stood.
    """
    known, spec = observed.model.status.rollout, observed.model.spec.rollout
    if observed.model.spec.paused:
        return known
    primary = desired.primary
    if spec is None or primary is None:
        return None
    stable = _stable(observed, desired, primary)
    same = known is not None and (known.version, known.key, known.plan) == (
        primary.version,
        primary.key,
        plan_of(spec),
    )
    if known is None or not same:
        begins = transition is not None and limits.replicas and not _is_alone(observed, primary)
        if stable is None or not begins:
            return None
        return _measured(observed, _begun(spec, primary, stable, now), limits)
    if not is_held(known):
        if transition is None:
            return None
        return _measured(observed, known, limits)
    if stable is None:
        # What served is gone by someone else's doing: nothing is left to share the requests with.
        return None
    known = known.model_copy(update={"stable": stable.version, "stable_key": stable.key})
    return _measured(observed, _next(observed, known, spec, limits, now), limits)


def rollout_due(observed: Observed, now: datetime) -> timedelta | None:
    """Time until the pause of the step under way, or an interval of its analysis, is over; None when none is."""
    due = (_pause_due(observed, now), analysis_due(observed, now))
    return min((wait for wait in due if wait is not None), default=None)


def _pause_due(observed: Observed, now: datetime) -> timedelta | None:
    rollout, spec = observed.model.status.rollout, observed.model.spec
    if rollout is None or spec.rollout is None or spec.paused or rollout.waiting_for != DURATION:
        return None
    ends = _ends(rollout, spec.rollout.steps)
    return max(timedelta(0), ends - now) if ends else None


def plan_of(spec: Rollout) -> str:
    """Hash of the steps; a rollout under way begins anew when it changes."""
    steps = [
        # Without defaults: a field that a later release adds changes nothing.
        step.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for step in spec.steps
    ]
    return hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()[:16]


def _is_alone(observed: Observed, primary: Servable) -> bool:
    """Whether the version that is to take over has all requests already."""
    return selects_now(observed, observed.model.name) == primary.id


def _stable(observed: Observed, desired: DesiredVersions, primary: Servable) -> Deployment | None:
    """What serves and is to be replaced: that of the step under way, what was promoted, or what takes most requests."""
    if desired.candidates[primary.version].wanted != primary:
        return None  # It is itself a way back.
    known = observed.model.status.rollout
    held = is_held(known)
    recorded = stable_of(known) if known and held else ""
    # The record outlives its last step: what it was promoted from is on its way out.
    promoted = canary_of(known) if known and not held else ""
    rows = {row.version: row for row in observed.model.status.versions}
    ready = [pod.servable for pod in live_pods(observed) if pod.ready]
    endpoints = [pod.servable for pod in ready_endpoints(observed)]
    selected = selected_servables(observed)
    found = [
        d
        for d in observed.deployments
        if d.servable not in desired.ids
        and d.version <= primary.version
        and not ((row := rows.get(d.version)) and row.failed_key == d.key)
        and (
            d.servable == recorded
            or (d.replicas and d.servable in ready and d.servable in selected)
        )
    ]
    return max(
        found,
        key=lambda d: (
            d.servable in (recorded, promoted),
            endpoints.count(d.servable),
            ready.count(d.servable),
            d.version,
            d.name,
        ),
        default=None,
    )


def _begun(spec: Rollout, primary: Servable, stable: Deployment, now: datetime) -> RolloutStatus:
    return RolloutStatus(
        version=primary.version,
        key=primary.key,
        stable=stable.version,
        stable_key=stable.key,
        plan=plan_of(spec),
        step=1,
        steps=len(spec.steps),
        weight=spec.steps[0].weight,
        reached=0,
        since=timestamp(now),
        waiting_for=PODS,
    )


def _next(
    observed: Observed,
    known: RolloutStatus,
    spec: Rollout,
    limits: Limits,
    now: datetime,
) -> RolloutStatus:
    """The recorded step as it stands now, or the one after it."""
    verbs, steps = observed.verbs, spec.steps
    if verbs.promotes(known.version):
        return _at(known, steps, len(steps) + 1, now)
    if not limits.replicas:
        # Nothing takes requests: the pause begins anew when pods are back.
        return _at(known, steps, known.step, now)
    canary, _ = pods_of(known.weight, limits)
    if not canary:
        return known.model_copy(update={"waiting_for": PROMOTION})
    reached_at = known.reached_at
    complete = _taking(observed, canary_of(known)) == canary
    routed = not is_exact(observed, known) or routed_share(observed, known) == known.weight
    if reached_at is None and complete and routed:
        reached_at = timestamp(now)
    waits = GATEWAY if complete and not routed else PODS
    known = known.model_copy(update={"reached_at": reached_at, "waiting_for": waits})
    if reached_at is None:
        return known
    known = known.model_copy(update={"analysis": analysed(observed, known)})
    if not complete or not routed:
        return known
    waits = _waits(known, steps, verbs.approved_step(known.version), now)
    passed = known.analysis and known.analysis.passed
    if not waits and spec.analysis and (not passed or is_being_read(observed, known)):
        waits = ANALYSIS
    if waits:
        return known.model_copy(update={"waiting_for": waits})
    return _at(known, steps, known.step + 1, now)


def share_by_now(observed: Observed, rollout: RolloutStatus, split: Split) -> int:
    """Percent that the routes should give the canary: that of the step before until it has the pods of this one."""
    spec = observed.model.spec.rollout
    if rollout.reached_at or _taking(observed, split.canary) >= split.canary_pods > 0:
        return rollout.weight
    before = rollout.step - 2
    return spec.steps[before].weight if spec and before >= 0 else 0


def _waits(known: RolloutStatus, steps: Sequence[RolloutStep], approved: int, now: datetime) -> str:
    """What the pause of a step waits for; empty when it is over."""
    pause = steps[known.step - 1].pause
    if pause is None:
        return ""
    if not pause.duration:
        return "" if approved >= known.step else APPROVAL
    ends = _ends(known, steps)
    return "" if ends and now >= ends else DURATION


def _at(
    known: RolloutStatus, steps: Sequence[RolloutStep], step: int, now: datetime
) -> RolloutStatus:
    done = step > len(steps)
    return known.model_copy(
        update={
            "step": step,
            "weight": _ALL if done else steps[step - 1].weight,
            "since": known.since if step == known.step else timestamp(now),
            "reached_at": None,
            "analysis": None,
            "waiting_for": "" if done else PODS,
        }
    )


def _ends(known: RolloutStatus, steps: Sequence[RolloutStep]) -> datetime | None:
    pause = steps[known.step - 1].pause if known.step <= len(steps) else None
    if known.reached_at is None or pause is None or not pause.duration:
        return None
    return datetime.fromisoformat(known.reached_at) + parse_duration(pause.duration)


def _taking(observed: Observed, servable: str) -> int:
    """Pods of a servable that take requests without a version."""
    return sum(pod.servable == servable for pod in ready_endpoints(observed))


def _measured(observed: Observed, rollout: RolloutStatus, limits: Limits) -> RolloutStatus:
    """With the share that is reached; it is whole percents, rounded."""
    if is_exact(observed, rollout) and limits.replicas:
        return rollout.model_copy(update={"reached": routed_share(observed, rollout) or 0})
    endpoints = len(ready_endpoints(observed))
    taking = _taking(observed, canary_of(rollout))
    reached = round(100 * taking / endpoints) if endpoints and limits.replicas else 0
    return rollout.model_copy(update={"reached": reached})
