"""What the routes of a gateway say, and what has become of them.

A route is written, and its gateways take it up when they come to it: until then they may still send
requests where an earlier one did. They say so in the route's status, each with the generation of the
route that it is about.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.status import RolloutStatus
from slipway_operator.model.observed import Child, Observed
from slipway_operator.planning.endpoints import live_pods
from slipway_operator.planning.rollout.record import is_held

_TAKEN_UP: Final = ("Accepted", "ResolvedRefs")
"""The conditions of the Gateway API that say what a controller has made of a route; it may add its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Gateway says of a route.

    Attributes:
        route: Kind and name.
        gateway: Namespace and name, and the listener where one is named.
        accepted: None when it has not said anything of the route as it is now.
        current: False when what it said is about an earlier generation, by which it may still act.
        message: Its own words where it does not accept.
    """

    route: str
    gateway: str
    accepted: bool | None
    current: bool = True
    message: str = ""


def routes(observed: Observed) -> dict[str, Child]:
    """The routes that are there, by kind."""
    found = {kind: observed.child(kind, observed.model.name) for kind in names.ROUTE_KINDS}
    return {kind: child for kind, child in found.items() if child is not None}


def asked_kinds(observed: Observed) -> list[str]:
    """The kinds of routes that the spec asks for.

    Of gRPC none without hostnames: the Model's name is in the message, and a route that takes all gRPC of
    its listeners would take that of other Models.
    """
    gateway = observed.model.spec.gateway
    if gateway is None:
        return []
    return [k for k in names.ROUTE_KINDS if k != names.GRPC_ROUTE or gateway.grpc_hostnames]


def wanted_kinds(observed: Observed) -> list[str]:
    """The kinds of routes that should be there, and can be."""
    without = observed.unserved | observed.forbidden_routes
    return [kind for kind in asked_kinds(observed) if kind not in without]


def weights_in(route: Child) -> dict[str, int]:
    """Percent of the requests without a version by Service: those of its last rule."""
    rules = route.manifest["spec"].get("rules") or [{}]
    backends = rules[-1].get("backendRefs") or ()
    return {ref["name"]: ref.get("weight", 1) for ref in backends}


def answers(observed: Observed) -> Iterator[Answer]:
    """What each Gateway of the spec says of each route that is there."""
    for kind, route in routes(observed).items():
        for parent in route.manifest["spec"].get("parentRefs") or ():
            yield _answer(f"{kind} {route.name}", route, parent)


def _answer(name: str, route: Child, parent: Mapping[str, Any]) -> Answer:
    listener = parent.get("sectionName", "")
    gateway = f"{parent.get('namespace', '')}/{parent['name']}" + (listener and f"/{listener}")
    said = [
        status
        for status in (route.manifest.get("status") or {}).get("parents") or ()
        if _same(status["parentRef"], parent, route)
    ]
    if not said:
        return Answer(name, gateway, None)
    generation = route.manifest["metadata"].get("generation", 0)
    # One for each controller: what another one has left behind says nothing of what is served now.
    looked = [found for status in said if (found := _about(status, generation))]
    if not looked:
        return Answer(name, gateway, None, current=False)
    conditions = [condition for found in looked for condition in found]
    for condition in conditions:
        if condition["status"] != "True":
            words = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            return Answer(name, gateway, accepted=False, message=words.strip(": "))
    accepted = any(c["type"] == "Accepted" for c in conditions)
    return Answer(name, gateway, accepted=True if accepted else None)


def _about(status: Mapping[str, Any], generation: int) -> list[Mapping[str, Any]]:
    """The conditions by which a controller takes a route up; none where one is about an earlier generation."""
    found = [c for c in status.get("conditions") or () if c["type"] in _TAKEN_UP]
    if any(c.get("observedGeneration", generation) < generation for c in found):
        return []
    return found


def _same(one: Mapping[str, Any], other: Mapping[str, Any], route: Child) -> bool:
    own = route.manifest["metadata"].get("namespace", "")
    return all(
        one.get(key, default) == other.get(key, default)
        for key, default in (("name", ""), ("namespace", own), ("sectionName", ""))
    )


def is_routed(observed: Observed, version: int) -> bool:
    """Whether a gateway may send requests that name no version to the Service of this one.

    As long as it has not taken the last change up, it may send them where it sent them before, and what
    that was is not known any more. Nor is it of routes that cannot be read, as long as there may be some.
    """
    if observed.forbidden_routes and observed.model.spec.gateway is not None:
        return True
    service = names.version_service(observed.model.name, version)
    if any(weights_in(route).get(service) for route in routes(observed).values()):
        return True
    return any(not answer.current for answer in answers(observed))


def is_exact(observed: Observed, rollout: RolloutStatus | None) -> bool:
    """Whether the share of a step is a weight of the routes, and not a number of pods.

    Two versions have Services of their own; two sets of inputs of one version have not.
    """
    if observed.model.spec.gateway is None or rollout is None or not is_held(rollout):
        return False
    return rollout.version != rollout.stable


def routed_share(observed: Observed, rollout: RolloutStatus) -> int | None:
    """Percent that every Gateway sends to the canary; None when they differ, or have not all accepted it."""
    kinds = wanted_kinds(observed)
    there = routes(observed)
    if not kinds or observed.forbidden_routes or any(kind not in there for kind in kinds):
        return None
    if any(not answer.accepted for answer in answers(observed)):
        return None
    service = names.version_service(observed.model.name, rollout.version)
    shares = {weights_in(there[kind]).get(service, 0) for kind in kinds}
    return shares.pop() if len(shares) == 1 else None


def weights_of(observed: Observed, rollout: RolloutStatus, share: int) -> dict[str, int]:
    """What the routes should say while a step lasts, by Service.

    Where the old version has no pod that is ready, NAME leads to what has; a gateway would send the share
    of a Service without one to nowhere.

    Args:
        observed: The snapshot.
        rollout: The step.
        share: Percent for the canary, if it has a pod.
    """
    ready = {pod.version for pod in live_pods(observed) if pod.ready}
    name = observed.model.name
    if rollout.stable not in ready:
        return {name: 100}
    stable = names.version_service(name, rollout.stable)
    if not share or rollout.version not in ready:
        return {stable: 100}
    return {stable: 100 - share, names.version_service(name, rollout.version): share}
