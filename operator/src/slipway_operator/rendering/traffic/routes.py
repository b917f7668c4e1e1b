"""The routes of a Model: an HTTPRoute for REST, a GRPCRoute for gRPC.

REST names the model, the version and the label in the path, so a route can tell them. A path like
`/v1/models/digits:predict` ends in a part of a segment, which no prefix of the Gateway API matches: the
methods are matched exactly, what is below a model or version by prefix. gRPC names them in the message,
where no route can see them: a header stands for them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.traffic.gateway import Gateway
from slipway_operator.rendering.metadata import child_metadata

_METHODS: Final = ("predict", "classify", "regress")
_IN_A_SEGMENT: Final = "-._~!$&'()*+,;=@"
"""What the Gateway API takes in a path beside letters and digits, as RFC 3986 does; the rest is escaped."""

MOST_RULES: Final = 16
"""As many rules as a route may have."""

Target = tuple[str, str, str]
"""`version` or `label`, its number or name, and its Service."""


def http_route(
    model: ModelResource, gateway: Gateway, targets: Sequence[Target], weights: Mapping[str, int]
) -> dict[str, Any]:
    """The HTTPRoute.

    Args:
        model: Its Model.
        gateway: Its Gateways and hostnames.
        targets: What is asked for by name; at most MOST_RULES - 1.
        weights: Percent of all other requests by Service.
    """
    root = quote(model.model_name, safe=_IN_A_SEGMENT)
    rules: list[dict[str, Any]] = [
        {
            "matches": _paths(f"{root}/{kind}s/{name}", oip=kind == "version"),
            "backendRefs": _backends({service: 100}, names.REST_PORT),
        }
        for kind, name, service in targets
    ]
    rules.append(
        {"matches": _paths(root, oip=True), "backendRefs": _backends(weights, names.REST_PORT)}
    )
    return _route(model, gateway, names.HTTP_ROUTE, gateway.hostnames, rules)


def grpc_route(
    model: ModelResource, gateway: Gateway, targets: Sequence[Target], weights: Mapping[str, int]
) -> dict[str, Any]:
    """The GRPCRoute; arguments as for `http_route`."""
    headers = {"version": names.VERSION_HEADER, "label": names.LABEL_HEADER}
    rules: list[dict[str, Any]] = [
        {
            "matches": [{"headers": [{"type": "Exact", "name": headers[kind], "value": name}]}],
            "backendRefs": _backends({service: 100}, names.GRPC_PORT),
        }
        for kind, name, service in targets
    ]
    rules.append({"backendRefs": _backends(weights, names.GRPC_PORT)})
    return _route(model, gateway, names.GRPC_ROUTE, gateway.grpc_hostnames, rules)


def _paths(of: str, *, oip: bool) -> list[dict[str, Any]]:
    """All paths of a model, version or label: TensorFlow Serving's, and those of the open inference protocol."""
    exact = [f"/v1/models/{of}:{method}" for method in _METHODS]
    below = [f"/v1/models/{of}", *([f"/v2/models/{of}"] if oip else [])]
    return [
        {"path": {"type": kind, "value": value}}
        for kind, values in (("Exact", exact), ("PathPrefix", below))
        for value in values
    ]


def _backends(weights: Mapping[str, int], port: int) -> list[dict[str, Any]]:
    return [
        {"kind": "Service", "name": service, "port": port, "weight": weight}
        for service, weight in weights.items()
    ]


def _route(
    model: ModelResource,
    gateway: Gateway,
    kind: str,
    hostnames: Sequence[str],
    rules: list[dict[str, Any]],
) -> dict[str, Any]:
    # None are written as well: what a manifest leaves out stays as it is.
    spec: dict[str, Any] = {
        "parentRefs": _parents(model, gateway),
        "hostnames": list(hostnames),
        "rules": rules,
    }
    return {
        "apiVersion": f"{names.GATEWAY_GROUP}/{names.GATEWAY_VERSION}",
        "kind": kind,
        "metadata": child_metadata(model, model.name),
        "spec": spec,
    }


def _parents(model: ModelResource, gateway: Gateway) -> list[dict[str, Any]]:
    """Each Gateway once, or each of its listeners: the Gateway API refuses a route with both.

    No rule of the Model's can see that a namespace that is named is the Model's own.
    """
    found = [(p.name, p.namespace or model.namespace, p.section_name) for p in gateway.parent_refs]
    whole = {(name, namespace) for name, namespace, listener in found if not listener}
    return [
        {"name": name, "namespace": namespace} | ({"sectionName": listener} if listener else {})
        for name, namespace, listener in dict.fromkeys(found)
        if not listener or (name, namespace) not in whole
    ]
