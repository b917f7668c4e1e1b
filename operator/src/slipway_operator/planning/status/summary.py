"""`status` as a whole: the columns, the conditions and the Events, from rows and traffic."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from slipway_operator.api import names
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.status import Condition, ModelStatus, VersionState, VersionStatus
from slipway_operator.model.actions import Note
from slipway_operator.model.observed import ContainerState, Observed, Pod
from slipway_operator.model.pvc import NO_VOLUME, Volume
from slipway_operator.model.source import Readiness, SourceVersion
from slipway_operator.planning.capacity.scaling import Limits
from slipway_operator.planning.status.version_rows import shares, timestamp
from slipway_operator.planning.versions.desired import Aspiration
from slipway_operator.planning.volumes.pvc import not_grown
from slipway_sync.exports import part_of, size

_OF_VOLUMES: Final = frozenset(
    {Reason.CLAIM_MISSING, Reason.CLAIM_UNUSABLE, Reason.CLAIM_EXCLUSIVE, Reason.NAME_CONFLICT}
)
"""Why a version's pods are not created: they could not have their volume."""
RETENTION_FAILURES: Final = frozenset({Reason.RETENTION_DENIED, Reason.RETENTION_FAILED})
"""Told by an Event of retention's own."""
_BAD: Final = frozenset({VersionState.FAILED, VersionState.REJECTED, VersionState.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Facts:
    """What the summary is drawn from.

    Attributes:
        selects: What NAME selects now.
        rotating: Pods that take unversioned requests now.
        settled: The primary has arrived, takes all traffic, and no older pod is left.
        volume: What the claim that the pods mount lets them do.
    """

    observed: Observed
    aspiration: Aspiration
    limits: Limits
    rows: Sequence[VersionStatus]
    selects: str
    rotating: Sequence[Pod]
    settled: bool
    volume: Volume = NO_VOLUME

    @property
    def rows_by_version(self) -> dict[int, VersionStatus]:
        """Rows by version."""
        return {row.version: row for row in self.rows}

    @property
    def replacing(self) -> bool:
        """Whether there is something that the aspired servables replace."""
        aspired = {servable.id for servable in self.aspiration.servables}
        return any(found.servable not in aspired for found in self.observed.deployments)

    @property
    def newest_listed(self) -> SourceVersion | None:
        """The highest version in the source."""
        return max(self.observed.source.versions, key=lambda v: v.number, default=None)


def serving_column(rotating: Sequence[Pod]) -> str:
    """`3`, or `3 67%, 4 33%` while versions are mixed; empty when nothing serves."""
    parts = sorted(shares(rotating).items())
    if len(parts) == 1:
        return str(parts[0][0])
    return ", ".join(f"{version} {share}%" for version, share in parts)


def _newer_row(facts: Facts) -> VersionStatus | None:
    """The highest version above the primary that cannot take its place now, and says why."""
    primary = facts.aspiration.primary
    floor = primary.version if primary else -1
    policy = facts.observed.model.spec.versions
    wanted = set(policy.specific) if policy.specific is not None else None
    for row in facts.rows:
        relevant = row.version > floor if wanted is None else row.version in wanted
        if relevant and row.state in (_BAD | {VersionState.SETTLING}):
            return row
    own = facts.rows_by_version.get(primary.version) if primary else None
    return own if own and own.reason == Reason.ROLLED_BACK else None


def _newer_phase(facts: Facts, row: VersionStatus) -> str:
    serves = bool(facts.rotating)
    match row.state:
        case VersionState.SETTLING if row.reason:
            listed = {v.number: v for v in facts.observed.source.versions}.get(row.version)
            missing = listed.object if listed else ""
            return f"Incomplete {row.version}" + (f": {missing}" if missing else "")
        case VersionState.SETTLING:
            return f"Settling {row.version}"
        case VersionState.REJECTED:
            return f"Rejected {row.version}"
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


def _transition_phase(facts: Facts) -> str:
    """What keeps the primary from taking all traffic."""
    primary = facts.aspiration.primary
    if primary is None:
        return ""
    row = facts.rows_by_version.get(primary.version)
    pods = [p for p in facts.observed.pods if p.servable == primary.id and not p.terminating]
    shifted = sum(p.servable == primary.id for p in facts.rotating)
    wanted = facts.limits.replicas
    ready = sum(p.ready for p in pods)
    if row and row.state is VersionState.UNSCHEDULABLE:
        if row.reason in _OF_VOLUMES:
            return "WaitingForVolume"
        return "WaitingForGPU" if "gpu" in row.message.lower() else "Unschedulable"
    others = [p for p in facts.observed.pods if p.servable != primary.id]
    if shifted >= wanted:
        older = [p.version for p in others]
        return f"Draining {max(older)}" if older else f"Shifting {shifted}/{wanted}"
    waiting = [p for p in pods if not p.ready]
    if any(p.sync.state is ContainerState.RUNNING for p in waiting):
        return _syncing(pods)
    if shifted or ready >= wanted:
        return f"Shifting {shifted}/{wanted}"
    if pods:
        return f"Loading {ready}/{wanted}"
    # Where no more hardware may be used, the first new pod waits until an old one is gone.
    leaving = [p.version for p in others if p.terminating]
    return f"Draining {max(leaving)}" if leaving else "Starting"


def phase_of(facts: Facts) -> str:
    """The Phase column."""
    model = facts.observed.model
    if model.spec.paused:
        return "Paused"
    newer = _newer_row(facts)
    if facts.aspiration.primary is None:
        if newer:
            return _newer_phase(facts, newer)
        return facts.observed.source.error_reason or (
            "WaitingForSource" if facts.observed.source.polled else "Starting"
        )
    if facts.limits.replicas == 0:
        return "ScaledToZero"
    if not facts.settled:
        return _transition_phase(facts)
    ready = len(facts.rotating)
    if ready < facts.limits.replicas:
        return f"Degraded {ready}/{facts.limits.replicas}"
    if newer:
        return _newer_phase(facts, newer)
    row = facts.rows_by_version.get(facts.aspiration.primary.version)
    if row and row.state is VersionState.SOURCE_GONE:
        return "SourceGone"
    return "Available"


@dataclass(frozen=True, slots=True)
class _Claim:
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def _source_claim(facts: Facts) -> _Claim:
    source = facts.observed.source
    if source.error_reason:
        return _Claim("False", source.error_reason, source.error_message)
    if not source.polled:
        return _Claim("Unknown", Reason.NOT_POLLED_YET, "the source has not been listed yet")
    if not source.versions:
        uri = facts.observed.model.spec.source.uri
        return _Claim(
            "False",
            Reason.NO_VERSIONS,
            f"{uri}/ contains no version: upload exports as {uri.rstrip('/')}/1/, …/2/ and so on; "
            "current versions keep serving",
        )
    complete = [v for v in source.versions if v.readiness is Readiness.COMPLETE]
    if not complete:
        newest = facts.newest_listed
        if newest and newest.readiness is Readiness.SETTLING:
            return _Claim(
                "Unknown", Reason.NO_COMPLETE_VERSION, f"version {newest.number} is settling"
            )
        detail = newest.message if newest and newest.message else "still settling"
        number = newest.number if newest else 0
        return _Claim("False", Reason.NO_COMPLETE_VERSION, f"version {number}: {detail}")
    counted = f"{len(complete)} of {len(source.versions)} versions are complete"
    return _Claim("True", Reason.LISTED, "; ".join([counted, *source.warnings]))


def _row_message(row: VersionStatus) -> str:
    detail = row.message or row.state.value
    return f"version {row.version}: {row.reason + ': ' if row.reason else ''}{detail}"


def _ready_claim(facts: Facts) -> _Claim:
    ready = len(facts.rotating)
    limits = facts.limits
    primary = facts.aspiration.primary
    if limits.replicas == 0:
        return _Claim("False", Reason.SCALED_TO_ZERO, "spec.serving.replicas is 0")
    if primary is None and not ready:
        newer = _newer_row(facts)
        source = _source_claim(facts)
        if newer:
            return _Claim("False", newer.reason or newer.state.value, _row_message(newer))
        return _Claim("False", Reason.WAITING_FOR_SOURCE, source.message)
    short = [
        row
        for servable in facts.aspiration.servables
        if (row := facts.rows_by_version.get(servable.version))
        and row.ready_replicas < limits.replicas
    ]
    if facts.settled and not short:
        return _Claim("True", Reason.AVAILABLE, f"{serving_column(facts.rotating)} serves")
    if not facts.settled and ready >= max(1, limits.floor):
        return _Claim("True", Reason.TRANSITION, f"{serving_column(facts.rotating)} serves")
    row = short[0] if short else None
    detail = f": {row.message}" if row and row.message else ""
    if not ready and limits.floor == 0 and facts.replacing:
        return _Claim(
            "False",
            Reason.SERVING_GAP,
            "nothing serves while the only pod is replaced (ResourcePreserving with one replica)"
            + detail,
        )
    return _Claim(
        "False",
        row.reason if row and row.reason else Reason.REPLICAS_NOT_READY,
        f"{ready} of {limits.replicas} replicas take requests{detail}",
    )


def _progress_claim(facts: Facts, phase: str) -> _Claim:
    if facts.observed.model.spec.paused:
        return _Claim("False", Reason.PAUSED, "spec.paused is true: nothing is changed")
    primary = facts.aspiration.primary
    if primary is None:
        return _Claim("False", Reason.WAITING_FOR_SOURCE, "no version can be started")
    if facts.settled:
        return _Claim("False", Reason.AS_DESIRED, f"version {primary.version} has all traffic")
    row = facts.rows_by_version.get(primary.version)
    detail = f": {row.message}" if row and row.message else ""
    reason = row.reason if row and row.reason else Reason.TRANSITION
    return _Claim("True", reason, f"version {primary.version}: {phase}{detail}")


def _degraded_claim(facts: Facts) -> _Claim:
    if facts.observed.foreign:
        listed = ", ".join(sorted(facts.observed.foreign))
        return _Claim(
            "True",
            Reason.NAME_CONFLICT,
            f"{listed} exists and is not owned by this Model: delete or rename it, or rename "
            "the Model",
        )
    if facts.volume.reason or facts.volume.exclusive:
        return _Claim(
            "True",
            facts.volume.reason or Reason.CLAIM_EXCLUSIVE,
            facts.volume.message or facts.volume.exclusive,
        )
    if facts.observed.source.error_reason:
        return _Claim(
            "True", facts.observed.source.error_reason, facts.observed.source.error_message
        )
    newer = _newer_row(facts)
    if newer and (newer.state in _BAD or newer.reason == Reason.ROLLED_BACK):
        return _Claim("True", newer.reason or newer.state.value, _row_message(newer))
    for row in facts.rows:
        if row.state is VersionState.SOURCE_GONE or row.reason == Reason.CONTENT_CHANGED:
            return _Claim("True", row.reason, _row_message(row))
        if row.state is VersionState.UNSCHEDULABLE:
            return _Claim("True", row.reason, _row_message(row))
    if refusal := not_grown(facts.observed):
        return _Claim("True", Reason.CLAIM_NOT_GROWN, refusal)
    retention = facts.observed.model.status.retention
    if retention and retention.reason in RETENTION_FAILURES:
        return _Claim("True", retention.reason, retention.message)
    return _Claim("False", Reason.AS_DESIRED, "no action is needed")


def _condition(kind: ConditionType, claim: _Claim, facts: Facts, now: datetime) -> Condition:
    before = {c.type: c for c in facts.observed.model.status.conditions}.get(kind)
    same = before is not None and before.status == claim.status
    return Condition(
        type=kind,
        status=claim.status,
        observed_generation=facts.observed.model.generation,
        last_transition_time=before.last_transition_time if same and before else timestamp(now),
        reason=claim.reason,
        message=claim.message,
    )


def _message(facts: Facts, claims: dict[ConditionType, _Claim]) -> str:
    """The one sentence to act on: trouble first, then progress."""
    for kind, bad in (
        (ConditionType.DEGRADED, "True"),
        (ConditionType.SOURCE_READY, "False"),
        (ConditionType.READY, "False"),
        (ConditionType.PROGRESSING, "True"),
    ):
        if claims[kind].status == bad:
            return claims[kind].message
    if newer := _newer_row(facts):
        return _row_message(newer)
    retention = facts.observed.model.status.retention
    return retention.message if retention and retention.versions else ""


def summarise(facts: Facts, now: datetime) -> ModelStatus:
    """The whole status."""
    model = facts.observed.model
    phase = phase_of(facts)
    claims = {
        ConditionType.SOURCE_READY: _source_claim(facts),
        ConditionType.PROGRESSING: _progress_claim(facts, phase),
        ConditionType.DEGRADED: _degraded_claim(facts),
        ConditionType.READY: _ready_claim(facts),
    }
    live = [pod for pod in facts.observed.pods if not pod.terminating]
    wanted = facts.limits.replicas * max(1, len(facts.aspiration.servables))
    primary = facts.aspiration.primary
    ideal = facts.aspiration.ideal
    target = primary.version if primary else ideal
    host = f"{model.name}.{model.namespace}.svc:{names.REST_PORT}"
    return ModelStatus(
        observed_generation=model.generation,
        conditions=[_condition(kind, claim, facts, now) for kind, claim in claims.items()],
        serving=serving_column(facts.rotating),
        target="" if target is None else str(target),
        phase=phase,
        ready=f"{sum(pod.ready for pod in live)}/{wanted}",
        message=_message(facts, claims),
        url=f"http://{host}/v1/models/{model.model_name}",
        replicas=len(live),
        selector=f"{names.MODEL_LABEL}={model.name}",
        versions=list(facts.rows),
        retention=model.status.retention,
    )


_UNDER_WAY: Final = frozenset({VersionState.LOADING, VersionState.UNSCHEDULABLE})
_TELLING: Final = {
    VersionState.AVAILABLE: ("VersionAvailable", False),
    VersionState.RETIRED: ("VersionRetired", False),
    VersionState.SYNCING: ("VersionStarting", False),
    VersionState.FAILED: ("VersionFailed", True),
    VersionState.REJECTED: ("VersionRejected", True),
    VersionState.ROLLED_BACK: ("VersionRolledBack", True),
    VersionState.UNSCHEDULABLE: ("VersionUnschedulable", True),
    VersionState.SOURCE_GONE: ("SourceGone", True),
}


def notes(before: ModelStatus, after: ModelStatus) -> tuple[Note, ...]:
    """Events for what is new: a version's state, and trouble with the source or with names."""
    out: list[Note] = []
    old_rows = {row.version: row for row in before.versions}
    for row in after.versions:
        was = old_rows.get(row.version)
        telling = _TELLING.get(row.state)
        if was and row.state is VersionState.SYNCING and was.state in _UNDER_WAY:
            # The next pod of the same version syncs; that it starts has been told.
            continue
        if telling and (was is None or was.state != row.state):
            reason, warning = telling
            message = f"version {row.version}" + (f": {row.message}" if row.message else "")
            out.append(Note(reason, message, warning))
    old = {c.type: c for c in before.conditions}
    for condition in after.conditions:
        was_condition = old.get(condition.type)
        fresh = was_condition is None or (was_condition.reason, was_condition.status) != (
            condition.reason,
            condition.status,
        )
        bad = (condition.type, condition.status) in (
            (ConditionType.SOURCE_READY, "False"),
            (ConditionType.DEGRADED, "True"),
        )
        named_already = condition.type is ConditionType.DEGRADED and any(n.warning for n in out)
        named_already |= condition.reason in RETENTION_FAILURES
        if fresh and bad and not named_already:
            out.append(Note(condition.reason, condition.message, warning=True))
        elif fresh and condition.type is ConditionType.SOURCE_READY and condition.status == "True":
            out.append(Note("SourceReady", condition.message))
    return tuple(out)
