"""Reads everything about one Model into a snapshot, and decides nothing.

The reads are plain lists at decision time, not a cache: a stale view after a restart, a missed event
or a relist cannot make the operator act on what is no longer so. Watches only wake it up.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from slipway_operator.api import names
from slipway_operator.api.conditions import ConditionType
from slipway_operator.api.resource import ModelResource
from slipway_operator.cluster import reading
from slipway_operator.cluster.client import (
    BUDGETS,
    CHILDREN,
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    JOBS,
    PODS,
    ROUTES,
    SERVICES,
    Client,
    ForbiddenError,
    NotFoundError,
)
from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.model.observed import Child, Observed, Preflights
from slipway_operator.model.pvc import Claim
from slipway_operator.model.source import SourceObservation
from slipway_operator.rendering.pvc import cache_claim, claim_manifest, claim_name


async def observe(client: Client, model: ModelResource, source: SourceObservation) -> Observed:
    """One snapshot.

    Deployments are read before pods: a pod that comes between the two reads is then counted, and a
    transition that must not hold more pods than replicas errs on the side of fewer.

    Raises:
        ClusterError: A read failed; nothing can be decided then.
    """
    labels = {names.MODEL_LABEL: model.name, names.MANAGED_BY_LABEL: names.MANAGED_BY}
    deployments = await client.list(DEPLOYMENTS, model.namespace, labels)
    pods, services, budgets, slices = await asyncio.gather(
        client.list(PODS, model.namespace, labels),
        client.list(SERVICES, model.namespace, labels),
        client.list(BUDGETS, model.namespace, labels),
        client.list(ENDPOINT_SLICES, model.namespace, {names.MODEL_LABEL: model.name}),
    )
    claim, keep, others = await asyncio.gather(
        _claim(client, model), _keep(client, model), _other_services(client, model)
    )
    routes, forbidden = await _routes(client, model, labels)
    listed = {
        "Deployment": deployments,
        "Service": services,
        "PodDisruptionBudget": budgets,
        "ConfigMap": [keep] if keep else [],
        **routes,
    }
    foreign = {
        f"{kind}/{item['metadata']['name']}"
        for kind, items in listed.items()
        for item in items
        if not reading.owned_by(item, model.uid)
    }
    if claim_manifest(model) and claim and not claim.owned:
        foreign.add(f"PersistentVolumeClaim/{names.cache(model.name)}")
    children = {kind: _children(items, model) for kind, items in listed.items()}
    ours = children["Service"]
    return Observed(
        model=model,
        source=source,
        deployments=tuple(
            deployment
            for item in deployments
            if reading.owned_by(item, model.uid) and (deployment := reading.deployment(item))
        ),
        pods=tuple(pod for item in pods if (pod := reading.pod(item))),
        children=children,
        endpoints=reading.ready_endpoints(
            slices,
            ours,
            {names.next_service(model.name), names.spare_next_service(model.name)},
        ),
        caught_up=reading.caught_up(slices, ours),
        claim=claim,
        foreign=frozenset(foreign),
        selected_by=reading.selected_by(others, model.spec.serving.pod_labels),
        unserved=_with_routes(model) - frozenset(routes) - forbidden,
        forbidden_routes=forbidden,
        preflights=await _preflights(client, model),
    )


async def _preflights(client: Client, model: ModelResource) -> Preflights | None:
    """The pre-flight Jobs: they cost no request where the Model never has any."""
    policy = model.spec.transition
    preserves = "ResourcePreserving" in (policy.policy, policy.when_unschedulable.then)
    if not preserves and model.status.transition is None:
        return None
    labels = {names.PREFLIGHT_LABEL: model.name, names.MANAGED_BY_LABEL: names.MANAGED_BY}
    try:
        jobs = await client.list(JOBS, model.namespace, labels)
    except ForbiddenError as error:
        return Preflights(refused=f"{error}; update the operator's role with the chart")
    jobs = [job for job in jobs if reading.owned_by(job, model.uid)]
    pods = await client.list(PODS, model.namespace, labels) if jobs else []
    return Preflights(tuple(found for job in jobs if (found := reading.preflight(job, pods))))


async def _routes(
    client: Client, model: ModelResource, labels: dict[str, str]
) -> tuple[dict[str, list[dict[str, Any]]], frozenset[str]]:
    """The routes by kind, without kinds that the API server does not know, and the kinds that RBAC hides."""
    found = {}
    forbidden = set()
    for kind in sorted(_with_routes(model)):
        try:
            found[kind] = await client.list(ROUTES[kind], model.namespace, labels)
        except NotFoundError:
            continue
        except ForbiddenError:
            forbidden.add(kind)
    return found, frozenset(forbidden)


def _with_routes(model: ModelResource) -> frozenset[str]:
    """Kinds of routes that the Model may have: none cost a request where none were ever asked for."""
    had = any(c.type is ConditionType.ROUTES_ACCEPTED for c in model.status.conditions)
    return frozenset(ROUTES if model.spec.gateway or had else ())


async def find_claim(client: Client, model: ModelResource) -> Claim | None:
    """The claim that the Model's pods mount; None when it does not exist.

    Raises:
        ClusterError: It cannot be read.
    """
    try:
        found = await client.get(CLAIMS, model.namespace, claim_name(model))
    except NotFoundError:
        return None
    return reading.claim(found, model.uid)


async def _claim(client: Client, model: ModelResource) -> Claim | None:
    return await find_claim(client, model) if claim_name(model) else None


async def _other_services(client: Client, model: ModelResource) -> list[dict[str, Any]]:
    """Services that could select the pods by labels which are not ours: none without such labels."""
    if not model.spec.serving.pod_labels:
        return []
    return await client.list(
        SERVICES, model.namespace, without={names.MANAGED_BY_LABEL: names.MANAGED_BY}
    )


async def _keep(client: Client, model: ModelResource) -> dict[str, Any] | None:
    if not cache_claim(model):
        return None
    try:
        return await client.get(CONFIG_MAPS, model.namespace, names.cache(model.name))
    except NotFoundError:
        return None


def _children(items: Iterable[dict[str, Any]], model: ModelResource) -> dict[str, Child]:
    """The Model's own objects by name, without the Deployments that serve."""
    return {
        item["metadata"]["name"]: reading.child(item)
        for item in items
        if reading.owned_by(item, model.uid) and not _serves(item)
    }


def _serves(item: dict[str, Any]) -> bool:
    return names.SERVABLE_LABEL in (item["metadata"].get("labels") or {})


def _creations(observed: Observed, planned: Iterable[Action]) -> Iterator[tuple[str, str]]:
    """Kind and name of everything that a plan takes to be absent."""
    for action in planned:
        match action:
            case actions.CreateDeployment(manifest):
                yield "Deployment", manifest["metadata"]["name"]
            case actions.Apply() if observed.child(action.kind, action.name) is None:
                yield action.kind, action.name
            case _:
                continue


async def look_again(client: Client, observed: Observed, planned: Iterable[Action]) -> Observed:
    """Add what stands, without our labels, where a plan is about to create something.

    Returns:
        The same snapshot when nothing does.
    """
    foreign = set(observed.foreign)
    children = {kind: dict(found) for kind, found in observed.children.items()}
    for kind, name in _creations(observed, planned):
        try:
            item = await client.get(CHILDREN[kind], observed.model.namespace, name)
        except NotFoundError:
            continue
        except ForbiddenError:
            if kind not in ROUTES:
                raise
            continue  # What comes of writing it is told.
        if not reading.owned_by(item, observed.model.uid):
            foreign.add(f"{kind}/{name}")
        elif not _serves(item):
            children.setdefault(kind, {})[name] = reading.child(item)
    if foreign == observed.foreign and children == observed.children:
        return observed
    return replace(observed, foreign=frozenset(foreign), children=children)
