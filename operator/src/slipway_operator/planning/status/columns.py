"""The columns of `kubectl get models`: what serves, what is being done, how far it is."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from slipway_operator.api.conditions import Reason
from slipway_operator.api.status import BAD_STATES, VersionState, VersionStatus
from slipway_operator.model.observed import ContainerState, Observed, Pod
from slipway_operator.planning.capacity.shortage import lacks_gpu, what_is_short
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.rollout.record import PODS
from slipway_operator.planning.rollout.wording import phase as rollout_phase
from slipway_operator.planning.rollout.wording import standing
from slipway_operator.planning.status.room import waiting_for_room
from slipway_operator.planning.status.version_rows import shares
from slipway_sync.exports import part_of, size

PROGRESS_INTERVAL: Final = timedelta(seconds=3)
"""How often sync progress is read; every change of it is a line in `kubectl get -w`."""

_SCALING: Final = "Scaling"
_OF_VOLUMES: Final = frozenset(
    {Reason.CLAIM_MISSING, Reason.CLAIM_UNUSABLE, Reason.CLAIM_EXCLUSIVE}
)
"""Why a version's pods are not created: they could not have their volume."""
_BARRED: Final = frozenset(
    {
        Reason.POD_LABELS_CONFLICT,
        Reason.NAME_CONFLICT,
        Reason.POD_SECURITY_VIOLATION,
        Reason.LIMIT_RANGE_EXCEEDED,
        Reason.ADMISSION_REFUSED,
    }
)
"""Why a version is not started before a person does something about it."""


def progress_due(observed: Observed) -> timedelta | None:
    """Time until sync progress is read again; None when no sync runs."""
    syncing = any(pod.sync.state is ContainerState.RUNNING for pod in observed.pods)
    return PROGRESS_INTERVAL if syncing else None


def serving_column(endpoints: Sequence[Pod]) -> str:
    """`3`, or `3 67%, 4 33%` while versions are mixed; empty when nothing serves."""
    parts = sorted(shares(endpoints).items())
    if len(parts) == 1:
        return str(parts[0][0])
    return ", ".join(f"{version} {share}%" for version, share in parts)


def newer_row(decision: Decision) -> VersionStatus | None:
    """The highest version above the primary that cannot take its place now, and says why."""
    primary = decision.desired.primary
    floor = primary.version if primary else -1
    policy = decision.observed.model.versions
    wanted = set(policy.specific) if policy.specific is not None else None
    for row in decision.rows:
        relevant = row.version > floor if wanted is None else row.version in wanted
        if relevant and row.state in (BAD_STATES | {VersionState.SETTLING}):
            return row
    own = decision.rows_by_version.get(primary.version) if primary else None
    return own if own and own.reason == Reason.ROLLED_BACK else None


def _newer_phase(decision: Decision, row: VersionStatus) -> str:
    serves = bool(decision.endpoints)
    match row.state:
        case VersionState.SETTLING if row.reason:
            listed = decision.listed.get(row.version)
            missing = listed.object if listed else ""
            return f"Incomplete {row.version}" + (f": {missing}" if missing else "")
        case VersionState.SETTLING:
            return f"Settling {row.version}"
        case VersionState.REJECTED:
            return f"Rejected {row.version}"
        case _ if row.reason == Reason.ABORTED:
            return f"Aborted {row.version}"
        case _:
            return f"RolledBack from {row.version}" if serves else f"Failed {row.version}"


def _syncing(pods: Sequence[Pod]) -> str:
    """How far the downloads are, all pods that are at it together.

    `Syncing 62% 1.2/2.0 GB 124/200 files 180 MB/s`.
    """
    progress = [pod.progress for pod in pods if pod.progress]
    total = sum(p.total_bytes for p in progress)
    if not total:
        return "Syncing"
    done = sum(p.bytes for p in progress)
    parts = [f"Syncing {done * 100 // total}%", part_of(done, total)]
    if files := sum(p.total_files for p in progress):
        parts.append(f"{sum(p.files for p in progress)}/{files} files")
    if rate := sum(p.rate for p in progress):
        parts.append(f"{size(rate)}/s")
    if len(progress) > 1:
        parts.append(f"in {len(progress)} pods")
    return " ".join(parts)


def _no_room(decision: Decision, pods: Sequence[Pod]) -> str:
    """What pods wait for, `WaitingForGPU: 0/3 nodes have 1 more nvidia.com/gpu`; or how many versions do."""
    stuck = [pod for pod in pods if pod.unschedulable and not pod.ready]
    gpus = [pod for pod in stuck if lacks_gpu(pod.unschedulable, pod.requests)]
    phase = "WaitingForGPU" if gpus else "Unschedulable"
    waiting, wanted = waiting_for_room(decision), len(decision.desired.servables)
    if wanted > 1:
        return f"{phase}: {len(waiting)} of {wanted} versions"
    short = (what_is_short(pod.unschedulable, pod.requests) for pod in gpus or stuck)
    return ": ".join([phase, *filter(None, list(short)[:1])])


def _bar(decision: Decision, row: VersionStatus) -> str:
    """The phase where pods of a version are not created, and not for want of room; empty otherwise."""
    if row.state is not VersionState.UNSCHEDULABLE:
        return ""
    if row.reason in _OF_VOLUMES or (row.reason == decision.volume.reason and row.reason):
        return "WaitingForVolume"
    return row.reason if row.reason in _BARRED else ""


def _others_phase(decision: Decision) -> str:
    """What is the matter with desired versions other than the primary; empty when all of them serve."""
    servables, wanted = decision.desired.servables, decision.limits.replicas
    rows = [r for s in servables if (r := decision.rows_by_version.get(s.version))]
    if waiting_for_room(decision):
        ids = decision.desired.ids
        return _no_room(decision, [p for p in decision.observed.pods if p.servable in ids])
    if barred := [row for row in rows if _bar(decision, row)]:
        return _bar(decision, barred[0])
    if coming := sum(row.available_key != row.key for row in rows):
        return f"Starting {len(servables) - coming}/{len(servables)} versions"
    if missing := sum(max(0, wanted - row.ready_replicas) for row in rows):
        pods = wanted * len(servables)
        return f"{_SCALING if _scaling(decision) else 'Degraded'} {pods - missing}/{pods}"
    return ""


def _step_phase(decision: Decision) -> str:
    """Where a rollout in steps stands; empty while pods of its step are on their way, or have trouble."""
    rollout = decision.observed.model.status.rollout
    if rollout is None or decision.split is None or decision.split.canary in decision.findings:
        return ""
    shifted = sum(p.servable == decision.split.canary for p in decision.endpoints)
    if shifted and shifted == decision.split.canary_pods and rollout.waiting_for == PODS:
        # A step that asks for as many pods as the one before it.
        return f"Canary {standing(rollout)}"
    return rollout_phase(rollout)


def _transition_phase(decision: Decision) -> str:
    """What keeps the primary from taking all traffic."""
    primary = decision.desired.primary
    if primary is None:
        return ""
    row = decision.rows_by_version.get(primary.version)
    pods = [p for p in decision.observed.pods if p.servable == primary.id and not p.terminating]
    shifted = sum(p.servable == primary.id for p in decision.endpoints)
    wanted = decision.split.canary_pods if decision.split else decision.limits.replicas
    ready = sum(p.ready for p in pods)
    if row and (bar := _bar(decision, row)):
        return bar
    if decision.preflight.wanted == primary and not pods:
        return f"Preflight {primary.version}"
    if row and Reason.UNSCHEDULABLE in (row.state.value, row.reason):
        # One that was available says so by its reason alone.
        return _no_room(decision, pods)
    others = [p for p in decision.observed.pods if p.servable != primary.id]
    if shifted >= wanted:
        older = [p.version for p in others]
        return f"Draining {max(older)}" if older else f"Shifting {shifted}/{wanted}"
    waiting = [p for p in pods if not p.ready]
    if any(p.sync.state is ContainerState.RUNNING for p in waiting):
        return _syncing(pods)
    if shifted or ready >= wanted:
        return f"Shifting {shifted}/{wanted}"
    # Where no more hardware may be used, the first new pod waits until an old one is gone.
    leaving = [p.version for p in others if p.terminating]
    if leaving and all(p.scheduled_at is None for p in pods):
        return f"Draining {max(leaving)}"
    if pods and all(p.sync.state is not ContainerState.TERMINATED for p in pods):
        # Their containers are being created, or a sync is about to be tried again.
        return "Syncing" if any(p.sync.exit_code is not None for p in pods) else "Starting"
    return f"Loading {ready}/{wanted}" if pods else "Starting"


def _scaling(decision: Decision) -> bool:
    """Whether pods are missing because more are asked for than before, and they are on their way."""
    primary = decision.desired.primary
    if primary is None or primary.id in decision.findings:
        return False
    status = decision.observed.model.status
    before = status.ready.partition("/")[2]
    wanted = decision.limits.replicas * len(decision.desired.servables)
    return status.phase.startswith(_SCALING) or (before.isdecimal() and int(before) < wanted)


def phase_of(decision: Decision) -> str:
    """The Phase column."""
    model = decision.observed.model
    if model.spec.paused:
        return "Paused"
    newer = newer_row(decision)
    if decision.desired.primary is None:
        if newer:
            return _newer_phase(decision, newer)
        return decision.observed.source.error_reason or (
            "WaitingForSource" if decision.observed.source.polled else "Starting"
        )
    if decision.limits.replicas == 0:
        return "ScaledToZero"
    if not decision.settled:
        return _step_phase(decision) or _transition_phase(decision)
    ready = len(decision.endpoints)
    if ready < decision.limits.replicas:
        if _scaling(decision):
            return f"{_SCALING} {ready}/{decision.limits.replicas}"
        return f"Degraded {ready}/{decision.limits.replicas}"
    if newer:
        return _newer_phase(decision, newer)
    row = decision.rows_by_version.get(decision.desired.primary.version)
    if row and row.state is VersionState.SOURCE_GONE:
        return "SourceGone"
    return _others_phase(decision) or _at_rest(decision)


def _at_rest(decision: Decision) -> str:
    """Nothing is being done, and all is well."""
    return "Available" if decision.observed.verbs.pinned is None else "Pinned"
