"""What the Gateways of spec.traffic.gateway have made of the Model's routes."""

from collections.abc import Iterable
from typing import Final, Literal

from slipway_operator.api import names
from slipway_operator.api.conditions import Reason
from slipway_operator.model.actions import Delete
from slipway_operator.model.observed import Observed
from slipway_operator.model.routes import RefusedRoute
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.rollout.routed import answers, asked_kinds, routes, wanted_kinds
from slipway_operator.planning.traffic.routes import refused_routes

_MOST: Final = 3
"""Gateways that are named."""
_GATEWAY: Final = 200
_SERVER: Final = 500
"""Characters of what a gateway, or the API server, says."""

Accepted = tuple[Literal["True", "False", "Unknown"], Reason, str]
"""Status, reason and message of the condition RoutesAccepted."""


def routes_accepted(decision: Decision) -> Accepted | None:
    """What the condition says; None where no routes are asked for and none are left."""
    observed = decision.observed
    if no := refused_routes(decision):
        words = (
            f"{_asked(refused)} {observed.model.name}: {_brief(refused.message, _SERVER)}"
            for refused in no
        )
        return "False", Reason.ROUTE_REFUSED, f"the API server refuses {'; '.join(words)}"
    if observed.forbidden_routes:
        kinds = " and ".join(sorted(observed.forbidden_routes))
        told = (
            f"RBAC does not let the operator list {kinds} in the namespace {observed.model.namespace}: update its "
            "role with the chart"
        )
        asked = observed.model.spec.gateway is not None
        return "False" if asked else "Unknown", Reason.ROUTES_FORBIDDEN, told
    if observed.model.spec.gateway is None:
        # It stays until they are gone: it is how the operator knows, after a restart, that there are any.
        return _leaving(observed)
    if unserved := [kind for kind in asked_kinds(observed) if kind in observed.unserved]:
        kinds = " and ".join(sorted(unserved))
        told = (
            f"the API server does not know {kinds} of {names.GATEWAY_GROUP}/{names.GATEWAY_VERSION}: install the "
            "CustomResourceDefinitions of the Gateway API, or remove spec.traffic.gateway"
        )
        return "False", Reason.GATEWAY_API_MISSING, told
    said = list(answers(observed))
    if refused := [answer for answer in said if answer.accepted is False]:
        told = _some(
            f"Gateway {a.gateway} does not take {a.route}: {_brief(a.message, _GATEWAY)}"
            for a in refused
        )
        return "False", Reason.ROUTE_NOT_ACCEPTED, told
    there = routes(observed)
    if missing := [kind for kind in wanted_kinds(observed) if kind not in there]:
        kinds = " and ".join(missing)
        return "Unknown", Reason.GATEWAY_SILENT, f"{kinds} {observed.model.name} is being written"
    if silent := [answer for answer in said if answer.accepted is None]:
        named = _some(f"Gateway {a.gateway} has not taken up {a.route}" for a in silent)
        return (
            "Unknown",
            Reason.GATEWAY_SILENT,
            f"{named}: check that it exists, and that the controller of its class runs",
        )
    gateways = ", ".join(sorted({answer.gateway for answer in said}))
    return "True", Reason.ROUTES_ACCEPTED, f"accepted by {gateways}"


def _some(told: Iterable[str]) -> str:
    found = list(told)
    more = len(found) - _MOST
    return "; ".join(found[:_MOST]) + (f"; and {more} more" if more > 0 else "")


def _brief(text: str, most: int) -> str:
    """The text on one line, cut to so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _asked(refused: RefusedRoute) -> str:
    deletes = isinstance(refused.action, Delete)
    return f"to delete {refused.action.kind}" if deletes else refused.action.kind


def _leaving(observed: Observed) -> Accepted | None:
    left = [f"{kind} {observed.model.name}" for kind in routes(observed)]
    if not left:
        return None
    return "Unknown", Reason.AS_DESIRED, f"{' and '.join(left)} is being deleted"
