"""Which desired servables have failed: each is recorded, and what is desired is computed without it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.conditions import Reason
from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.status import BAD_STATES, VersionState, VersionStatus, timestamp
from slipway_operator.model.observed import Observed
from slipway_operator.model.servable import Servable
from slipway_operator.planning.endpoints import ready_endpoints
from slipway_operator.planning.versions.desired import DesiredVersions, desired_versions
from slipway_operator.planning.versions.diagnosis import Finding, deadline, diagnose, not_created

RUNNING: Final = frozenset(
    {VersionState.AVAILABLE, VersionState.SOURCE_GONE, VersionState.DRAINING}
)
"""States of a version whose pods are there and were all ready once."""
_ABORTED: Final = "the change of the spec was aborted: "
_CHANGED: Final = "the changed spec failed: "


def is_proven(row: VersionStatus | None, key: str) -> bool:
    """Whether pods of this key were all ready once and have run since: they are not judged again."""
    return row is not None and row.available_key == key and row.state in RUNNING


def judge(
    observed: Observed, now: datetime
) -> tuple[Observed, DesiredVersions, Mapping[str, Finding]]:
    """Choose the desired versions, and record failures until none of the chosen has failed.

    Returns:
        The snapshot with each failure written into its row, the desired versions that are left, and
        what was found about the pods of every servable, by its id.
    """
    findings = {
        servable: finding
        for servable in {pod.servable for pod in observed.pods}
        if (finding := diagnose(p for p in observed.pods if p.servable == servable))
    }
    for deployment in observed.deployments:
        if deployment.servable not in findings and (
            finding := not_created(deployment, observed.pods)
        ):
            findings[deployment.servable] = finding
    while True:
        desired = desired_versions(observed)
        failure = next(
            (
                (servable, finding)
                for servable in on_trial(observed, desired)
                if (finding := _failure(observed, servable, findings.get(servable.id), now))
            ),
            None,
        )
        if failure is None:
            return observed, desired, findings
        observed = record_failure(observed, *failure, now)


def deadline_due(observed: Observed, desired: DesiredVersions, now: datetime) -> timedelta | None:
    """Time until the first progress deadline runs out; None while no clock runs."""
    limit = parse_duration(observed.model.spec.transition.progress_deadline)
    moments = [
        moment
        for servable in on_trial(observed, desired)
        if (moment := deadline((p for p in observed.pods if p.servable == servable.id), limit))
    ]
    return max(timedelta(seconds=1), min(moments) - now) if moments else None


def on_trial(observed: Observed, desired: DesiredVersions) -> list[Servable]:
    """Desired servables that may still fail.

    One that was available is not judged again, and the way back from one that failed is not judged
    at all: there would be nothing left to go back to.
    """
    rows = {row.version: row for row in observed.model.status.versions}
    return [
        servable
        for servable in desired.servables
        if not is_proven(rows.get(servable.version), servable.key)
        and desired.candidates[servable.version].wanted == servable
    ]


def _failure(
    observed: Observed, servable: Servable, finding: Finding | None, now: datetime
) -> Finding | None:
    """Why a servable on trial has failed; None while it may still come up."""
    if finding and finding.final:
        return finding
    pods = [pod for pod in observed.pods if pod.servable == servable.id]
    text = observed.model.spec.transition.progress_deadline
    limit = deadline(pods, parse_duration(text))
    if limit is None or now < limit:
        return None
    why = f"; last: {finding.reason}: {finding.message}" if finding else ""
    return Finding(
        VersionState.FAILED,
        Reason.PROGRESS_DEADLINE_EXCEEDED,
        f"no progress for {text} (spec.transition.progressDeadline){why}",
        final=True,
    )


def failed_reason(row: VersionStatus) -> str:
    """Why the inputs with `failedKey` failed; empty where none have, or nobody knows any more."""
    if not row.failed_key or row.failed_reason:
        return row.failed_reason if row.failed_key else ""
    # Another release wrote it: of a changed spec, its message tells.
    if row.reason != Reason.ROLLED_BACK:
        return row.reason if row.state in BAD_STATES else ""
    if row.message.startswith(_ABORTED):
        return Reason.ABORTED
    return (
        row.message.removeprefix(_CHANGED).partition(":")[0]
        if row.message.startswith(_CHANGED)
        else ""
    )


def _changed_spec(finding: Finding) -> str:
    """What is said of a version that goes on with the inputs that it had before."""
    if finding.reason is Reason.ABORTED:
        return f"{_ABORTED}{finding.message}"
    return f"{_CHANGED}{finding.reason}: {finding.message}"


def record_failure(
    observed: Observed, servable: Servable, finding: Finding, now: datetime
) -> Observed:
    """Write a failure into the version's row, as if the status had it already."""
    status = observed.model.status
    row = next((r for r in status.versions if r.version == servable.version), None)
    state = finding.state
    if state not in (VersionState.REJECTED, VersionState.ROLLED_BACK):
        served = any(p.servable == servable.id for p in ready_endpoints(observed))
        state = VersionState.ROLLED_BACK if served else VersionState.FAILED
    failure = {
        "failed_key": servable.key,
        "failed_reason": finding.reason,
        "state": state,
        "reason": finding.reason,
        "message": finding.message,
        "since": timestamp(now),
    }
    fresh = VersionStatus(version=servable.version, key=servable.key, **failure)
    failed = row.model_copy(update=failure) if row else fresh
    if row and row.available_key and row.available_key != servable.key:
        # Other pods of this version go on serving: only the change of its inputs has failed.
        failed = row.model_copy(
            update={
                "failed_key": servable.key,
                "failed_reason": finding.reason,
                "reason": Reason.ROLLED_BACK,
                "message": _changed_spec(finding),
            }
        )
    others = [r for r in status.versions if r.version != servable.version]
    changed = status.model_copy(update={"versions": [failed, *others]})
    return replace(observed, model=replace(observed.model, status=changed))
