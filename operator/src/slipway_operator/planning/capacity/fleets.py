"""Every servable as scaling sees it, from the snapshot."""

from slipway_operator.api import names
from slipway_operator.api.conditions import Reason
from slipway_operator.api.status import VersionState, VersionStatus
from slipway_operator.model.observed import Observed
from slipway_operator.planning.capacity.scaling import Fleet
from slipway_operator.planning.endpoints import (
    ready_endpoints,
    selected_pods,
    selected_servables,
)
from slipway_operator.planning.versions.desired import DesiredVersions
from slipway_operator.rendering.pvc import claim_name


def _served(row: VersionStatus) -> bool:
    """Whether a version that was rolled back took requests before: one that was aborted may not have."""
    aborted = row.reason == Reason.ABORTED
    return row.state is VersionState.ROLLED_BACK and (not aborted or bool(row.available_key))


def fleets(
    observed: Observed,
    desired: DesiredVersions,
    *,
    closed: bool = False,
    held: frozenset[str] = frozenset(),
) -> list[Fleet]:
    """Every servable that has, or is to have, pods; desired ones highest version first.

    Args:
        observed: The snapshot.
        desired: What should serve.
        closed: No Deployment may be created now.
        held: Ids of servables of which none may be created: they have yet to pass their pre-flight.
    """
    rows = {row.version: row for row in observed.model.status.versions}
    deployments = {d.servable: d for d in observed.deployments}
    endpoints = {pod.uid for pod in ready_endpoints(observed)}
    matched = {pod.uid for pod in selected_pods(observed)}
    selected = selected_servables(observed)
    versions = {servable.id: servable.version for servable in desired.servables}
    versions |= {pod.servable: pod.version for pod in observed.pods}
    versions |= {d.servable: d.version for d in observed.deployments}
    others = sorted(set(versions) - desired.ids)
    found = []
    for servable in [*(s.id for s in desired.servables), *others]:
        pods = [pod for pod in observed.pods if pod.servable == servable]
        live = [pod for pod in pods if not pod.terminating]
        deployment = deployments.get(servable)
        row = rows.get(versions[servable])
        replicas = deployment.replicas if deployment else 0
        placed = sum(pod.ready or pod.scheduled_at is not None for pod in live)
        name = names.deployment_name(observed.model.name, servable)
        failed = row and deployment and row.failed_key == deployment.key
        # T2: one that did serve may do so again, and nothing else will.
        last = not desired.servables and row and _served(row)
        found.append(
            Fleet(
                id=servable,
                version=versions[servable],
                desired=servable in desired.ids,
                exists=deployment is not None,
                replicas=replicas,
                live=len(live),
                ready=sum(pod.ready for pod in live),
                endpoints=sum(pod.uid in endpoints for pod in live),
                matched=sum(pod.uid in matched for pod in live),
                terminating=len(pods) - len(live),
                selected=servable in selected,
                failed=bool(failed and not last),
                mounts=deployment is None or claim_name(observed.model) in deployment.claims,
                unplaced=max(0, max(replicas, len(live)) - placed),
                barred=deployment is None
                and (closed or servable in held or f"Deployment/{name}" in observed.foreign),
                proven=bool(row and deployment and row.available_key == deployment.key),
            )
        )
    return found
