"""What has just ended, how, and how long it took, for metrics."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from slipway_operator.api.conditions import Reason
from slipway_operator.api.names import servable_id
from slipway_operator.api.status import ModelStatus, TransitionRecord
from slipway_operator.model.observed import Observed, Pod
from slipway_operator.planning.rollout.record import is_held
from slipway_operator.planning.versions.failures import failed_reason


@dataclass(frozen=True, slots=True)
class PodDurations:
    """Seconds that a pod took on its way.

    Attributes:
        sync: Its sync, from first to last byte, as the kubelet tells.
        load: From the end of the sync until it was ready.
    """

    sync: float
    load: float


def ended_transitions(before: ModelStatus, after: ModelStatus) -> list[TransitionRecord]:
    """Transitions that have ended between two states of the status."""
    known = {(entry.started_at, entry.key) for entry in before.history if entry.ended_at}
    fresh = (entry for entry in after.history if entry.ended_at)
    return [entry for entry in fresh if (entry.started_at, entry.key) not in known]


def seconds_of(entry: TransitionRecord) -> float:
    """How long a transition took that has ended."""
    ended = datetime.fromisoformat(entry.ended_at or entry.started_at)
    return (ended - datetime.fromisoformat(entry.started_at)).total_seconds()


def ended_step(before: ModelStatus, after: ModelStatus, now: datetime) -> tuple[int, float] | None:
    """The step of a rollout whose share of requests has ended: its weight, and seconds since its pods took requests."""
    was, then = before.rollout, after.rollout
    if was is None or was.reached_at is None or not is_held(was):
        return None
    same = then is not None and (then.version, then.key, then.plan, then.step, then.reached_at) == (
        was.version,
        was.key,
        was.plan,
        was.step,
        was.reached_at,
    )
    if same:
        return None
    lasted = (now - datetime.fromisoformat(was.reached_at)).total_seconds()
    return was.weight, max(0.0, lasted)


def ended_preflight(before: ModelStatus, after: ModelStatus) -> str:
    """How a pre-flight has ended between two states of the status; empty when none has."""
    was = before.transition.preflight if before.transition else None
    now = after.transition.preflight if after.transition else None
    if now and now.state != "Running":
        same = was is not None and (was.key, was.state) == (now.key, now.state)
        return "" if same else now.state
    if was is None or was.state != "Running":
        return ""
    row = next((row for row in after.versions if row.version == was.version), None)
    failed = row is not None and row.failed_key == was.key and failed_reason(row) != Reason.ABORTED
    return "Failed" if failed else ""


def new_pods(observed: Observed, before: ModelStatus, after: ModelStatus) -> Iterator[PodDurations]:
    """Pods of versions all of whose replicas are ready for the first time."""
    known = {(row.version, row.available_key) for row in before.versions}
    arrived = {
        servable_id(row.version, row.available_key)
        for row in after.versions
        if row.available_key and (row.version, row.available_key) not in known
    }
    for pod in observed.pods:
        if pod.servable in arrived and (found := _durations(pod)):
            yield found


def _durations(pod: Pod) -> PodDurations | None:
    begun, synced, ready = pod.sync.started_at, pod.sync.finished_at, pod.ready_at
    if not pod.ready or begun is None or synced is None or ready is None:
        return None
    sync, load = (synced - begun).total_seconds(), (ready - synced).total_seconds()
    return PodDurations(max(0.0, sync), max(0.0, load))
