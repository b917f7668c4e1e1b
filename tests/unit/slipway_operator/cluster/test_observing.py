"""What is read of one Model: routes only where it asks for them, and nothing breaks where their kinds are missing."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.names import ROUTE_KINDS
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.status import Condition, ModelStatus, TransitionStatus
from slipway_operator.cluster.client import (
    CHILDREN,
    JOBS,
    ROUTES,
    Client,
    ForbiddenError,
    NotFoundError,
    Resource,
)
from slipway_operator.cluster.observing import observe
from slipway_operator.model.observed import Preflights
from slipway_operator.model.source import SourceObservation
from snapshots import model

GATEWAY = {"gateway": {"parentRefs": [{"name": "public"}]}}


class Server:
    """An API server with nothing in it, that knows some kinds of routes."""

    def __init__(self, *served: str, forbidden: tuple[str, ...] = ()) -> None:
        self.served = served
        self.forbidden = [CHILDREN[kind] for kind in forbidden]
        self.asked: list[Resource] = []

    async def list(self, resource: Resource, *_: Any, **__: Any) -> list[dict[str, Any]]:
        self.asked.append(resource)
        if resource in self.forbidden:
            raise ForbiddenError(f"{resource.plural} is forbidden", 403)
        missing = [ROUTES[kind] for kind in ROUTE_KINDS if kind not in self.served]
        if resource in missing:
            raise NotFoundError("404 page not found", 404)
        return []


def unserved(server: Server, of: ModelResource) -> frozenset[str]:
    return asyncio.run(observe(cast("Client", server), of, SourceObservation())).unserved


@pytest.mark.parametrize("served", [(), ("HTTPRoute",), ROUTE_KINDS])
def test_kinds_that_the_api_server_does_not_know_are_told(served: tuple[str, ...]) -> None:
    assert unserved(Server(*served), model(traffic=GATEWAY)) == set(ROUTE_KINDS) - set(served)


def test_kinds_that_rbac_hides_are_neither_absent_nor_an_end_of_the_snapshot() -> None:
    server = Server("GRPCRoute", forbidden=("HTTPRoute",))
    seen = asyncio.run(observe(cast("Client", server), model(traffic=GATEWAY), SourceObservation()))
    assert (seen.unserved, seen.forbidden_routes) == (frozenset(), {"HTTPRoute"})


def test_routes_cost_no_request_where_none_were_ever_asked_for() -> None:
    server = Server()
    assert not unserved(server, model())
    assert not set(ROUTES.values()) & set(server.asked)


def test_routes_are_looked_for_as_long_as_the_status_tells_of_them() -> None:
    of = model()
    left = Condition(
        type=ConditionType.ROUTES_ACCEPTED,
        status="Unknown",
        observed_generation=1,
        last_transition_time="2026-03-01T11:00:00Z",
        reason=Reason.AS_DESIRED,
        message="being deleted",
    )
    object.__setattr__(of, "status", ModelStatus(conditions=[left]))
    server = Server(*ROUTE_KINDS)
    assert not unserved(server, of)
    assert set(ROUTES.values()) <= set(server.asked)


def preflights(server: Server, of: ModelResource) -> Preflights | None:
    return asyncio.run(observe(cast("Client", server), of, SourceObservation())).preflights


FRUGAL = {"policy": "ResourcePreserving"}
FALLBACK = {"whenUnschedulable": {"then": "ResourcePreserving"}}


def test_jobs_cost_no_request_where_a_model_never_has_any() -> None:
    server = Server(*ROUTE_KINDS)
    assert preflights(server, model()) is None
    assert JOBS not in server.asked


@pytest.mark.parametrize("transition", [FRUGAL, FALLBACK])
def test_jobs_are_looked_for_where_no_extra_pods_may_be_used(transition: dict[str, Any]) -> None:
    assert preflights(Server(*ROUTE_KINDS), model(transition=transition)) == Preflights()


def test_jobs_are_looked_for_until_the_transition_ends_although_the_policy_has_changed() -> None:
    of = model()
    under_way = TransitionStatus(replicas=2, since="2026-03-01T11:00:00Z")
    of = replace(of, status=of.status.model_copy(update={"transition": under_way}))
    assert preflights(Server(*ROUTE_KINDS), of) == Preflights()


def test_a_role_of_another_release_does_not_end_the_snapshot() -> None:
    seen = preflights(Server(*ROUTE_KINDS, forbidden=("Job",)), model(transition=FRUGAL))
    assert seen is not None
    assert seen.refused == "jobs is forbidden; update the operator's role with the chart"
