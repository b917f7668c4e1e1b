"""Routes of a gateway on a simulated fleet: where they lead, and that nothing goes as long as they lead to it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet import Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.names import ROUTE_KINDS
from slipway_operator.api.status import Condition, RolloutStatus
from slipway_operator.model.analysis import Counters, Interval
from slipway_operator.planning.decision import decide
from slipway_operator.planning.rollout.record import DURATION, GATEWAY, PODS, canary_of
from slipway_operator.planning.traffic.routes import route_actions

GATEWAY_SPEC: dict[str, Any] = {
    "parentRefs": [{"name": "public", "namespace": "ingress"}],
    "hostnames": ["digits.example.com"],
    "grpcHostnames": ["digits-grpc.example.com"],
}
STEPS = [{"weight": 10, "pause": {"duration": "2m"}}, {"weight": 50, "pause": {"duration": "2m"}}]
SAVING = {"policy": "AvailabilityPreserving"}
FRUGAL = {"policy": "ResourcePreserving"}


def public(replicas: int = 2, **edits: Any) -> Fleet:
    """Version 3 serves, behind a gateway."""
    whole: dict[str, Any] = {
        "traffic": {"gateway": GATEWAY_SPEC},
        "rollout": {"steps": STEPS},
        "serving": {"replicas": replicas},
    }
    fleet = serving(**whole | edits)
    fleet.gpus = 30
    return fleet


def rolling(replicas: int = 2, behaviour: Behaviour = Behaviour.GOOD, **edits: Any) -> Fleet:
    """Version 4 has just been found."""
    fleet = public(replicas, **edits)
    fleet.upload(4, behaviour)
    return run(fleet)


def sent(fleet: Fleet) -> dict[str, int]:
    """Where the gateway sends requests without a version; REST and gRPC alike."""
    http, grpc = (fleet.gateway.routed.get(kind) for kind in ROUTE_KINDS)
    assert http == grpc
    return http or {}


def now(fleet: Fleet) -> RolloutStatus:
    assert fleet.status.rollout, fleet.status
    return fleet.status.rollout


def later(fleet: Fleet, minutes: float) -> Fleet:
    fleet.now += timedelta(minutes=minutes)
    return run(fleet)


def accepted(fleet: Fleet) -> Condition | None:
    found = (c for c in fleet.status.conditions if c.type is ConditionType.ROUTES_ACCEPTED)
    return next(found, None)


def condition(fleet: Fleet) -> Condition:
    found = accepted(fleet)
    assert found
    return found


def rules(fleet: Fleet, kind: str) -> list[dict[str, Any]]:
    return list(fleet.gateway.routes[kind].manifest["spec"]["rules"])


def test_a_model_without_a_gateway_has_no_routes() -> None:
    fleet = rolling(traffic=None)
    assert not fleet.gateway.routes
    assert accepted(fleet) is None


def test_at_rest_the_routes_lead_to_the_service_of_the_model() -> None:
    fleet = public()
    assert sent(fleet) == {"digits": 100}
    assert (condition(fleet).status, condition(fleet).message) == (
        "True",
        "accepted by ingress/public",
    )
    assert not list(route_actions(decide(fleet.observe(), fleet.settings, fleet.now)))
    assert not fleet.plan().actions
    assert fleet.status.conditions[-1].type is ConditionType.READY


@pytest.mark.parametrize(("policy", "replicas"), [(SAVING, 2), (SAVING, 1), (FRUGAL, 10)])
def test_a_step_has_exactly_its_weight_whatever_its_pods_are(
    policy: dict[str, str], replicas: int
) -> None:
    fleet = rolling(replicas, transition=policy)
    assert sent(fleet) == {"digits-v3": 90, "digits-v4": 10}
    assert (now(fleet).reached, now(fleet).waiting_for) == (10, DURATION)
    later(fleet, 2)
    assert sent(fleet) == {"digits-v3": 50, "digits-v4": 50}
    assert (now(fleet).step, now(fleet).reached) == (2, 50)
    later(fleet, 2)
    assert sent(fleet) == {"digits": 100}
    assert fleet.status.serving == "4"


def test_the_weight_comes_with_the_pods_and_the_pause_with_the_weight() -> None:
    fleet = public(10, transition=FRUGAL)
    fleet.gateway.strict = True
    fleet.upload(4)
    run(fleet)
    assert (now(fleet).waiting_for, now(fleet).reached_at) == (GATEWAY, None)
    assert fleet.status.phase == "Canary 10% 1/2: routing"
    assert "RoutesAccepted" in fleet.status.versions[0].message
    later(fleet, 60)
    assert now(fleet).step == 1
    fleet.gateway.strict = False
    run(fleet)
    assert (now(fleet).waiting_for, now(fleet).reached_at is not None) == (DURATION, True)
    # The next step needs four more pods: until they serve, its weight is that of the step before.
    fleet.gpus = 10
    fleet.long_drains = {3}
    later(fleet, 2)
    assert (now(fleet).step, now(fleet).waiting_for) == (2, PODS)
    assert sent(fleet) == {"digits-v3": 90, "digits-v4": 10}


def test_a_canary_without_a_ready_pod_has_no_weight() -> None:
    fleet = rolling()
    [canary] = [pod for pod in fleet.pods_of(4) if pod.serves]
    fleet.crash(canary)
    fleet.operate()
    fleet.gateway.turn()
    assert sent(fleet) == {"digits-v3": 100}


def test_without_a_ready_pod_of_the_old_version_requests_go_to_what_has_one() -> None:
    fleet = rolling()
    for pod in fleet.pods_of(3):
        fleet.crash(pod)
    fleet.operate()
    fleet.gateway.turn()
    assert sent(fleet) == {"digits": 100}


def test_a_canary_that_is_worse_loses_its_weight_at_once() -> None:
    fleet = rolling(rollout={"steps": STEPS, "analysis": {"minimumRequests": 10}})
    ended = fleet.now + timedelta(minutes=1)
    fleet.interval = Interval(
        canary_of(now(fleet)), 1, fleet.now, ended, Counters(100, 50), Counters(100, 0)
    )
    fleet.now = ended
    fleet.operate()
    fleet.gateway.turn()
    assert "digits-v4" not in sent(fleet)
    assert sent(fleet) == {"digits-v3": 100}
    fleet.interval = None
    assert sent(run(fleet)) == {"digits": 100}
    assert not fleet.pods_of(4)


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ([("gw", ""), ("gw", "ml")], [("gw", "ml", None)]),
        ([("gw", "ml"), ("gw", "", "https")], [("gw", "ml", None)]),
        ([("gw", "ml", "a"), ("gw", "", "b"), ("gw", "", "a")], [("gw", "ml", "a"), ("gw", "ml", "b")]),
        ([("gw", ""), ("gw", "b", "a")], [("gw", "ml", None), ("gw", "b", "a")]),
    ],
)  # fmt: skip
def test_a_gateway_of_the_models_own_namespace_is_named_once_however_it_is_spelt(
    asked: list[tuple[str, ...]], written: list[tuple[str, ...]]
) -> None:
    fields = ("name", "namespace", "sectionName")
    parents = [dict(zip(fields, parent, strict=False)) for parent in asked]
    fleet = public(traffic={"gateway": {"parentRefs": parents}})
    for route in fleet.gateway.routes.values():
        found = route.manifest["spec"]["parentRefs"]
        assert [tuple(parent.get(field) for field in fields) for parent in found] == written
    assert condition(fleet).status == "True"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"hostnames": ["a.example.com"]}, {}),
        ({"parentRefs": [{"name": "gw", "sectionName": "a"}]}, {"parentRefs": [{"name": "gw"}]}),
        ({}, {"parentRefs": [{"name": "other"}]}),
    ],
)
def test_what_is_removed_from_the_spec_is_removed_from_the_routes(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    least = {"parentRefs": [{"name": "gw"}], "grpcHostnames": ["grpc.example.com"]}
    fleet = public(traffic={"gateway": least | before})
    fleet.edit(traffic={"gateway": least | after})
    run(fleet)
    never = public(traffic={"gateway": least | after})
    for kind in ROUTE_KINDS:
        found, wanted = (each.gateway.routes[kind].manifest["spec"] for each in (fleet, never))
        hosts = [] if kind == "HTTPRoute" else ["grpc.example.com"]
        assert (found["parentRefs"], found["hostnames"]) == (wanted["parentRefs"], hosts)
    assert not fleet.plan().actions


def test_hostnames_that_the_api_server_leaves_out_when_empty_are_as_wanted() -> None:
    fleet = public(traffic={"gateway": {"parentRefs": [{"name": "gw"}]}})
    route = fleet.gateway.routes["HTTPRoute"]
    spec = {k: v for k, v in route.manifest["spec"].items() if k != "hostnames"}
    stored = dict(route.manifest) | {"spec": spec}
    fleet.gateway.routes["HTTPRoute"] = replace(route, manifest=stored)
    assert not fleet.plan().actions


def test_without_hostnames_of_its_own_grpc_has_no_route() -> None:
    plain = {"parentRefs": GATEWAY_SPEC["parentRefs"], "hostnames": ["digits.example.com"]}
    fleet = public(traffic={"gateway": plain})
    fleet.gateway.unserved = frozenset({"GRPCRoute"})
    run(fleet)
    assert set(fleet.gateway.routes) == {"HTTPRoute"}
    assert condition(fleet).status == "True", "what is not asked for need not be known"
    assert not fleet.plan().actions
    requeue = fleet.plan().requeue
    assert requeue is None or requeue > timedelta(seconds=10)
    fleet.upload(4)
    run(fleet)
    assert fleet.gateway.routed["HTTPRoute"] == {"digits-v3": 90, "digits-v4": 10}
    assert (now(fleet).reached, now(fleet).waiting_for) == (10, DURATION)


def test_the_route_of_grpc_goes_with_its_hostnames() -> None:
    fleet = public()
    assert fleet.gateway.routes["GRPCRoute"].manifest["spec"]["hostnames"] == [
        "digits-grpc.example.com"
    ]
    fleet.edit(traffic={"gateway": GATEWAY_SPEC | {"grpcHostnames": []}})
    run(fleet)
    assert set(fleet.gateway.routes) == set(fleet.gateway.routed) == {"HTTPRoute"}
    assert condition(fleet).status == "True"


def test_versions_and_labels_are_asked_for_by_path_or_by_header() -> None:
    fleet = rolling(labels={"prod": 3})
    http = {
        match["path"]["value"]: rule["backendRefs"][0]["name"]
        for rule in rules(fleet, "HTTPRoute")[:-1]
        for match in rule["matches"]
    }
    assert http["/v1/models/digits/versions/4:predict"] == "digits-v4"
    assert http["/v1/models/digits/versions/3"] == "digits-v3"
    assert http["/v2/models/digits/versions/3"] == "digits-v3"
    assert http["/v1/models/digits/labels/prod:classify"] == "digits-prod"
    grpc = {
        (header["name"], header["value"]): rule["backendRefs"][0]
        for rule in rules(fleet, "GRPCRoute")[:-1]
        for match in rule["matches"]
        for header in match["headers"]
    }
    assert grpc["slipway-version", "4"]["name"] == "digits-v4"
    assert grpc["slipway-label", "prod"] == {
        "kind": "Service",
        "name": "digits-prod",
        "port": 8500,
        "weight": 100,
    }


def test_a_route_has_no_more_rules_than_the_gateway_api_allows() -> None:
    fleet = serving(
        versions={"all": True}, traffic={"gateway": GATEWAY_SPEC}, serving={"replicas": 1}
    )
    fleet.gpus = 60
    for version in range(4, 40):
        fleet.upload(version)
    run(fleet, 120)
    for kind in ROUTE_KINDS:
        assert len(rules(fleet, kind)) == 16
    paths = [m["path"]["value"] for r in rules(fleet, "HTTPRoute") for m in r["matches"]]
    assert len(paths) <= 128
    assert "/v1/models/digits/versions/39:predict" in paths


def test_a_refusal_is_told_in_the_gateways_words() -> None:
    fleet = public()
    fleet.gateway.refusal = ("NotAllowedByListeners", "no listener takes routes of this namespace")
    run(fleet)
    told = condition(fleet)
    assert (told.status, told.reason) == ("False", Reason.ROUTE_NOT_ACCEPTED)
    assert (
        "Gateway ingress/public does not take HTTPRoute digits: NotAllowedByListeners: no listener "
        "takes routes of this namespace"
    ) in told.message
    assert fleet.status.message == told.message
    ready = next(c for c in fleet.status.conditions if c.type is ConditionType.READY)
    assert ready.status == "True"
    assert fleet.plan().requeue == timedelta(seconds=10)
    assert not fleet.plan().events


def test_of_many_gateways_with_long_answers_the_first_are_told_in_short() -> None:
    parents = [{"name": f"gw-{n}"} for n in range(8)]
    fleet = public(rollout=None, traffic={"gateway": {"parentRefs": parents}})
    fleet.gateway.refusal = ("Invalid", "no listener\nmatches " + "x" * 32_000)
    run(fleet)
    told = condition(fleet)
    assert told.status == "False"
    assert told.message.count("does not take") == 3
    assert "HTTPRoute digits: Invalid: no listener matches xxx" in told.message
    assert told.message.endswith("x…; and 5 more")
    assert len(told.message) < 1000
    fleet.upload(4)
    run(fleet)
    assert fleet.status.serving == "4"


def test_of_many_silent_gateways_the_first_are_named() -> None:
    fleet = Fleet()
    fleet.gateway.away = True
    fleet.edit(traffic={"gateway": {"parentRefs": [{"name": f"gw-{n}"} for n in range(8)]}})
    fleet.upload(3)
    run(fleet)
    assert condition(fleet).message.count("has not taken up") == 3
    assert "; and 5 more: check that it exists" in condition(fleet).message


def test_a_gateway_that_does_not_answer_is_named() -> None:
    fleet = Fleet()
    fleet.gateway.away = True
    fleet.edit(traffic={"gateway": GATEWAY_SPEC})
    fleet.upload(3)
    run(fleet)
    assert (condition(fleet).status, condition(fleet).reason) == ("Unknown", Reason.GATEWAY_SILENT)
    assert "Gateway ingress/public has not taken up HTTPRoute digits" in fleet.status.message
    assert fleet.status.phase == "Available"


def test_an_api_server_without_the_gateway_api_is_one_sentence() -> None:
    fleet = Fleet()
    fleet.gateway.unserved = frozenset(ROUTE_KINDS)
    fleet.edit(traffic={"gateway": GATEWAY_SPEC})
    fleet.upload(3)
    run(fleet)
    assert not fleet.gateway.routes
    assert (condition(fleet).status, condition(fleet).reason) == (
        "False",
        Reason.GATEWAY_API_MISSING,
    )
    assert "install the CustomResourceDefinitions of the Gateway API" in fleet.status.message
    assert fleet.status.phase == "Available"


def test_the_routes_go_with_the_field_and_are_known_of_until_they_are_gone() -> None:
    fleet = public()
    fleet.edit(traffic=None)  # type: ignore[arg-type]
    planned = fleet.plan()
    fleet.write_status(planned)  # The process dies here.
    assert accepted(fleet)
    fleet.restart_operator()
    run(fleet)
    assert not fleet.gateway.routes
    assert accepted(fleet) is None


def test_a_route_that_belongs_to_someone_else_is_left_alone() -> None:
    fleet = Fleet(foreign=frozenset({"HTTPRoute/digits"}))
    fleet.edit(traffic={"gateway": GATEWAY_SPEC})
    fleet.upload(3)
    run(fleet)
    assert set(fleet.gateway.routes) == {"GRPCRoute"}
    assert "HTTPRoute" in fleet.status.message


def _leads_nowhere(fleet: Fleet) -> list[str]:
    """Services to which requests are sent and that have no pod to answer them."""
    found = []
    for kind in ROUTE_KINDS:
        for service, weight in fleet.gateway.routed.get(kind, {}).items():
            version = service.rpartition("-v")[2] if service != "digits" else ""
            pods = fleet.pods_of(int(version)) if version else fleet.in_rotation()
            if weight and not any(pod.serves for pod in pods):
                found.append(f"{kind}: {weight}% to {service}")
    return found


def _interleaved(fleet: Fleet, seed: int) -> Iterator[None]:
    """The operator, the gateway and the cluster's parts in any order, each slow or quick."""
    choice = Random(seed)  # noqa: S311 (a test's choices)
    fleet.gateway.strict = True
    slow = choice.random()
    for _ in range(60):
        fleet.poll()
        fleet.operate()
        yield
        for _ in fleet.turn():
            yield
            if choice.random() > slow:
                fleet.gateway.take_up(choice.choice(ROUTE_KINDS))
                yield
    fleet.gateway.strict = False
    run(fleet)
    yield


@pytest.mark.parametrize(
    ("policy", "replicas"), [(SAVING, 2), ({**SAVING, "maxSurge": "100%"}, 2), (FRUGAL, 3)]
)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**16), what=st.sampled_from(["promote", "abort", "newer", "steps"]))
def test_a_gateway_that_lags_never_sends_requests_to_a_service_without_pods(
    policy: dict[str, str], replicas: int, seed: int, what: str
) -> None:
    fleet = rolling(replicas, transition=policy)
    assert sent(fleet)["digits-v4"] == 10
    match what:
        case "promote":
            fleet.annotations["slipway.dev/promote"] = "4"
        case "abort":
            fleet.annotations["slipway.dev/abort"] = "4/1"
        case "newer":
            fleet.upload(5)
        case _:
            fleet.edit(rollout=None)  # type: ignore[arg-type]
    for _ in _interleaved(fleet, seed):
        assert not _leads_nowhere(fleet)
    if what != "newer":
        assert sent(fleet) == {"digits": 100}
        assert len(fleet.pods) == replicas
