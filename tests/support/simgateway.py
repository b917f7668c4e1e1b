"""A gateway for the simulated fleet: it takes routes up when its turn comes, and says so as the Gateway API has it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway_operator.api.names import GATEWAY_GROUP, ROUTE_KINDS
from slipway_operator.cluster.client import ForbiddenError
from slipway_operator.model.observed import Child


@dataclass
class SimGateway:
    """The routes as the API server holds them, and what the gateway has made of them.

    Attributes:
        policy: What an admission policy of the API server says of every route; empty when it takes them.
        refusal: Reason and message with which it refuses every route; empty when it accepts.
        away: No controller runs, or there is no such Gateway.
        unserved: Kinds that the API server does not know.
        forbidden: Kinds that RBAC does not let the operator see.
        applied: Fields of each kind's spec that the operator owns.
        routed: Percent of requests without a version by Service, by kind, as they are really sent.
        strict: The controller is slow: nothing but `take_up` by hand has it look.
    """

    routes: dict[str, Child] = field(default_factory=dict)
    policy: str = ""
    refusal: tuple[str, str] | None = None
    away: bool = False
    unserved: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    applied: dict[str, frozenset[str]] = field(default_factory=dict)
    routed: dict[str, dict[str, int]] = field(default_factory=dict)
    strict: bool = False

    def children(self) -> dict[str, dict[str, Child]]:
        seen = {kind: route for kind, route in self.routes.items() if kind not in self.forbidden}
        return {kind: {route.name: route} for kind, route in seen.items()}

    def apply(self, manifest: Mapping[str, Any], applied: Callable[..., Child]) -> None:
        kind = manifest["kind"]
        assert kind in ROUTE_KINDS
        assert kind not in self.forbidden, f"RBAC does not let the operator write {kind}"
        assert kind not in self.unserved, f"the API server does not know {kind}"
        if self.policy:
            raise ForbiddenError(self.policy, 403)
        before = self.routes.get(kind)
        child = applied(before, manifest)
        was = before.manifest if before else {"metadata": {}, "spec": None}
        generation = was["metadata"].get("generation", 0)
        # Server-side apply: what was applied is replaced, what others have set stays, and defaults are added.
        others = {
            k: v for k, v in (was["spec"] or {}).items() if k not in self.applied.get(kind, ())
        }
        self.applied[kind] = frozenset(manifest["spec"])
        parents = [
            {"group": GATEWAY_GROUP, "kind": "Gateway", **parent}
            for parent in manifest["spec"]["parentRefs"]
        ]
        spec = others | dict(manifest["spec"]) | {"parentRefs": parents}
        stored = dict(child.manifest) | {"spec": spec}
        stored["metadata"] = child.manifest["metadata"] | {
            "generation": generation + (stored["spec"] != was["spec"])
        }
        if "status" in was:
            stored["status"] = was["status"]
        self.routes[kind] = Child(child.name, child.uid, stored)

    def delete(self, kind: str, uid: str) -> None:
        assert self.routes[kind].uid == uid
        del self.routes[kind]

    def take_up(self, kind: str) -> bool:
        """The controller looks at a route; whether there was anything to do."""
        route = self.routes.get(kind)
        if route is None:
            return self.routed.pop(kind, None) is not None
        manifest = route.manifest
        generation = manifest["metadata"]["generation"]
        reason, message = self.refusal or ("Accepted", "")
        condition = {
            "type": "Accepted",
            "status": "False" if self.refusal else "True",
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
        }
        parents = [
            {"parentRef": parent, "conditions": [condition]}
            for parent in manifest["spec"]["parentRefs"]
        ]
        if manifest.get("status") == {"parents": parents}:
            return False
        stored = dict(manifest) | {"status": {"parents": parents}}
        self.routes[kind] = Child(route.name, route.uid, stored)
        backends = manifest["spec"]["rules"][-1]["backendRefs"]
        self.routed[kind] = {} if self.refusal else {b["name"]: b["weight"] for b in backends}
        return True

    def turn(self) -> bool:
        """All routes once."""
        if self.away or self.strict:
            return False
        return [self.take_up(kind) for kind in ROUTE_KINDS] != [False, False]
