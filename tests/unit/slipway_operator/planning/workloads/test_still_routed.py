"""What a gateway that does not answer may hold up, on a simulated fleet: what it may still send requests to, only."""

from typing import Any

import pytest

from fleet import Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.names import ROUTE_KINDS
from slipway_operator.planning.decision import decide
from slipway_operator.planning.workloads.deployments import deployment_actions

TRAFFIC: dict[str, Any] = {
    "gateway": {
        "parentRefs": [{"name": "public", "namespace": "ingress"}],
        "grpcHostnames": ["digits-grpc.example.com"],
    }
}
FRUGAL = {"policy": "ResourcePreserving", "progressDeadline": "10m"}


def silent(replicas: int, **edits: Any) -> Fleet:
    """Version 3 serves, and the gateway has not looked at the route since it was changed."""
    fleet = serving(traffic=TRAFFIC, serving={"replicas": replicas}, **edits)
    fleet.gateway.strict = True
    fleet.edit(traffic={"gateway": TRAFFIC["gateway"] | {"hostnames": ["digits.example.com"]}})
    return run(fleet)


@pytest.mark.parametrize("behaviour", [Behaviour.CORRUPT, Behaviour.CRASHING])
def test_pods_that_were_never_ready_hold_no_room_that_the_way_back_needs(
    behaviour: Behaviour,
) -> None:
    fleet = serving(traffic=TRAFFIC, serving={"replicas": 1}, transition=FRUGAL)
    fleet.gpus = 1
    fleet.upload(4, behaviour)
    # The gateway stops between the end of version 3 and that of version 4.
    while fleet.pods_of(3):
        run(fleet, 1)
    fleet.gateway.strict = True
    fleet.edit(traffic={"gateway": TRAFFIC["gateway"] | {"hostnames": ["digits.example.com"]}})
    run(fleet, 80)
    assert not fleet.pods_of(4)
    assert [pod.serves for pod in fleet.pods_of(3)] == [True]
    assert fleet.in_rotation()


def test_a_scale_down_of_the_version_that_serves_waits_for_no_gateway() -> None:
    fleet = silent(5)
    fleet.edit(serving={"replicas": 2})
    run(fleet)
    assert len(fleet.in_rotation()) == len(fleet.pods) == 2


def test_pods_that_can_answer_stay_as_long_as_the_gateway_may_send_them_requests() -> None:
    fleet = silent(2)
    fleet.upload(4)
    run(fleet)
    assert len(fleet.pods_of(3)) == 2
    assert not list(deployment_actions(decide(fleet.observe(), fleet.settings, fleet.now)))
    fleet.gateway.strict = False
    run(fleet)
    assert not fleet.pods_of(3)


@pytest.mark.parametrize("kinds", [("HTTPRoute",), ROUTE_KINDS])
def test_routes_that_cannot_be_read_may_lead_to_whatever_serves(kinds: tuple[str, ...]) -> None:
    fleet = serving(traffic=TRAFFIC, serving={"replicas": 2})
    fleet.gateway.forbidden = frozenset(kinds)
    fleet.upload(4)
    run(fleet)
    assert len(fleet.pods_of(3)) == 2
    assert set(fleet.gateway.routes) == set(ROUTE_KINDS)
    told = next(c for c in fleet.status.conditions if c.type is ConditionType.ROUTES_ACCEPTED)
    assert (told.status, told.reason) == ("False", Reason.ROUTES_FORBIDDEN)
    assert f"RBAC does not let the operator list {' and '.join(sorted(kinds))}" in told.message
    fleet.edit(traffic=None)  # type: ignore[arg-type]
    run(fleet)
    assert not fleet.pods_of(3)
    assert fleet.status.serving == "4"
