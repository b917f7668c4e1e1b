"""Deployments are created, scaled and, once empty, deleted; their templates are never edited."""

from collections import Counter
from collections.abc import Iterator, Mapping

from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.planning.capacity.fleets import fleets
from slipway_operator.planning.capacity.scaling import scale
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.endpoints import live_pods
from slipway_operator.planning.rollout.routed import is_routed
from slipway_operator.planning.rollout.scaling import scale_split
from slipway_operator.planning.workloads.placement import PLACEMENT
from slipway_operator.rendering.sync_credentials import is_identity_known


def deployment_actions(decision: Decision) -> Iterator[Action]:
    """Create what is missing, and give every servable the replicas it may have next."""
    observed = decision.observed
    known = is_identity_known(observed.model, observed.source.identity, decision.settings)
    # Nothing new could be started now, so nothing old may go for it; the status or the next good
    # poll tells why.
    closed = bool(decision.volume.reason or observed.selected_by or not known)
    seen, limits, split = (
        fleets(observed, decision.desired, closed=closed, held=decision.preflight.held),
        decision.limits,
        decision.split,
    )
    decided = scale_split(seen, limits, split) if split else scale(seen, limits)
    decided |= _still_routed(decision, decided)
    workloads = PLACEMENT.workloads(decision, decided)
    present = {found.name: found for found in observed.deployments}
    for workload in workloads:
        if workload.name not in present:
            yield actions.CreateDeployment(PLACEMENT.manifest(decision, workload))
    for workload in workloads:
        found = present.get(workload.name)
        if found and found.replicas != workload.replicas:
            yield actions.ScaleDeployment(found.name, found.uid, workload.replicas)


def _still_routed(decision: Decision, decided: Mapping[str, int]) -> dict[str, int]:
    """Replicas of servables that may go, while a gateway may still send requests to them: their ready pods.

    A pod that cannot answer keeps no request from being lost, and may hold the room that the way back needs.
    Of several pods a ReplicaSet deletes those first that are not ready.
    """
    observed, split = decision.observed, decision.split
    if not decision.limits.replicas:
        return {}
    staying = decision.desired.ids | ({split.canary, split.stable} if split else set())
    ready = Counter(pod.servable for pod in live_pods(observed) if pod.ready)
    held = {}
    for found in observed.deployments:
        able = min(found.replicas, ready[found.servable])
        leaves = found.servable not in staying and decided.get(found.servable, able) < able
        if leaves and is_routed(observed, found.version):
            held[found.servable] = able
    return held


def deletions(decision: Decision) -> Iterator[Action]:
    """Empty Deployments of the past; until the transition has ended they are the way back."""
    observed = decision.observed
    rows = decision.rows_by_version
    for found in observed.deployments:
        if found.servable in decision.desired.ids or found.replicas > 0:
            continue
        if any(pod.servable == found.servable for pod in observed.pods):
            continue
        row = rows.get(found.version)
        failed = row is not None and row.failed_key == found.key
        if decision.settled or failed:
            yield actions.Delete("Deployment", found.name, found.uid)
