"""Executes a plan's actions, one write each, and decides nothing."""

from collections.abc import Mapping
from typing import Any, assert_never

from slipway_operator.api import names
from slipway_operator.api.resource import InvalidModel, ModelResource
from slipway_operator.cluster.client import (
    CHILDREN,
    CLAIMS,
    DEPLOYMENTS,
    JOBS,
    MODELS,
    PODS,
    Client,
    NotFoundError,
    Resource,
)
from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.model.observed import Observed


async def execute(client: Client, observed: Observed, action: Action) -> None:
    """Execute one action.

    Raises:
        ConflictError: The object has changed or was replaced; the next snapshot will tell.
        ClusterError: The write failed.
    """
    namespace = observed.model.namespace
    match action:
        case actions.Apply(manifest):
            known = observed.child(action.kind, action.name)
            await _write(
                client, CHILDREN[action.kind], namespace, manifest, known.uid if known else ""
            )
        case actions.Delete(kind, name, uid):
            await _delete(client, CHILDREN[kind], namespace, name, uid)
        case actions.CreateDeployment(manifest):
            await client.create(DEPLOYMENTS, namespace, manifest)
        case actions.ScaleDeployment(name, uid, replicas):
            patch = {"metadata": {"uid": uid}, "spec": {"replicas": replicas}}
            await client.merge(DEPLOYMENTS, namespace, name, patch)
        case actions.RotatePod(name, uid, rotate):
            value = names.ROTATION_IN if rotate else None
            patch = {"metadata": {"uid": uid, "labels": {names.ROTATION_LABEL: value}}}
            await client.merge(PODS, namespace, name, patch)
        case actions.CreateJob(manifest):
            await client.create(JOBS, namespace, manifest)
        case actions.CreateClaim(manifest):
            await client.create(CLAIMS, namespace, manifest)
        case actions.GrowClaim(name, uid, size):
            requests = {"resources": {"requests": {"storage": str(size)}}}
            patch = {"metadata": {"uid": uid}, "spec": requests}
            await client.merge(CLAIMS, namespace, name, patch)
        case _:
            assert_never(action)


async def _write(
    client: Client, resource: Resource, namespace: str, manifest: Mapping[str, Any], uid: str
) -> None:
    """Create what is absent; apply over what is known to be ours, and only over that very object."""
    if not uid:
        await client.create(resource, namespace, manifest)
        return
    pinned = dict(manifest) | {"metadata": dict(manifest["metadata"]) | {"uid": uid}}
    await client.apply(resource, namespace, pinned)


async def _delete(client: Client, resource: Resource, namespace: str, name: str, uid: str) -> None:
    try:
        await client.delete(resource, namespace, name, uid)
    except NotFoundError:
        return


async def write_status(
    client: Client, model: ModelResource | InvalidModel, status: Mapping[str, Any]
) -> None:
    """Write the status; a field that `status` does not name stays as it is."""
    patch = {"metadata": {"uid": model.uid}, "status": status}
    await client.merge(MODELS, model.namespace, model.name, patch, "status")
