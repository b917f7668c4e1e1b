"""What is decided about one snapshot before any action follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from slipway_operator.api.status import VersionStatus
from slipway_operator.model.observed import Observed, Pod
from slipway_operator.model.pvc import Volume
from slipway_operator.model.servable import Servable
from slipway_operator.model.source import SourceVersion
from slipway_operator.planning import endpoints
from slipway_operator.planning.capacity.preflight import Preflight, preflight_of
from slipway_operator.planning.capacity.scaling import Limits, limits_of
from slipway_operator.planning.capacity.transition import transition_under_way
from slipway_operator.planning.capacity.unschedulable import without_room
from slipway_operator.planning.rollout.analysis import condemn
from slipway_operator.planning.rollout.split import Split, share_of
from slipway_operator.planning.rollout.steps import rollout_under_way, split_of
from slipway_operator.planning.versions.desired import DesiredVersions, asked_for
from slipway_operator.planning.versions.diagnosis import Finding
from slipway_operator.planning.versions.failures import judge, record_failure
from slipway_operator.planning.versions.verbs import honour
from slipway_operator.planning.volumes.pvc import volume_of
from slipway_operator.rendering.settings import RenderSettings


@dataclass(frozen=True)
class Decision:
    """Everything that actions and status are made from.

    Attributes:
        observed: The snapshot, with every failure that was found, and the transition that is under
            way, written into its status, and the rollout.
        findings: What keeps pods from serving, by the servable's id.
        split: How two versions share the requests while a step of a rollout lasts; None when none does.
        preflight: What is tried out before an old pod goes for it.
        volume: What the claim that the pods mount lets them do.
        selects: What NAME selects now.
        endpoints: Pods that take unversioned requests now.
        before: The status's rows by version, new failures included.
        listed: What the source holds, by version.
        rows: The new rows, highest version first; they are computed from the rest.
    """

    observed: Observed
    desired: DesiredVersions
    findings: Mapping[str, Finding]
    limits: Limits
    split: Split | None
    preflight: Preflight
    volume: Volume
    settings: RenderSettings
    now: datetime
    selects: str
    endpoints: tuple[Pod, ...]
    before: Mapping[int, VersionStatus]
    listed: Mapping[int, SourceVersion]
    rows: tuple[VersionStatus, ...] = ()

    @cached_property
    def rows_by_version(self) -> dict[int, VersionStatus]:
        """The new rows by version."""
        return {row.version: row for row in self.rows}

    def asks_for(self, version: int) -> bool:
        """Whether spec.versions asks for a version, or it serves for want of those."""
        return asked_for(self.observed.model.versions, self.desired, version)

    @property
    def replacing(self) -> bool:
        """Whether there is something that the desired servables replace."""
        return any(found.servable not in self.desired.ids for found in self.observed.deployments)

    @property
    def newest_listed(self) -> SourceVersion | None:
        """The highest version in the source."""
        return self.listed[max(self.listed)] if self.listed else None

    @property
    def settled(self) -> bool:
        """Whether the primary has arrived, has the traffic, and no pod of another servable is left."""
        observed, primary = self.observed, self.desired.primary
        if primary is None:
            return not observed.pods
        row = self.rows_by_version.get(primary.version)
        arrived = row is not None and row.available_key == primary.key
        alone = all(pod.servable in self.desired.ids for pod in observed.pods)
        return (arrived or not self.limits.replicas) and self.selects == primary.id and alone


def decide(observed: Observed, settings: RenderSettings, now: datetime) -> Decision:
    """Decide which servables should serve, what has failed, and how many pods there may be."""
    judged = condemn(honour(_with_report(observed), now), now)
    given_up: tuple[Servable, Finding] | None
    while True:
        judged, desired, findings = judge(judged, now)
        transition = transition_under_way(judged, desired, now)
        transition, given_up = without_room(
            judged, desired, findings, transition, share_of(judged, desired), now
        )
        preflight = preflight_of(judged, desired, transition, now)
        transition, given_up = preflight.transition, given_up or preflight.given_up
        if given_up is None:
            break
        judged = record_failure(judged, *given_up, now)
    judged = _with_status(judged, transition=transition)
    volume = volume_of(judged)
    limits = limits_of(judged.model.spec, volume.most, transition)
    rollout = rollout_under_way(judged, desired, limits, transition, now)
    judged = _with_status(judged, rollout=rollout)
    return Decision(
        observed=judged,
        desired=desired,
        findings=findings,
        limits=limits,
        split=split_of(rollout, limits),
        preflight=preflight,
        volume=volume,
        settings=settings,
        now=now,
        selects=endpoints.selects_now(judged, judged.model.name),
        endpoints=tuple(endpoints.ready_endpoints(judged)),
        before={row.version: row for row in judged.model.status.versions},
        listed={version.number: version for version in judged.source.versions},
    )


def _with_report(observed: Observed) -> Observed:
    """The snapshot with what retention has to say, as if the status had it already."""
    if observed.retention is None:
        return observed
    return _with_status(observed, retention=observed.retention.status)


def _with_status(observed: Observed, **fields: Any) -> Observed:
    changed = observed.model.status.model_copy(update=fields)
    return replace(observed, model=replace(observed.model, status=changed))
