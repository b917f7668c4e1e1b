"""`status.versions`: one row for each version that is known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from slipway_operator.api.conditions import Reason
from slipway_operator.api.status import VersionState, VersionStatus
from slipway_operator.model.observed import ContainerState, Observed, Pod
from slipway_operator.model.pvc import NO_VOLUME, Volume
from slipway_operator.model.source import Readiness, SourceVersion
from slipway_operator.planning.versions.desired import Aspiration, existing
from slipway_operator.planning.versions.diagnosis import Finding
from slipway_operator.rendering.inputs import Servable
from slipway_sync.exports import SyncOutcome

MAX_ROWS: Final = 256
"""As many as the schema of the status allows."""

_RUNNING: Final = frozenset(
    {VersionState.AVAILABLE, VersionState.SOURCE_GONE, VersionState.DRAINING}
)
_STARTED: Final = _RUNNING | {VersionState.RETIRED}
_FAILED: Final = frozenset({VersionState.FAILED, VersionState.REJECTED, VersionState.ROLLED_BACK})


_ROLLED_BACK_MESSAGE: Final = (
    "the current spec failed; it is retried when the spec or the export changes"
)
"""When the failure's own words were overwritten by later trouble."""


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row without its times."""

    state: VersionState
    reason: str = ""
    message: str = ""


def is_proven(row: VersionStatus | None, key: str) -> bool:
    """Whether pods of this key were all ready once and have run since: they are not judged again."""
    return row is not None and row.available_key == key and row.state in _RUNNING


def shares(rotating: Sequence[Pod]) -> dict[int, int]:
    """Percent of unversioned requests by version, as pods in rotation give it; sums to 100.

    >>> shares([])
    {}
    """
    total = len(rotating)
    counts: dict[int, int] = {}
    for pod in rotating:
        counts[pod.version] = counts.get(pod.version, 0) + 1
    percent = {version: count * 100 // total for version, count in counts.items()}
    for version in sorted(counts, key=lambda v: (-(counts[v] * 100 % total), v)):
        if sum(percent.values()) == 100:  # noqa: PLR2004
            break
        percent[version] += 1
    return percent


def _size(listed: SourceVersion | None, before: VersionStatus | None) -> int:
    if listed and listed.readiness is not Readiness.UNSEEN:
        return listed.bytes
    return before.bytes if before else 0


def _digest(pods: Iterable[Pod]) -> str:
    for pod in pods:
        if pod.sync.exit_code == 0 and (outcome := SyncOutcome.parse(pod.sync.exit_message)):
            return outcome.digest
    return ""


def _listed_draft(listed: SourceVersion) -> _Draft:
    match listed.readiness:
        case Readiness.SETTLING:
            return _Draft(
                VersionState.SETTLING,
                "",
                "its file listing must be unchanged for spec.source.settle",
            )
        case Readiness.INCOMPLETE:
            return _Draft(VersionState.SETTLING, Reason.INCOMPLETE, listed.message)
        case Readiness.REJECTED:
            return _Draft(VersionState.REJECTED, listed.reason, listed.message)
        case Readiness.COMPLETE | Readiness.UNSEEN:
            return _Draft(VersionState.DISCOVERED)


def _aspired_draft(
    pods: Sequence[Pod],
    finding: Finding | None,
    wanted: int,
    *,
    proven: bool,
    gone: bool,
    waits: _Draft | None,
) -> _Draft:
    """Where an aspired version stands."""
    live = [pod for pod in pods if not pod.terminating]
    ready = sum(pod.ready for pod in live)
    if ready >= wanted or proven:
        message = ""
        reason = ""
        if ready < wanted:
            reason = finding.reason if finding else Reason.REPLICAS_NOT_READY
            message = finding.message if finding else f"{ready} of {wanted} replicas are ready"
        if gone:
            return _Draft(
                VersionState.SOURCE_GONE,
                Reason.SOURCE_GONE,
                "it serves, but its export is no longer in the source: a lost pod could not be "
                "replaced; upload it again, or a newer version",
            )
        return _Draft(VersionState.AVAILABLE, reason, message)
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


class Rows:
    """Computes the rows of one snapshot."""

    def __init__(
        self,
        observed: Observed,
        aspiration: Aspiration,
        findings: dict[str, Finding],
        rotating: Sequence[Pod],
        now: datetime,
        volume: Volume = NO_VOLUME,
    ) -> None:
        self._observed = observed
        self._aspiration = aspiration
        self._findings = findings
        self._rotating = rotating
        self._shares = shares(rotating)
        self._now = now
        self._volume = volume
        self._before = {row.version: row for row in observed.model.status.versions}
        self._listed = {version.number: version for version in observed.source.versions}
        self._aspired = {servable.version: servable for servable in aspiration.servables}

    def all(self) -> list[VersionStatus]:
        """Every version that has pods, is in the source, or failed or served before; highest first."""
        running = {deployment.version for deployment in self._observed.deployments}
        running |= {pod.version for pod in self._observed.pods}
        versions = set(self._listed) | running
        if not self._observed.source.polled or self._observed.source.error_reason:
            # The listing is not known: what was known stays.
            versions |= set(self._before)
        rows = [self._row(version) for version in sorted(versions, reverse=True)]
        if len(rows) <= MAX_ROWS:
            return rows
        matters = running | set(self._aspired)
        first = sorted(rows, key=lambda r: (r.version in matters, r.version), reverse=True)
        return sorted(first[:MAX_ROWS], key=lambda row: row.version, reverse=True)

    def _row(self, version: int) -> VersionStatus:
        before = self._before.get(version)
        pods = [pod for pod in self._observed.pods if pod.version == version]
        live = [pod for pod in pods if not pod.terminating]
        servable = self._held(version)
        listed = self._listed.get(version)
        draft = self._draft(version, servable, pods)
        same = before is not None and before.state == draft.state
        available_key = before.available_key if before else ""
        wanted = self._observed.model.spec.serving.replicas
        if servable and wanted:
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
            digest=_digest(pods) or self._digest_before(before, revision),
            key=servable.key if servable else before.key if before else "",
            available_key=available_key,
            failed_key=before.failed_key if before else "",
            bytes=_size(listed, before),
            state=draft.state,
            reason=draft.reason,
            message=draft.message,
            weight=self._shares.get(version, 0),
            replicas=len(live),
            ready_replicas=sum(pod.ready for pod in live),
            since=before.since if same and before else timestamp(self._now),
        )

    @staticmethod
    def _digest_before(before: VersionStatus | None, revision: str) -> str:
        return before.digest if before and before.revision == revision else ""

    def _held(self, version: int) -> Servable | None:
        """What serves, or is being brought up, of a version."""
        if aspired := self._aspired.get(version):
            return aspired
        deployments = existing(self._observed, version)
        if not deployments:
            return None
        first = deployments[0]
        return Servable(version, first.directory, first.revision, first.key)

    def _draft(self, version: int, held: Servable | None, pods: Sequence[Pod]) -> _Draft:
        before = self._before.get(version)
        if aspired := self._aspired.get(version):
            return self._serving_draft(aspired, pods)
        candidate = self._aspiration.candidates.get(version)
        if before and before.failed_key and before.state in _FAILED:
            still = candidate is None or candidate.wanted.key == before.failed_key
            if still:
                return _Draft(before.state, before.reason, before.message)
        if held or pods:
            return _Draft(VersionState.DRAINING)
        listed = self._listed.get(version)
        if before and before.state in _STARTED and before.available_key:
            if self._rewritten(listed, before):
                return _Draft(
                    VersionState.REJECTED, Reason.CONTENT_CHANGED,
                    "its content changed after it served; upload it under a new number, or set "
                    "spec.source.allowMutation",
                )  # fmt: skip
            return _Draft(VersionState.RETIRED)
        if listed:
            return _listed_draft(listed)
        if before:
            return _Draft(before.state, before.reason, before.message)
        return _Draft(VersionState.DISCOVERED)

    def _waits(self, aspired: Servable, pods: Sequence[Pod]) -> _Draft | None:
        """That pods which are still wanted are not created: they could not have their volume."""
        volume = self._volume
        found = [d for d in self._observed.deployments if d.servable == aspired.id]
        if volume.reason:
            draft = _Draft(VersionState.UNSCHEDULABLE, volume.reason, volume.message)
            return None if found else draft
        live = [p for p in pods if p.servable == aspired.id and not p.terminating]
        full = self._observed.pods and sum(d.replicas for d in found) <= len(live)
        if not volume.exclusive or not full:
            return None
        return _Draft(VersionState.UNSCHEDULABLE, Reason.CLAIM_EXCLUSIVE, volume.exclusive)

    def _rewritten(self, listed: SourceVersion | None, before: VersionStatus) -> bool:
        if listed is None or not listed.revision or self._observed.model.spec.source.allow_mutation:
            return False
        return listed.revision != before.revision

    def _serving_draft(self, aspired: Servable, pods: Sequence[Pod]) -> _Draft:
        version = aspired.version
        before = self._before.get(version)
        candidate = self._aspiration.candidates[version]
        draft = _aspired_draft(
            [pod for pod in pods if pod.servable == aspired.id],
            self._findings.get(aspired.id),
            self._observed.model.spec.serving.replicas,
            proven=is_proven(before, aspired.key),
            gone=candidate.reason == Reason.SOURCE_GONE,
            waits=self._waits(aspired, pods),
        )
        if draft.reason:
            return draft
        if candidate.reason == Reason.CONTENT_CHANGED:
            return _Draft(draft.state, Reason.CONTENT_CHANGED, _changed_message(version))
        if candidate.reason == Reason.ROLLED_BACK:
            known = before is not None and before.reason == Reason.ROLLED_BACK
            message = before.message if before and known else _ROLLED_BACK_MESSAGE
            return _Draft(draft.state, Reason.ROLLED_BACK, message)
        return draft
