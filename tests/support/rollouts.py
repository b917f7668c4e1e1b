"""Rollouts in steps for random histories: what a person writes and says, and what must hold of the steps."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from fleet import Fleet
from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.rollout import Rollout
from slipway_operator.api.spec import VersionPolicy
from slipway_operator.api.status import ModelStatus, RolloutStatus
from slipway_operator.model.analysis import Counters, Interval
from slipway_operator.planning.capacity.scaling import limits_of
from slipway_operator.planning.decision import decide
from slipway_operator.planning.rollout.record import canary_of, is_held, stable_of

_ROLLOUTS: Final[tuple[Mapping[str, Any] | None, ...]] = (
    {"steps": [{"weight": 10, "pause": {"duration": "2m"}}, {"weight": 50, "pause": {}}]},
    {"steps": [{"weight": 50, "pause": {}}, {"weight": 10, "pause": {"duration": "1m"}}]},
    {"steps": [{"weight": 30}, {"weight": 60}]},
    {"steps": [{"weight": 60}, {"weight": 20, "pause": {}}], "analysis": {"minimumRequests": 10}},
    {"steps": [{"weight": 60, "pause": {}}], "analysis": {"onTooFewRequests": "Fail"}},
    None,
)


def write_rollout(fleet: Fleet, number: int) -> None:
    """A person writes other steps, or none; only where one version serves at a time."""
    if is_single(fleet.model.spec.versions):
        fleet.edit(rollout=_ROLLOUTS[number % len(_ROLLOUTS)])  # type: ignore[arg-type]


def is_single(versions: VersionPolicy) -> bool:
    return versions.latest == 1 or len(versions.specific or ()) == 1


def measure(fleet: Fleet, number: int) -> None:
    """An interval of the canary's analysis ends: it was good, worse, or had too few requests."""
    rollout = fleet.status.rollout
    if rollout is None or not is_held(rollout) or rollout.reached_at is None:
        return
    requests, errors = ((1000, 0), (1000, 500), (5, 5), (1000, 0))[number % 4]
    fleet.now += timedelta(minutes=1)
    fleet.interval = Interval(
        canary_of(rollout), rollout.step, fleet.now - timedelta(minutes=1), fleet.now,
        Counters(requests, errors), Counters(1000, 1),
    )  # fmt: skip


def approve(fleet: Fleet, number: int) -> None:
    """A person approves a step: mostly of the version that waits, now and then of another."""
    rollout = fleet.status.rollout
    version = rollout.version if rollout and number % 4 else number % 5 + 1
    fleet.annotations["slipway.dev/approve"] = f"{version}/{number // 4 % 3 + 1}"


def promote(fleet: Fleet, number: int) -> None:
    """A person promotes a version, that which waits or another."""
    rollout = fleet.status.rollout
    version = rollout.version if rollout and number % 4 else number % 5 + 1
    fleet.annotations["slipway.dev/promote"] = str(version)


def promote_what_waits(fleet: Fleet) -> bool:
    """Somebody says yes to what waits for it; False when nothing does."""
    rollout = fleet.status.rollout
    if rollout is None or not is_held(rollout):
        return False
    said = fleet.annotations.get("slipway.dev/promote") == str(rollout.version)
    fleet.annotations["slipway.dev/promote"] = str(rollout.version)
    return not said


def check_advance(
    fleet: Fleet, before: ModelStatus, after: ModelStatus, broken: Callable[[str], None]
) -> None:
    """No step ends before its pods took requests, its time was over, or a person said so."""
    was, now = before.rollout, after.rollout
    if was is None or now is None or not is_held(was):
        return
    if (was.version, was.key, was.plan) != (now.version, now.key, now.plan):
        return
    verbs, spec = fleet.model.verbs, fleet.model.spec.rollout
    if now.step == was.step or verbs.promotes(was.version):
        return
    assert spec
    _check_interval(fleet, was, spec, broken)
    if now.step != was.step + 1 or fleet.model.spec.paused:
        broken(f"rollout: from step {was.step} to {now.step}")
    pause = spec.steps[was.step - 1].pause
    if pause is None:
        return
    if not pause.duration:
        if verbs.approved_step(was.version) < was.step:
            broken(f"rollout: nobody has approved step {was.step}")
    elif was.reached_at is None or fleet.now < datetime.fromisoformat(
        was.reached_at
    ) + parse_duration(pause.duration):
        broken(f"rollout: the pause of step {was.step} is not over: {was}")


def _check_interval(
    fleet: Fleet, was: RolloutStatus, spec: Rollout, broken: Callable[[str], None]
) -> None:
    """No step ends without an interval of its own that was good, where there is an analysis."""
    if not spec.analysis or (was.analysis and was.analysis.passed):
        return
    interval = fleet.interval
    if interval is None or interval.new.errors or interval.step != was.step:
        broken(f"rollout: step {was.step} ends without a good interval: {interval}")


def check_share(fleet: Fleet, broken: Callable[[str], None], *, calm: bool) -> None:
    """At rest, the canary has no more pods than its step; the other version no fewer, if none were lost."""
    rollout = fleet.status.rollout
    if rollout is None or not is_held(rollout) or fleet.model.spec.paused:
        return
    split = decide(fleet.observe(), fleet.settings, fleet.now).split
    if split is None:
        broken(f"rollout: {rollout} is recorded, and is not one")
        return
    canary, stable = _taking(fleet, canary_of(rollout)), _taking(fleet, stable_of(rollout))
    if canary > split.canary_pods and stable >= limits_of(fleet.model.spec).floor:
        broken(f"rollout: {canary} pods of the canary take requests, {split}")
    if calm and stable < split.stable_pods:
        broken(f"rollout: {stable} pods of the stable version take requests, {split}")


def _taking(fleet: Fleet, servable: str) -> int:
    return sum(pod.labels["slipway.dev/servable"] == servable for pod in fleet.in_rotation())


def describe(rollout: RolloutStatus | None) -> str:
    return f"rollout: {rollout}"
