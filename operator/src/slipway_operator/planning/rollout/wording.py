"""What a person reads of a rollout in steps: its phase, a sentence, and Events."""

from collections.abc import Iterator

from slipway_operator.api.conditions import EventReason
from slipway_operator.api.status import ModelStatus, RolloutStatus
from slipway_operator.api.verbs import Verb
from slipway_operator.model.actions import KubernetesEvent
from slipway_operator.planning.rollout.record import (
    ANALYSIS,
    APPROVAL,
    GATEWAY,
    PODS,
    PROMOTION,
    is_held,
)


def phase(rollout: RolloutStatus) -> str:
    """The Phase column while a step lasts; empty while its pods are on their way.

    `Canary 10% 1/2`, `Paused 50% 2/2: approve 4/2`.
    """
    if not is_held(rollout) or rollout.waiting_for in ("", PODS):
        return ""
    if rollout.waiting_for == PROMOTION:
        return f"Paused: promote {rollout.version}"
    at = standing(rollout)
    if rollout.waiting_for == GATEWAY:
        return f"Canary {at}: routing"
    if rollout.waiting_for == APPROVAL:
        return f"Paused {at}: approve {rollout.version}/{rollout.step}"
    return f"Canary {at}: analysing" if rollout.waiting_for == ANALYSIS else f"Canary {at}"


def standing(rollout: RolloutStatus) -> str:
    """Weight and number of a step: `10% 1/2`."""
    return f"{rollout.weight}% {rollout.step}/{rollout.steps}"


def sentence(rollout: RolloutStatus, name: str) -> str:
    """Where the canary stands, what it waits for, and how to go on; empty while its pods are on their way.

    Args:
        rollout: The rollout under way.
        name: Of the Model.
    """
    if not is_held(rollout) or rollout.waiting_for in ("", PODS):
        return ""
    if rollout.waiting_for == PROMOTION:
        return (
            "one replica cannot be shared by two versions without an extra pod: set spec.serving.replicas to 2, or "
            f"replace it at once with kubectl annotate model {name} {Verb.PROMOTE.annotation}={rollout.version} "
            "--overwrite"
        )
    if rollout.waiting_for == GATEWAY:
        return (
            f"step {rollout.step} of {rollout.steps}: waits until the gateway has taken up {rollout.weight}%; the "
            "condition RoutesAccepted says what it answers"
        )
    share = f"step {rollout.step} of {rollout.steps}: it takes {rollout.reached}% of requests"
    if rollout.reached != rollout.weight:
        share += f" ({rollout.weight}% were asked for)"
    if rollout.analysis and rollout.analysis.message:
        share += f"; {rollout.analysis.message}"
    if rollout.waiting_for == APPROVAL:
        value = f"{rollout.version}/{rollout.step}"
        return f"{share}; to go on, kubectl annotate model {name} {Verb.APPROVE.annotation}={value} --overwrite"
    return share


def step_events(before: ModelStatus, after: ModelStatus, name: str) -> Iterator[KubernetesEvent]:
    """Events of steps: one when a step has its pods, one when a person is waited for, one at the end."""
    was, now = before.rollout, after.rollout
    if now is None:
        return
    same = was is not None and (was.version, was.key, was.plan) == (now.version, now.key, now.plan)
    if not is_held(now):
        if was is None or not same or is_held(was):
            text = f"version {now.version}: all {now.steps} steps are done, it takes all requests"
            yield KubernetesEvent(EventReason.ROLLOUT_PROMOTED, text)
        return
    step = same and was is not None and was.step == now.step
    waits = was.waiting_for if step and was is not None else ""
    reason = (
        EventReason.ROLLOUT_PAUSED
        if now.waiting_for in (APPROVAL, PROMOTION)
        else EventReason.ROLLOUT_STEP
    )
    text = sentence(now, name)
    if text and waits != now.waiting_for:
        yield KubernetesEvent(reason, f"version {now.version}: {text}")
