"""`status.versions`: one row for each version that is known."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from slipway_operator.api import names
from slipway_operator.api.conditions import Reason, reason_of
from slipway_operator.api.status import BAD_STATES, VersionState, VersionStatus, timestamp
from slipway_operator.api.verbs import Verb
from slipway_operator.model.observed import ContainerState, Observed, Pod
from slipway_operator.model.servable import Servable
from slipway_operator.model.source import Readiness, SourceVersion
from slipway_operator.planning.capacity.preflight import in_preflight
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.rollout.wording import sentence
from slipway_operator.planning.status.room import is_begun, passes_by_itself, refused
from slipway_operator.planning.traffic.routing import percent
from slipway_operator.planning.versions.desired import Candidate, existing
from slipway_operator.planning.versions.diagnosis import Finding
from slipway_operator.planning.versions.failures import RUNNING, failed_reason, is_proven
from slipway_sync.exports import SyncOutcome

MAX_ROWS: Final = 256
"""As many as the schema of the status allows."""

_COMING: Final = frozenset({VersionState.UNSCHEDULABLE, VersionState.SYNCING, VersionState.LOADING})
_STARTED: Final = RUNNING | {VersionState.RETIRED}


_ROLLED_BACK_MESSAGE: Final = (
    "the current spec failed; it is retried when the spec or the export changes"
)
"""When the failure's own words were overwritten by later trouble."""
_FAILED_BEFORE: Final = (
    "it has failed with this spec and this export before; it is retried when one of them changes, or "
    f"{Verb.RETRY.annotation} asks for it"
)
"""When those words were lost because it was tried with another spec meanwhile."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row without its times."""

    state: VersionState
    reason: Reason | None = None
    message: str = ""


def shares(endpoints: Iterable[Pod]) -> dict[int, int]:
    """Percent of unversioned requests by version, as its ready endpoints give it; sums to 100.

    >>> shares([])
    {}
    """
    return percent(Counter(pod.version for pod in endpoints))


def _size(listed: SourceVersion | None, before: VersionStatus | None) -> int:
    if listed and listed.readiness is not Readiness.UNSEEN:
        return listed.bytes
    return before.bytes if before else 0


def _digest(pods: Iterable[Pod]) -> str:
    for pod in pods:
        if pod.sync.exit_code == 0 and (outcome := SyncOutcome.parse(pod.sync.exit_message)):
            return outcome.digest
    return ""


def row_reason(row: VersionStatus) -> Reason:
    """The reason in a row; its state when it has none, or one that only another release knows."""
    return reason_of(row.reason, reason_of(row.state.value, Reason.FAILED))


def row_message(row: VersionStatus) -> str:
    """What a row says, with its version and reason, for where there is no row."""
    detail = row.message or row.state.value
    return f"version {row.version}: {row.reason + ': ' if row.reason else ''}{detail}"


def _unchanged(row: VersionStatus) -> _Draft:
    return _Draft(row.state, row_reason(row) if row.reason else None, row.message)


def _listed_draft(listed: SourceVersion) -> _Draft:
    match listed.readiness:
        case Readiness.SETTLING:
            return _Draft(
                VersionState.SETTLING,
                None,
                "its file listing must be unchanged for spec.source.settle",
            )
        case Readiness.INCOMPLETE:
            return _Draft(VersionState.SETTLING, Reason.INCOMPLETE, listed.message)
        case Readiness.REJECTED:
            return _Draft(VersionState.REJECTED, listed.reason, listed.message)
        case Readiness.COMPLETE | Readiness.UNSEEN:
            return _Draft(VersionState.DISCOVERED)


def _desired_draft(
    pods: Sequence[Pod],
    finding: Finding | None,
    wanted: int,
    *,
    proven: bool,
    gone: bool,
    waits: _Draft | None,
    passes: bool,
) -> _Draft:
    """Where a desired version stands."""
    live = [pod for pod in pods if not pod.terminating]
    ready = sum(pod.ready for pod in live)
    if ready >= wanted or proven:
        message = ""
        reason = None
        if ready < wanted:
            reason = finding.reason if finding else Reason.REPLICAS_NOT_READY
            message = finding.message if finding else f"{ready} of {wanted} replicas are ready"
        if gone:
            standing = "it serves, but" if ready >= wanted else f"{message}, and"
            return _Draft(
                VersionState.SOURCE_GONE,
                Reason.SOURCE_GONE,
                f"{standing} its export is no longer in the source: a lost pod could not be "
                "replaced; upload it again, or a newer version",
            )
        return _Draft(VersionState.AVAILABLE, reason, message)
    if finding and finding.state is VersionState.UNSCHEDULABLE and passes:
        # It passes by itself: nobody needs to be warned.
        waiting = f"waits for the hardware of pods that shut down: {finding.message}"
        return _Draft(VersionState.SYNCING, None, waiting)
    if finding:
        return _Draft(finding.state, finding.reason, finding.message)
    if waits:
        return waits
    syncing = any(
        pod.sync.state is not ContainerState.TERMINATED and pod.server.exit_code is None
        for pod in live
        if not pod.ready
    )
    if not live or syncing:
        return _Draft(VersionState.SYNCING)
    return _Draft(VersionState.LOADING)


def _changed_message(version: int) -> str:
    return (
        f"the content of this version has changed in the source; the loaded content keeps serving, but "
        f"a lost pod could not be replaced: upload it as a version above {version}, or set "
        f"spec.source.allowMutation"
    )


def version_rows(decision: Decision) -> list[VersionStatus]:
    """Every version that has pods, is in the source, or failed or served before; highest first."""
    running = {deployment.version for deployment in decision.observed.deployments}
    running |= {pod.version for pod in decision.observed.pods}
    versions = set(decision.listed) | running
    if not decision.observed.source.polled or decision.observed.source.error_reason:
        # The listing is not known: what was known stays.
        versions |= set(decision.before)
    weights = shares(decision.endpoints)
    rows = [
        _row(decision, version, weights.get(version, 0))
        for version in sorted(versions, reverse=True)
    ]
    if len(rows) <= MAX_ROWS:
        return rows
    matters = running | {servable.version for servable in decision.desired.servables}
    first = sorted(rows, key=lambda r: (r.version in matters, r.version), reverse=True)
    return sorted(first[:MAX_ROWS], key=lambda row: row.version, reverse=True)


def _row(decision: Decision, version: int, weight: int) -> VersionStatus:
    before = decision.before.get(version)
    pods = [pod for pod in decision.observed.pods if pod.version == version]
    live = [pod for pod in pods if not pod.terminating]
    servable = _held(decision, version)
    listed = decision.listed.get(version)
    draft = _draft(decision, version, servable, pods)
    same = before is not None and before.state == draft.state
    available_key = before.available_key if before else ""
    wanted = decision.observed.model.spec.serving.replicas
    held = (
        decision.split is not None and servable is not None and servable.id == decision.split.canary
    )
    if servable and wanted and not held:
        of_key = [pod for pod in live if pod.servable == servable.id and pod.ready]
        if len(of_key) >= wanted:
            available_key = servable.key
    revision = servable.revision if servable else ""
    if not revision:
        pinned = before is not None and bool(before.available_key)
        revision = before.revision if before and pinned else listed.revision if listed else ""
    return VersionStatus(
        version=version,
        revision=revision,
        digest=_digest(pods) or _digest_before(before, revision),
        key=servable.key if servable else before.key if before else "",
        available_key=available_key,
        failed_key=before.failed_key if before else "",
        failed_reason=failed_reason(before) if before else "",
        bytes=_size(listed, before),
        state=draft.state,
        reason=draft.reason or "",
        message=draft.message,
        weight=weight,
        replicas=len(live),
        ready_replicas=sum(pod.ready for pod in live),
        since=before.since if same and before else timestamp(decision.now),
    )


def _digest_before(before: VersionStatus | None, revision: str) -> str:
    return before.digest if before and before.revision == revision else ""


def _held(decision: Decision, version: int) -> Servable | None:
    """What serves, or is being brought up, of a version."""
    if desired := decision.desired.of(version):
        return desired
    deployments = existing(decision.observed, version)
    if not deployments:
        return None
    first = deployments[0]
    return Servable(version, first.directory, first.revision, first.key)


def _draft(decision: Decision, version: int, held: Servable | None, pods: Sequence[Pod]) -> _Draft:
    before = decision.before.get(version)
    if canary := _canary_draft(decision, version, pods):
        return canary
    if desired := decision.desired.of(version):
        return _serving_draft(decision, desired, pods)
    candidate = decision.desired.candidates.get(version)
    if before and before.failed_key and (draft := _failed_draft(before, candidate)):
        return draft
    if held or pods:
        untouched = before is not None and before.state is VersionState.AVAILABLE
        alone = {pod.version for pod in decision.endpoints} == {version}
        return _Draft(VersionState.AVAILABLE if untouched and alone else VersionState.DRAINING)
    listed = decision.listed.get(version)
    if before and before.state in _STARTED and before.available_key:
        if _rewritten(decision, listed, before):
            return _Draft(
                VersionState.REJECTED, Reason.CONTENT_CHANGED,
                "its content changed after it served; upload it under a new number, or set "
                "spec.source.allowMutation",
            )  # fmt: skip
        return _Draft(VersionState.RETIRED)
    if listed:
        return _listed_draft(listed)
    if before:
        return _unchanged(before)
    return _Draft(VersionState.DISCOVERED)


def _canary_draft(decision: Decision, version: int, pods: Sequence[Pod]) -> _Draft | None:
    """Where the two versions stand that share the requests; None for others, and while pods are missing."""
    split, rollout = decision.split, decision.observed.model.status.rollout
    if split is None or rollout is None:
        return None
    ready = Counter(pod.servable for pod in pods if pod.ready and not pod.terminating)
    if version == rollout.version:
        text = sentence(rollout, decision.observed.model.name)
        has_pods = (
            ready[split.canary] >= split.canary_pods and split.canary not in decision.findings
        )
        return _Draft(VersionState.CANARY, None, text) if text and has_pods else None
    before = decision.before.get(version)
    if version == rollout.stable and before and before.state in RUNNING:
        return _Draft(VersionState.AVAILABLE, None, "")
    return None


def _failed_draft(before: VersionStatus, candidate: Candidate | None) -> _Draft | None:
    """That a version has failed, as long as what it failed with is what would be tried."""
    if candidate is not None and candidate.wanted.key != before.failed_key:
        return None
    if before.state in BAD_STATES:
        return _unchanged(before)
    # The spec was changed, and changed back before the version failed with the change.
    again = candidate is not None and candidate.chosen is None
    return _Draft(VersionState.FAILED, Reason.FAILED, _FAILED_BEFORE) if again else None


def selectors_message(observed: Observed) -> str:
    """Which Services of others would send requests to the pods, and what to do about it."""
    services = ", ".join(sorted(observed.selected_by))
    model = observed.model
    several = len(observed.selected_by) > 1
    return (
        f"the selector{'s' if several else ''} of Service{'s' if several else ''} {services} "
        f"match{'' if several else 'es'} labels of spec.serving.podLabels, so that requests to "
        f"{'them' if several else 'it'} would reach this Model: no new version is started; change podLabels or, "
        f"if this is intended, add {names.MODEL_LABEL}: {model.name} to the selector"
    )


def names_message(observed: Observed) -> str:
    """Which objects of others bear names that the Model needs, and what to do about it."""
    listed = ", ".join(sorted(observed.foreign))
    return (
        f"{listed} exists and is not owned by this Model: delete or rename it, or rename the Model"
    )


def _waits(decision: Decision, desired: Servable, pods: Sequence[Pod]) -> _Draft | None:
    """That pods which are still wanted are not created: of their labels, or for want of their volume or of room."""
    volume = decision.volume
    found = [d for d in decision.observed.deployments if d.servable == desired.id]
    if decision.observed.selected_by and not found:
        sentence = selectors_message(decision.observed)
        return _Draft(VersionState.UNSCHEDULABLE, Reason.POD_LABELS_CONFLICT, sentence)
    name = names.deployment_name(decision.observed.model.name, desired.id)
    if not found and f"Deployment/{name}" in decision.observed.foreign:
        sentence = names_message(decision.observed)
        return _Draft(VersionState.UNSCHEDULABLE, Reason.NAME_CONFLICT, sentence)
    if volume.reason:
        draft = _Draft(VersionState.UNSCHEDULABLE, volume.reason, volume.message)
        return None if found else draft
    if decision.preflight.wanted == desired and not found:
        return _preflight_draft(decision)
    live = [p for p in pods if p.servable == desired.id and not p.terminating]
    full = decision.observed.pods and sum(d.replicas for d in found) <= len(live)
    if volume.exclusive and full:
        return _Draft(VersionState.UNSCHEDULABLE, Reason.CLAIM_EXCLUSIVE, volume.exclusive)
    if desired == decision.desired.primary or is_begun(decision, desired):
        return None
    if stuck := refused(decision):
        message = f"it is started when the pods of version {stuck[0][0].version} have room"
        return _Draft(VersionState.UNSCHEDULABLE, Reason.UNSCHEDULABLE, message)
    before = decision.before.get(desired.version)
    # Pods of an earlier spec may serve it meanwhile.
    return _Draft(before.state if before and pods else VersionState.DISCOVERED)


def _preflight_draft(decision: Decision) -> _Draft:
    """That a version is tried out first; what keeps the Job from it is told as it is of a pod."""
    finding, pod = decision.preflight.finding, decision.preflight.pod
    if finding is not None:
        return _Draft(finding.state, finding.reason, in_preflight(finding.message))
    loads = pod is not None and pod.sync.exit_code == 0
    transition = decision.observed.model.status.transition
    flight = transition.preflight if transition else None
    state = VersionState.LOADING if loads else VersionState.SYNCING
    return _Draft(state, None, flight.message if flight else "")


def _rewritten(decision: Decision, listed: SourceVersion | None, before: VersionStatus) -> bool:
    if listed is None or not listed.revision or decision.observed.model.spec.source.allow_mutation:
        return False
    return listed.revision != before.revision


def _serving_draft(decision: Decision, desired: Servable, pods: Sequence[Pod]) -> _Draft:
    version = desired.version
    before = decision.before.get(version)
    candidate = decision.desired.candidates[version]
    finding = decision.findings.get(desired.id)
    draft = _desired_draft(
        [pod for pod in pods if pod.servable == desired.id],
        finding,
        decision.observed.model.spec.serving.replicas,
        proven=is_proven(before, desired.key),
        gone=candidate.reason == Reason.SOURCE_GONE,
        waits=_waits(decision, desired, pods),
        passes=finding is not None and passes_by_itself(decision, finding),
    )
    if candidate.reason == Reason.CONTENT_CHANGED:
        parts = [_changed_message(version), *([draft.message] if draft.message else [])]
        return _Draft(draft.state, Reason.CONTENT_CHANGED, "; ".join(parts))
    transition = decision.observed.model.status.transition
    if transition and transition.message and draft.state in _COMING:
        parts = [draft.message] if draft.message else []
        return _Draft(draft.state, draft.reason, "; ".join([*parts, transition.message]))
    if draft.reason:
        return draft
    if candidate.reason == Reason.ROLLED_BACK:
        known = before is not None and before.reason == Reason.ROLLED_BACK
        message = before.message if before and known else _ROLLED_BACK_MESSAGE
        return _Draft(draft.state, Reason.ROLLED_BACK, message)
    return draft
