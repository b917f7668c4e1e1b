"""The routes of a gateway: to NAME, or to the Services of two versions by the weight of a step.

NAME always leads to pods that can serve, so it is what the routes point to, but while a step of a rollout
gives two versions their weights: then they point to the Services of these. On the way back from there
they do not return to NAME before it has parted with a canary that was found worse.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import chain
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.names import SELECTS_ROTATION
from slipway_operator.model.actions import Action
from slipway_operator.model.routes import RefusedRoute
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.drift import apply_child, delete_child, is_as_wanted
from slipway_operator.planning.rollout.routed import (
    answers,
    asked_kinds,
    is_exact,
    routes,
    wanted_kinds,
    weights_in,
    weights_of,
)
from slipway_operator.planning.rollout.steps import share_by_now
from slipway_operator.planning.traffic.routing import route
from slipway_operator.rendering.traffic import routes as manifests

_UNANSWERED: Final = timedelta(seconds=10)
"""Routes are watched only where their kinds were known when the operator started; a Gateway never is."""


def route_actions(decision: Decision) -> Iterator[Action]:
    """Create or correct the routes, or delete them where none are asked for any more.

    What was refused is not asked for again at once; another manifest is.
    """
    waiting = [refused.action for refused in refused_routes(decision) if not refused.retry]
    yield from (action for action in _wanted(decision) if action not in waiting)


def refused_routes(decision: Decision) -> list[RefusedRoute]:
    """What was refused of the routes, and is still to be done."""
    refused = decision.observed.refused_routes.values()
    if not refused:
        return []
    wanted = list(_wanted(decision))
    return [one for one in refused if one.action in wanted]


def _wanted(decision: Decision) -> Iterator[Action]:
    observed, gateway = decision.observed, decision.observed.model.spec.gateway
    asked = asked_kinds(observed)
    for kind in names.ROUTE_KINDS:
        if kind not in asked:
            yield from delete_child(observed, kind, observed.model.name)
    if gateway is None:
        return
    if not decision.selects:
        return  # There is nothing yet that a route could point to.
    render = {names.HTTP_ROUTE: manifests.http_route, names.GRPC_ROUTE: manifests.grpc_route}
    targets, weights = _targets(decision), _weights(decision)
    for kind in wanted_kinds(observed):
        manifest = render[kind](observed.model, gateway, targets, weights)
        yield from apply_child(observed, manifest, _is_as_wanted)


def _is_as_wanted(actual: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """As for any child, but a listener that is named and should not be is a difference.

    Hostnames that are left out are none.
    """
    spec = actual["spec"]
    whole = dict(actual) | {"spec": dict(spec) | {"hostnames": spec.get("hostnames") or []}}
    own = manifest["metadata"]["namespace"]
    return is_as_wanted(whole, manifest) and _parents(actual, own) == _parents(manifest, own)


def _parents(route_: Mapping[str, Any], own: str) -> list[tuple[Any, ...]]:
    return [
        (
            parent.get("group", names.GATEWAY_GROUP),
            parent.get("kind", "Gateway"),
            parent["name"],
            parent.get("namespace", own),
            parent.get("sectionName", ""),
            parent.get("port"),
        )
        for parent in route_["spec"].get("parentRefs") or ()
    ]


def routes_due(decision: Decision) -> timedelta | None:
    """Time until a look at what the Gateways say; None where all have accepted."""
    observed = decision.observed
    if refused_routes(decision):
        return _UNANSWERED
    if observed.model.spec.gateway is None:
        return None
    missing = set(asked_kinds(observed)) - set(routes(observed))
    unsettled = missing or any(not answer.accepted for answer in answers(observed))
    return _UNANSWERED if unsettled else None


def _targets(decision: Decision) -> list[manifests.Target]:
    """What can be asked for by name: labels, then the highest versions; as many as a route holds."""
    observed = decision.observed
    name, present = observed.model.name, observed.of_kind("Service")
    versions = {servable.version for servable in decision.desired.servables}
    versions |= {found.version for found in observed.deployments}
    labels = sorted(observed.model.spec.labels)
    found = chain(
        (("label", label, names.label_service(name, label)) for label in labels),
        (
            ("version", str(version), names.version_service(name, version))
            for version in sorted(versions, reverse=True)
        ),
    )
    # A Service that is not there yet would make the gateway refuse the rule.
    return [target for target in found if target[2] in present][: manifests.MOST_RULES - 1]


def _weights(decision: Decision) -> Mapping[str, int]:
    observed = decision.observed
    name, rollout = observed.model.name, observed.model.status.rollout
    by_name = {name: 100}
    if decision.split and rollout and is_exact(observed, rollout):
        share = share_by_now(observed, rollout, decision.split)
        weights = weights_of(observed, rollout, share)
        return weights if set(weights) <= set(observed.of_kind("Service")) else by_name
    traffic = route(observed, decision.desired, decision.limits, decision.split)
    away = any(name not in weights_in(found) for found in routes(observed).values())
    if away and not traffic.mixed and decision.selects == SELECTS_ROTATION:
        versions = {found.servable: found.version for found in observed.deployments}
        back = [versions[servable] for servable in traffic.weights if servable in versions]
        ready = {p.version for p in observed.pods if p.ready and not p.terminating}
        if back and back[0] in ready:
            return {names.version_service(name, back[0]): 100}
    return by_name
