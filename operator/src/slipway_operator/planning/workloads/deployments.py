"""Deployments are created, scaled and, once empty, deleted; their templates are never edited."""

from collections.abc import Iterator

from slipway_operator.api import names
from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.planning.capacity.fleets import fleets
from slipway_operator.planning.capacity.scaling import scale
from slipway_operator.planning.decision import Decision
from slipway_operator.rendering.deployment import deployment
from slipway_operator.rendering.sync_credentials import is_identity_known


def deployment_actions(decision: Decision) -> Iterator[Action]:
    """Create what is missing, and give every servable the replicas it may have next."""
    observed, desired = decision.observed, decision.desired
    decided = scale(fleets(observed, desired), decision.limits)
    present = {d.servable: d for d in observed.deployments}
    missing = [servable for servable in desired.servables if servable.id not in present]
    identity = observed.source.identity
    known = is_identity_known(observed.model, identity, decision.settings)
    if missing and (decision.volume.reason or not known):
        # Nothing new could be started now, so nothing old may go for it; the status or the next
        # good poll tells why. Who asks for no pods gets none.
        if decision.limits.replicas:
            return
        missing = []
    for servable in missing:
        name = names.deployment_name(observed.model.name, servable.id)
        if f"Deployment/{name}" not in observed.foreign:
            manifest = deployment(
                observed.model,
                servable,
                decided[servable.id],
                decision.settings,
                identity,
                decision.volume.sharing,
            )
            yield actions.CreateDeployment(manifest)
    for servable_id, replicas in decided.items():
        found = present.get(servable_id)
        if found and found.replicas != replicas:
            yield actions.ScaleDeployment(found.name, found.uid, replicas)


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
