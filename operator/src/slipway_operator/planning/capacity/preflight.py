"""What tries a version out before the first old pod goes for it: `spec.transition.preflight`.

Without extra pods, a version that fails costs capacity, or an outage, until the old one is back. So a Job without a
GPU goes first. It is judged like a pod that serves: what would make the version fail there makes it fail here.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from slipway_operator.api.conditions import Reason
from slipway_operator.api.names import preflight_job
from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.status import PreflightStatus, TransitionStatus, VersionState, timestamp
from slipway_operator.model.observed import Observed, Pod, PreflightJob
from slipway_operator.model.servable import Servable
from slipway_operator.planning.versions.desired import DesiredVersions
from slipway_operator.planning.versions.diagnosis import Finding, deadline, diagnose
from slipway_operator.planning.versions.failures import on_trial


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is decided about pre-flights.

    Attributes:
        transition: The transition, with what became of the pre-flight.
        wanted: What is to be tried out now; None when nothing is.
        held: Ids of servables for which no old pod may go yet.
        pod: The pod of the Job under way; None when there is none.
        finding: What keeps the Job from ending.
        due: When it has failed, or is skipped, if nothing happens until then; None while no clock runs.
        given_up: What has failed, with why.
    """

    transition: TransitionStatus | None
    wanted: Servable | None = None
    held: frozenset[str] = frozenset()
    pod: Pod | None = None
    finding: Finding | None = None
    due: datetime | None = None
    given_up: tuple[Servable, Finding] | None = None


def in_preflight(message: str) -> str:
    """What is said of a version that was tried out."""
    return f"in its pre-flight, before any old pod went: {message}"


def preflight_of(
    observed: Observed, desired: DesiredVersions, transition: TransitionStatus | None, now: datetime
) -> Preflight:
    """Decide what is tried out, and what came of it.

    Args:
        observed: The snapshot; its status is the one before this plan.
        desired: What should serve.
        transition: The transition under way, with how it goes on.
        now: The time.
    """
    if transition is None:
        return Preflight(None)
    due = _due(observed, desired, transition)
    if not due:
        return Preflight(transition)
    known = transition.preflight
    ids = frozenset(servable.id for servable in due)
    if known and known.state != "Running" and _is_about_to_begin(observed, desired, known):
        # It was tried out, and its Deployment is created by this plan: the next one waits for that.
        return Preflight(transition, held=ids)
    servable = due[0]
    return _judged(observed, _not_fallen_back(observed, transition), servable, ids, now)


def preflight_due(preflight: Preflight, observed: Observed, now: datetime) -> timedelta | None:
    """Time until a pre-flight has failed, or is skipped; None when no clock runs."""
    if preflight.due is None or observed.model.spec.paused:
        return None
    return max(timedelta(seconds=1), preflight.due - now)


def _due(
    observed: Observed, desired: DesiredVersions, transition: TransitionStatus
) -> list[Servable]:
    """Servables for which old pods would go, and that nothing has tried out."""
    spec = observed.model.spec
    preserves = spec.transition.policy == "ResourcePreserving"
    if observed.preflights is None or not spec.serving.replicas:
        return []
    if not (preserves or transition.fallback) or not _something_to_lose(observed, desired):
        return []
    falls_back = _falls_back(observed, transition)
    created = {found.servable for found in observed.deployments}
    placed = {pod.servable for pod in observed.pods if pod.scheduled_at is not None or pod.ready}
    return [
        servable
        for servable in on_trial(observed, desired)
        if servable.id not in placed
        and (falls_back or servable.id not in created)
        and not _is_done(observed, transition.preflight, servable)
        and not _is_synced(observed, servable)
    ]


def _falls_back(observed: Observed, transition: TransitionStatus) -> bool:
    """Whether it is decided just now that a transition goes on without extra pods."""
    before = observed.model.status.transition
    return bool(transition.fallback) and not (before and before.fallback)


def _not_fallen_back(observed: Observed, transition: TransitionStatus) -> TransitionStatus:
    """The transition as it was: it goes on without extra pods when the pre-flight has passed."""
    before = observed.model.status.transition
    if not _falls_back(observed, transition):
        return transition
    changed: dict[str, Any] = {"fallback": "", "message": ""}
    if before is not None:
        changed["waiting_since"] = before.waiting_since
    return transition.model_copy(update=changed)


def _something_to_lose(observed: Observed, desired: DesiredVersions) -> bool:
    """Whether pods are there, or about to be, that could go for what is desired."""
    failed = {f"v{row.version}-{row.failed_key}" for row in observed.model.status.versions}
    return any(
        found.replicas and found.servable not in desired.ids and found.servable not in failed
        for found in observed.deployments
    )


def _is_done(observed: Observed, known: PreflightStatus | None, servable: Servable) -> bool:
    """Whether it was tried out, or could not be, as the spec asks for now."""
    check = observed.model.spec.transition.preflight
    return (
        known is not None
        and known.state != "Running"
        and (known.version, known.key, known.check) == (servable.version, servable.key, check)
    )


def _is_synced(observed: Observed, servable: Servable) -> bool:
    """Whether pods have synced the same export before, with another spec: nothing is left to verify."""
    if observed.model.spec.transition.preflight != "Verify":
        return False
    rows = (row for row in observed.model.status.versions if row.version == servable.version)
    return any(row.available_key and row.revision == servable.revision for row in rows)


def _is_about_to_begin(
    observed: Observed, desired: DesiredVersions, known: PreflightStatus
) -> bool:
    servable = desired.of(known.version)
    if servable is None or servable.key != known.key:
        return False
    return all(found.servable != servable.id for found in observed.deployments)


def _judged(
    observed: Observed,
    transition: TransitionStatus,
    servable: Servable,
    ids: frozenset[str],
    now: datetime,
) -> Preflight:
    """What came of trying out a servable."""
    check = observed.model.spec.transition.preflight
    known = transition.preflight
    if known is None or (known.key, known.check) != (servable.key, check):
        known = PreflightStatus(
            version=servable.version,
            key=servable.key,
            check=check,
            state="Running",
            since=timestamp(now),
        )
    job = job_of(observed, servable, check)
    refused = observed.preflights.refused if observed.preflights else ""
    if job and job.complete:
        return _ended(transition, known, "Passed", "", ids - {servable.id}, now)
    if refused and not job:
        why = f"no Job can be created: {refused}"
        return _ended(
            transition, known, "Skipped", _skipped(servable, why), ids - {servable.id}, now
        )
    pod = job.pod if job else None
    finding = diagnose([pod]) if pod else None
    if failure := _failure(observed, job, finding, now):
        told = replace(failure, message=in_preflight(failure.message))
        return Preflight(transition, given_up=(servable, told))
    idle = pod is None or bool(pod.unschedulable)
    waits = job is not None and idle and not observed.model.spec.paused
    since = (known.waiting_since or timestamp(now)) if waits else None
    name = preflight_job(observed.model.name, servable.key)
    does = "loads it on a CPU" if check == "Load" else "syncs and verifies it"
    known = known.model_copy(
        update={
            "waiting_since": since,
            "message": f"Job {name} {does} before an old pod goes for it",
        }
    )
    patient = datetime.fromisoformat(since) + _patience(observed) if since else None
    if patient and now >= patient:
        why = (
            finding.message
            if finding
            else f"no pod of Job {name} was created (kubectl describe job {name})"
        )
        return _without_room(observed, transition, known, servable, ids, why, now)
    running = transition.model_copy(update={"preflight": known})
    limit = deadline([pod], _progress_deadline(observed)) if pod else None
    due = min((moment for moment in (patient, limit) if moment), default=None)
    return Preflight(running, servable, ids, pod, finding, due)


def job_of(observed: Observed, servable: Servable, check: str) -> PreflightJob | None:
    """The Job that tries a servable out; None when there is none, or another one has to go first."""
    jobs = observed.preflights.jobs if observed.preflights else ()
    return next(
        (
            job
            for job in jobs
            if (job.servable, job.check) == (servable.id, check) and not job.terminating
        ),
        None,
    )


def _patience(observed: Observed) -> timedelta:
    return parse_duration(observed.model.spec.transition.when_unschedulable.after)


def _progress_deadline(observed: Observed) -> timedelta:
    return parse_duration(observed.model.spec.transition.progress_deadline)


def _failure(
    observed: Observed, job: PreflightJob | None, finding: Finding | None, now: datetime
) -> Finding | None:
    """Why the version fails; None while it may still pass."""
    if job is None:
        return None
    if finding and finding.final:
        return finding
    text = observed.model.spec.transition.progress_deadline
    limit = deadline([job.pod], _progress_deadline(observed)) if job.pod else None
    if not job.failed and (limit is None or now < limit):
        return None
    what = (
        f"Job {job.name}: {job.failed}"
        if job.failed
        else f"no progress for {text} (spec.transition.progressDeadline)"
    )
    why = f"; last: {finding.reason}: {finding.message}" if finding else ""
    return Finding(
        VersionState.FAILED, Reason.PROGRESS_DEADLINE_EXCEEDED, f"{what}{why}", final=True
    )


def _without_room(
    observed: Observed,
    transition: TransitionStatus,
    known: PreflightStatus,
    servable: Servable,
    ids: frozenset[str],
    why: str,
    now: datetime,
) -> Preflight:
    """A Job that finds no room on a CPU holds nothing up for ever."""
    policy = observed.model.spec.transition.when_unschedulable
    waited = f"no room for {policy.after} (spec.transition.whenUnschedulable)"
    if policy.then == "Abort":
        message = in_preflight(f"given up after {waited}: {why}")
        finding = Finding(VersionState.FAILED, Reason.UNSCHEDULABLE_TOO_LONG, message, final=True)
        return Preflight(transition, given_up=(servable, finding))
    message = _skipped(servable, f"{waited}: {why}")
    return _ended(transition, known, "Skipped", message, ids - {servable.id}, now)


def _skipped(servable: Servable, why: str) -> str:
    return (
        f"version {servable.version} goes on without a pre-flight (spec.transition.preflight), so that a failure of it "
        f"would cost capacity: {why}"
    )


def _ended(
    transition: TransitionStatus,
    known: PreflightStatus,
    state: str,
    message: str,
    held: frozenset[str],
    now: datetime,
) -> Preflight:
    changed = {"state": state, "since": timestamp(now), "waiting_since": None, "message": message}
    known = PreflightStatus.model_validate(known.model_dump() | changed)
    return Preflight(transition.model_copy(update={"preflight": known}), held=held)
