"""Routes that the API server refuses, on a simulated fleet: everything else goes on, and they come in time."""

from datetime import timedelta
from typing import Any

from fleet import Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.names import ROUTE_KINDS
from slipway_operator.api.status import Condition
from slipway_operator.planning.decision import decide
from slipway_operator.planning.traffic.routes import refused_routes

TRAFFIC: dict[str, Any] = {
    "gateway": {
        "parentRefs": [{"name": "public", "namespace": "ingress"}],
        "grpcHostnames": ["digits-grpc.example.com"],
    }
}
POLICY = "ValidatingAdmissionPolicy 'hostnames' denied request: digits.example.com is not yours"


def public() -> Fleet:
    return serving(traffic=TRAFFIC, serving={"replicas": 2})


def ask_for(fleet: Fleet, *hostnames: str) -> None:
    hosts = {"hostnames": list(hostnames), "grpcHostnames": [f"grpc-{h}" for h in hostnames]}
    fleet.edit(traffic={"gateway": TRAFFIC["gateway"] | hosts})


def condition(fleet: Fleet) -> Condition:
    return next(c for c in fleet.status.conditions if c.type is ConditionType.ROUTES_ACCEPTED)


def test_versions_and_replicas_change_while_routes_are_refused() -> None:
    fleet = public()
    fleet.gateway.policy = POLICY
    ask_for(fleet, "digits.example.com")
    fleet.upload(4)
    fleet.edit(serving={"replicas": 3})
    run(fleet)
    assert fleet.status.serving == "4"
    assert len(fleet.pods_of(4)) == len(fleet.pods) == 3
    told = condition(fleet)
    assert (told.status, told.reason) == ("False", Reason.ROUTE_REFUSED)
    assert f"the API server refuses HTTPRoute digits: {POLICY}" in told.message
    assert fleet.plan().requeue == timedelta(seconds=10)
    refused = refused_routes(decide(fleet.observe(), fleet.settings, fleet.now))
    assert [one.message for one in refused] == [POLICY, POLICY]


def test_routes_that_were_refused_are_written_a_minute_later() -> None:
    fleet = public()
    fleet.gateway.policy = POLICY
    ask_for(fleet, "digits.example.com")
    run(fleet)
    fleet.gateway.policy = ""
    run(fleet)
    assert condition(fleet).reason == Reason.ROUTE_REFUSED, "nobody asks all the time"
    fleet.now += timedelta(minutes=1)
    run(fleet)
    assert condition(fleet).reason == Reason.ROUTES_ACCEPTED
    for kind, host in zip(
        ROUTE_KINDS, ("digits.example.com", "grpc-digits.example.com"), strict=True
    ):
        assert fleet.gateway.routes[kind].manifest["spec"]["hostnames"] == [host]


def test_another_route_is_written_at_once_and_the_old_one_is_no_trouble() -> None:
    fleet = public()
    ask_for(fleet, "a.example.com")
    run(fleet)
    fleet.gateway.policy = POLICY
    ask_for(fleet, "digits.example.com")
    run(fleet)
    ask_for(fleet, "a.example.com")
    run(fleet)
    assert condition(fleet).reason == Reason.ROUTES_ACCEPTED, "what is there is what is wanted"
    fleet.gateway.policy = ""
    ask_for(fleet, "b.example.com")
    run(fleet)
    assert condition(fleet).reason == Reason.ROUTES_ACCEPTED
    route = fleet.gateway.routes[ROUTE_KINDS[0]].manifest
    assert route["spec"]["hostnames"] == ["b.example.com"]
