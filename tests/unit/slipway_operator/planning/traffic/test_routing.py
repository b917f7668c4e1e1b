"""Where NAME points and when it is flipped, one step at a time."""

from dataclasses import replace
from typing import Any

import pytest

from slipway_operator.api.names import SELECTS_ROTATION
from slipway_operator.model.observed import Observed, Pod
from slipway_operator.planning.capacity.scaling import limits_of
from slipway_operator.planning.endpoints import ready_endpoints
from slipway_operator.planning.traffic.routing import Traffic, route
from slipway_operator.planning.traffic.services import ServiceStep, service_step
from slipway_operator.planning.versions.desired import desired_versions
from snapshots import deployment, listed, model, observed, pods, service, uids

MODEL = model()
V1, V2, V3 = (deployment(MODEL, version) for version in (1, 2, 3))
OLD, NEW = pods(V1), pods(V2)
LABELLED = tuple(replace(pod, in_rotation=True) for pod in (*OLD, *NEW))


def waiting(*of: Pod) -> tuple[Pod, ...]:
    return tuple(replace(pod, ready=False) for pod in of)


def step(state: Observed) -> ServiceStep:
    traffic = route(state, desired_versions(state), limits_of(state.model.spec))
    return service_step(state, traffic, relabel=bool(state.of_kind("Service")))


def state(*there: Pod, selects: str = V1.servable, **parts: Any) -> Observed:
    """Version 1 served, version 2 is to take its place."""
    base = {
        "source": listed(1, 2),
        "deployments": (V1, V2),
        "pods": there,
        "services": service(MODEL, selects) if selects else {},
    }
    return observed(parts.pop("of", MODEL), **(base | parts))


def test_a_first_version_is_selected_before_it_is_ready() -> None:
    assert step(observed(MODEL, source=listed(1))) == ServiceStep(V1.servable)


def test_in_a_mixed_transition_all_pods_are_marked_and_the_rotation_is_tried_first() -> None:
    there = (*OLD, *waiting(NEW[0]))
    assert step(state(*there)) == ServiceStep(V1.servable, preflight=SELECTS_ROTATION, label=there)


def test_name_is_flipped_to_the_rotation_when_the_slices_show_every_old_pod() -> None:
    there = (*LABELLED[:2], *waiting(LABELLED[2]))
    services = service(MODEL, V1.servable) | service(MODEL, SELECTS_ROTATION, following=True)
    half = state(*there, services=services, endpoints={"digits-next": uids(OLD[0])})
    assert step(half) == ServiceStep(V1.servable, preflight=SELECTS_ROTATION)
    whole = state(*there, services=services, endpoints={"digits-next": uids(*OLD)})
    assert step(whole) == ServiceStep(SELECTS_ROTATION)


def test_slices_of_another_selector_do_not_count() -> None:
    services = service(MODEL, V1.servable) | service(MODEL, V2.servable, following=True)
    mixed = state(*LABELLED[:3], services=services, endpoints={"digits-next": uids(*OLD, *NEW)})
    assert step(mixed).selects == V1.servable


def test_name_goes_to_the_new_version_alone_when_all_its_replicas_are_shown() -> None:
    services = service(MODEL, SELECTS_ROTATION) | service(MODEL, V2.servable, following=True)
    there = LABELLED[1:]
    before = state(*there, services=services, endpoints={"digits-next": uids(NEW[0])})
    assert step(before) == ServiceStep(SELECTS_ROTATION, preflight=V2.servable)
    after = state(*there, services=services, endpoints={"digits-next": uids(*NEW)})
    assert step(after) == ServiceStep(V2.servable)


def test_the_marks_go_when_name_does_not_select_by_them_any_more() -> None:
    flipped = state(*LABELLED[2:], selects=V2.servable)
    assert step(flipped) == ServiceStep(V2.servable)
    done = state(*LABELLED[2:], selects=V2.servable, caught_up=frozenset({"digits"}))
    assert step(done) == ServiceStep(V2.servable, unlabel=LABELLED[2:])


@pytest.mark.parametrize(
    "spec",
    [
        {"transition": {"maxSurge": "100%"}},
        {"serving": {"replicas": 1}},
        {"versions": {"latest": 2}},
    ],
    ids=["room for all", "one replica", "the old version stays"],
)
def test_traffic_moves_at_once_where_it_can_wait_for_that(spec: dict[str, Any]) -> None:
    of = model(**spec)
    there = pods(V1, of.spec.serving.replicas), pods(V2, of.spec.serving.replicas)
    early = state(*there[0], *waiting(*there[1]), of=of)
    assert step(early) == ServiceStep(V1.servable)
    late = state(*there[0], *there[1], of=of)
    assert step(late) == ServiceStep(V1.servable, preflight=V2.servable)


def test_name_moves_on_when_nothing_is_left_behind_it() -> None:
    gone = state(*waiting(NEW[0]), deployments=(replace(V1, replicas=0), V2))
    assert step(gone).selects == V2.servable


def test_requests_go_to_whatever_is_ready_when_nothing_is_where_they_went() -> None:
    lost = state(*OLD, *waiting(*NEW), selects=V2.servable)
    assert step(lost).selects == V1.servable


def test_a_service_that_was_taken_away_comes_back_where_the_ready_pods_are() -> None:
    assert step(state(*OLD, *waiting(*NEW), selects="")).selects == V1.servable


def test_a_replaced_pod_is_marked_although_all_marked_ones_are_gone() -> None:
    lost = state(*OLD, *waiting(LABELLED[2]), selects=SELECTS_ROTATION)
    assert step(lost).selects == V1.servable


def test_in_rotation_are_pods_that_are_ready_and_shown_and_not_going() -> None:
    there = (OLD[0], *waiting(OLD[1]), replace(NEW[0], terminating=True), NEW[1])
    shown = state(*there, endpoints={"digits": uids(OLD[0], OLD[1], NEW[0])})
    assert ready_endpoints(shown) == [OLD[0]]


def test_a_newer_version_joins_the_rotation_of_the_two_before() -> None:
    """T7."""
    newest = pods(V3, 1)
    there = (*LABELLED[1:3], *newest)
    state3 = state(
        *there, selects=SELECTS_ROTATION, source=listed(1, 2, 3), deployments=(V1, V2, V3)
    )
    assert step(state3) == ServiceStep(SELECTS_ROTATION, label=newest)


def traffic(state: Observed) -> Traffic:
    return route(state, desired_versions(state), limits_of(state.model.spec))


def test_traffic_is_shares_that_sum_to_100() -> None:
    one, two = V1.servable, V2.servable
    assert traffic(observed(MODEL)) == Traffic()
    assert traffic(observed(MODEL, source=listed(1))) == Traffic({one: 100}, urgent=True)
    beginning = traffic(state(*OLD, *waiting(NEW[0])))
    assert beginning == Traffic({one: 100, two: 0}, mixed=True)
    half = traffic(state(*LABELLED[:3], selects=SELECTS_ROTATION))
    assert half == Traffic({one: 67, two: 33}, mixed=True)
    assert traffic(state(*LABELLED, selects=SELECTS_ROTATION)) == Traffic({two: 100})


def test_traffic_does_not_wait_where_nothing_answers() -> None:
    lost = state(*OLD, *waiting(*NEW), selects=V2.servable)
    assert traffic(lost) == Traffic({V1.servable: 100}, urgent=True)
