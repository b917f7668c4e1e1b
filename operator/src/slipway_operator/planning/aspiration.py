"""Which servables should serve: the version policy over what is proven, known and not failed."""

from collections.abc import Mapping
from dataclasses import dataclass

from slipway_operator.api.conditions import Reason
from slipway_operator.api.spec import VersionPolicy
from slipway_operator.api.status import VersionStatus
from slipway_operator.model.observed import Deployment, Observed
from slipway_operator.model.source import Readiness, SourceVersion
from slipway_operator.rendering.inputs import Servable, servable


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that could serve.

    Attributes:
        wanted: What the spec and the source ask for.
        chosen: What can be had: `wanted`, or what serves of this version already; None when
            `wanted` has failed and nothing else of this version is there.
        reason: Why the chosen one differs from what the source holds now; empty otherwise.
    """

    wanted: Servable
    chosen: Servable | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Aspiration:
    """The outcome.

    Attributes:
        servables: Aspired, highest version first; the first takes unversioned requests.
        ideal: The version that would take them had nothing failed; None when there is none.
        candidates: By version.
    """

    servables: tuple[Servable, ...]
    ideal: int | None
    candidates: Mapping[int, Candidate]

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


def existing(observed: Observed, version: int) -> list[Deployment]:
    """Deployments of a version: the one with the most ready pods first, then the newest."""
    ready = {pod.servable: 0 for pod in observed.pods}
    for pod in observed.pods:
        ready[pod.servable] += pod.ready and not pod.terminating
    return sorted(
        (d for d in observed.deployments if d.version == version),
        key=lambda d: (ready.get(d.servable, 0), d.replicas, d.created_at, d.name),
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


def _candidate(
    observed: Observed,
    version: int,
    listed: SourceVersion | None,
    row: VersionStatus | None,
) -> Candidate | None:
    """What could serve of one version; None when nothing could."""
    model = observed.model
    failed_key = row.failed_key if row else ""
    deployments = existing(observed, version)
    complete = listed is not None and listed.readiness is Readiness.COMPLETE
    if not complete:
        if not deployments:
            return None
        # Its export is gone or no longer whole: keep exactly what is there, nothing could be synced.
        held = of_deployment(deployments[0])
        reason = Reason.SOURCE_GONE if _gone(observed, listed) else ""
        return Candidate(held, None if held.key == failed_key else held, reason)
    assert listed is not None  # noqa: S101 (for the type checker; complete says so)
    served_before = row is not None and bool(row.available_key) and bool(row.revision)
    changed = row is not None and served_before and row.revision != listed.revision
    if changed and not model.spec.source.allow_mutation:
        if not deployments:
            return None
        held = of_deployment(deployments[0])
        return Candidate(held, None if held.key == failed_key else held, Reason.CONTENT_CHANGED)
    wanted = servable(model, version, listed.directory, listed.revision)
    if wanted.key != failed_key:
        return Candidate(wanted, wanted)
    others = [of_deployment(d) for d in deployments if d.key != failed_key]
    return Candidate(wanted, others[0] if others else None, Reason.ROLLED_BACK if others else "")


def aspire(observed: Observed) -> Aspiration:
    """Decide which servables should serve.

    A version counts as known when it is proven complete in the source or has a Deployment: an empty
    or failing listing therefore takes nothing away.
    """
    rows = {row.version: row for row in observed.model.status.versions}
    listed = {version.number: version for version in observed.source.versions}
    known = set(listed) | {deployment.version for deployment in observed.deployments}
    candidates = {
        version: candidate
        for version in known
        if (candidate := _candidate(observed, version, listed.get(version), rows.get(version)))
    }
    policy = observed.model.spec.versions
    ideal = select(policy, set(candidates))
    usable = {version for version, candidate in candidates.items() if candidate.chosen}
    chosen = select(policy, usable)
    if not chosen:
        # T2: an edit to versions that do not exist (yet) must not take away what serves.
        chosen = _last_resort(observed, usable)
    servables = tuple(
        candidate.chosen for version in chosen if (candidate := candidates[version]).chosen
    )
    return Aspiration(servables, ideal[0] if ideal else None, candidates)


def _last_resort(observed: Observed, usable: set[int]) -> list[int]:
    """The highest version with a ready pod, when the policy selects nothing that exists."""
    ready = {pod.version for pod in observed.pods if pod.ready and not pod.terminating}
    return sorted(ready & usable, reverse=True)[:1]
