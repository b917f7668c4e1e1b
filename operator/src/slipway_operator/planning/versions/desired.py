"""Which servables should serve: the version policy over what is proven, known and not failed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from slipway_operator.api.conditions import Reason
from slipway_operator.api.spec import VersionPolicy
from slipway_operator.api.status import VersionStatus
from slipway_operator.model.observed import Deployment, Observed
from slipway_operator.model.servable import Servable
from slipway_operator.model.source import Readiness, SourceVersion
from slipway_operator.rendering.inputs import servable


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that could serve.

    Attributes:
        wanted: What the spec and the source ask for.
        chosen: What can be had: `wanted`, or what serves of this version already; None when
            `wanted` has failed and nothing else of this version is there.
        reason: Why the chosen one differs from what the source holds now; None when it does not.
    """

    wanted: Servable
    chosen: Servable | None
    reason: Reason | None = None


@dataclass(frozen=True)
class DesiredVersions:
    """The outcome.

    Attributes:
        servables: Desired, highest version first; the first takes unversioned requests.
        ideal: The version that would take them had nothing failed; None when there is none.
        candidates: What could serve of each version, desired or not, by version.
    """

    servables: tuple[Servable, ...]
    ideal: int | None
    candidates: Mapping[int, Candidate]

    @cached_property
    def ids(self) -> frozenset[str]:
        """Ids of the desired servables."""
        return frozenset(servable.id for servable in self.servables)

    @cached_property
    def _by_version(self) -> Mapping[int, Servable]:
        return {servable.version: servable for servable in self.servables}

    def of(self, version: int) -> Servable | None:
        """The desired servable of a version."""
        return self._by_version.get(version)

    @property
    def primary(self) -> Servable | None:
        """Takes unversioned requests once it is ready."""
        return self.servables[0] if self.servables else None


def select(policy: VersionPolicy, versions: set[int]) -> list[int]:
    """TensorFlow Serving's three policies, highest first.

    >>> select(VersionPolicy(latest=2), {1, 3, 9})
    [9, 3]
    """
    ordered = sorted(versions, reverse=True)
    if policy.specific is not None:
        wanted = set(policy.specific)
        return [number for number in ordered if number in wanted]
    if policy.all:
        return ordered
    return ordered[: policy.latest or 1]


def asked_for(policy: VersionPolicy, desired: DesiredVersions, version: int) -> bool:
    """Whether spec.versions asks for a version, or it serves for want of those that it asks for.

    `latest` asks for the highest ones that can be had: for none below them once there are as many.
    """
    serves = [servable.version for servable in desired.servables]
    if version in serves:
        return True
    if policy.specific is not None:
        return version in policy.specific
    enough = not policy.all and len(serves) >= (policy.latest or 1)
    return not enough or version > min(serves)


def existing(observed: Observed, version: int) -> list[Deployment]:
    """Deployments of a version, the best first: most ready pods, then proven, then the newest."""
    ready = Counter(pod.servable for pod in observed.pods if pod.ready and not pod.terminating)
    proven = {row.available_key for row in observed.model.status.versions if row.version == version}
    return sorted(
        (d for d in observed.deployments if d.version == version),
        key=lambda d: (ready[d.servable], d.key in proven, d.replicas, d.created_at, d.name),
        reverse=True,
    )


def of_deployment(deployment: Deployment) -> Servable:
    """What a Deployment was rendered from."""
    return Servable(deployment.version, deployment.directory, deployment.revision, deployment.key)


def _gone(observed: Observed, listed: SourceVersion | None) -> bool:
    """Whether an export is known to be no longer whole in the source."""
    if not observed.source.polled or observed.source.error_reason:
        return False
    return listed is None or listed.readiness in (Readiness.INCOMPLETE, Readiness.REJECTED)


def _held(
    observed: Observed, version: int, row: VersionStatus | None, reason: Reason | None
) -> Candidate | None:
    """What is there of a version whose export cannot be had now; None when nothing is.

    What never was available and is gone from the source is not waited for: its pods can never sync.
    """
    deployments = existing(observed, version)
    if not reason:
        # The source may still hold it: go on with what the spec asks for, if that was begun.
        deployments.sort(key=lambda d: _as_specified(observed, d), reverse=True)
    if not deployments:
        return None
    held = of_deployment(deployments[0])
    if row is not None and held.key == row.failed_key:
        return Candidate(held, _way_back(observed, row), reason)
    if reason is Reason.SOURCE_GONE:
        available = [d for d in deployments if _was_available(observed, d, row)]
        if not available:
            return None
        held = of_deployment(available[0])
    return Candidate(held, held, reason)


def _was_available(observed: Observed, deployment: Deployment, row: VersionStatus | None) -> bool:
    """Whether all replicas of a Deployment have been ready at once."""
    ready = sum(
        pod.ready and not pod.terminating and pod.servable == deployment.servable
        for pod in observed.pods
    )
    known = row is not None and row.available_key == deployment.key
    return known or ready >= max(1, observed.model.spec.serving.replicas)


def _as_specified(observed: Observed, deployment: Deployment) -> bool:
    held = of_deployment(deployment)
    return servable(observed.model, held.version, held.directory, held.revision) == held


def _candidate(
    observed: Observed,
    version: int,
    listed: SourceVersion | None,
    row: VersionStatus | None,
) -> Candidate | None:
    """What could serve of one version; None when nothing could."""
    model = observed.model
    if listed is None or listed.readiness is not Readiness.COMPLETE:
        gone = _gone(observed, listed)
        return _held(observed, version, row, Reason.SOURCE_GONE if gone else None)
    served_before = row is not None and bool(row.available_key) and bool(row.revision)
    changed = row is not None and served_before and row.revision != listed.revision
    if changed and not model.spec.source.allow_mutation:
        return _held(observed, version, row, Reason.CONTENT_CHANGED)
    wanted = servable(model, version, listed.directory, listed.revision)
    if row is None or wanted.key != row.failed_key:
        return Candidate(wanted, wanted)
    back = _way_back(observed, row)
    return Candidate(wanted, back, Reason.ROLLED_BACK if back else None)


def _way_back(observed: Observed, row: VersionStatus) -> Servable | None:
    """What served of a version before the inputs that failed; None when nothing did."""
    ready = {pod.servable for pod in observed.pods if pod.ready and not pod.terminating}
    for found in existing(observed, row.version):
        served = found.key == row.available_key or found.servable in ready
        if served and found.key != row.failed_key:
            return of_deployment(found)
    return None


def desired_versions(observed: Observed) -> DesiredVersions:
    """Decide which servables should serve.

    A version counts as known when it is proven complete in the source or has a Deployment: an empty
    or failing listing therefore takes nothing away that was available.
    """
    rows = {row.version: row for row in observed.model.status.versions}
    listed = {version.number: version for version in observed.source.versions}
    known = set(listed) | {deployment.version for deployment in observed.deployments}
    candidates = {
        version: candidate
        for version in known
        if (candidate := _candidate(observed, version, listed.get(version), rows.get(version)))
    }
    policy = observed.model.versions
    usable = {version for version, candidate in candidates.items() if candidate.chosen}
    if not usable:
        # T2: a pod that is ready serves, although nothing could be done if it were lost.
        candidates |= _only_ready(observed, known - set(candidates))
        usable = {version for version, candidate in candidates.items() if candidate.chosen}
    ideal = select(policy, set(candidates))
    chosen = select(policy, usable)
    if not chosen:
        # T2: an edit to versions that do not exist (yet) must not take away what serves.
        chosen = _last_resort(observed, usable)
    servables = tuple(
        candidate.chosen for version in chosen if (candidate := candidates[version]).chosen
    )
    return DesiredVersions(servables, ideal[0] if ideal else None, candidates)


def _only_ready(observed: Observed, versions: set[int]) -> dict[int, Candidate]:
    """Versions of which nothing is left but pods that are ready."""
    ready = {pod.servable for pod in observed.pods if pod.ready and not pod.terminating}
    held = {
        version: of_deployment(found)
        for version in versions
        for found in existing(observed, version)[:1]
        if found.servable in ready
    }
    return {version: Candidate(s, s, Reason.SOURCE_GONE) for version, s in held.items()}


def _last_resort(observed: Observed, usable: set[int]) -> list[int]:
    """The best version that is there, when the policy selects nothing that can be had.

    One without a ready pod is good enough: its pods may be about to come back, or were taken away
    for the version that has just failed.
    """
    ready = {pod.version for pod in observed.pods if pod.ready and not pod.terminating}
    proven = {row.version for row in observed.model.status.versions if row.available_key}
    there = usable & {deployment.version for deployment in observed.deployments}
    ranked = sorted(there, key=lambda v: (v in ready, v in proven, v), reverse=True)
    return ranked[:1]
