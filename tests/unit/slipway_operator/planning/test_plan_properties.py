"""The transition invariants, over random histories of a simulated fleet."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet import Fleet
from histories import AUTOSCALED, CALM, EVENTS, TRIED_OUT, WITHOUT_ROOM, Event, History


def histories(events: tuple[str, ...]) -> st.SearchStrategy[list[Event]]:
    return st.lists(st.tuples(st.sampled_from(events), st.integers(0, 2**16)), max_size=25)


def serving_one(**edits: Any) -> Fleet:
    fleet = Fleet()
    fleet.upload(1)
    fleet.edit(**edits)
    return fleet


AVAILABILITY = {"policy": "AvailabilityPreserving"}
RESOURCE = {"policy": "ResourcePreserving"}


@pytest.mark.parametrize(
    ("replicas", "transition"),
    [
        (1, AVAILABILITY),
        (2, AVAILABILITY),
        (3, {**AVAILABILITY, "maxSurge": "50%"}),
        (2, {**AVAILABILITY, "maxSurge": "100%"}),
        (1, RESOURCE),
        (2, RESOURCE),
        (3, {**RESOURCE, "maxUnavailable": 2}),
        (2, {**RESOURCE, "maxUnavailable": "100%"}),
        (4, RESOURCE),
    ],
)
@given(history=histories(CALM))
def test_a_planned_transition_keeps_the_capacity_that_its_policy_promises(
    replicas: int, transition: dict[str, Any], history: list[Event]
) -> None:
    fleet = serving_one(serving={"replicas": replicas}, transition=transition)
    world = History(fleet, calm=True)
    world.play(history)
    world.recover()


@pytest.mark.parametrize("then", ["Wait", "ResourcePreserving", "Abort"])
@pytest.mark.parametrize(
    ("replicas", "transition"),
    [
        (1, AVAILABILITY),
        (2, AVAILABILITY),
        (3, {**AVAILABILITY, "maxSurge": "100%"}),
        (2, RESOURCE),
    ],
)
@given(history=histories(WITHOUT_ROOM))
def test_a_transition_without_room_loses_no_more_than_the_policy_that_it_goes_on_with(
    replicas: int, transition: dict[str, Any], then: str, history: list[Event]
) -> None:
    policy = transition | {"whenUnschedulable": {"after": "10s", "then": then}}
    fleet = serving_one(serving={"replicas": replicas}, transition=policy)
    fleet.gpus = replicas
    world = History(fleet, calm=True)
    world.play(history)
    world.recover()


@pytest.mark.parametrize("then", ["Wait", "ResourcePreserving", "Abort"])
@pytest.mark.parametrize(
    ("replicas", "transition"),
    [
        (1, RESOURCE),
        (2, {**RESOURCE, "preflight": "Load"}),
        (3, {**RESOURCE, "maxUnavailable": 2, "preflight": "Load"}),
        (2, {**AVAILABILITY, "preflight": "Load"}),
    ],
)
@given(history=histories(TRIED_OUT))
def test_a_version_that_is_tried_out_first_loses_no_more_and_is_reached(
    replicas: int, transition: dict[str, Any], then: str, history: list[Event]
) -> None:
    policy = transition | {"whenUnschedulable": {"after": "10s", "then": then}}
    fleet = serving_one(serving={"replicas": replicas}, transition=policy)
    fleet.gpus = replicas
    fleet.preflights = True
    world = History(fleet, calm=True)
    world.play(history)
    world.recover()


@pytest.mark.parametrize("then", ["Wait", "ResourcePreserving"])
@pytest.mark.parametrize("transition", [AVAILABILITY, RESOURCE])
@given(history=histories(AUTOSCALED))
def test_an_autoscaler_that_touches_one_opens_no_gap(
    transition: dict[str, Any], then: str, history: list[Event]
) -> None:
    policy = transition | {"whenUnschedulable": {"after": "10s", "then": then}}
    world = History(serving_one(transition=policy), autoscaled=True)
    world.play(history)
    world.recover()


@pytest.mark.parametrize("preflights", [False, True])
@settings(max_examples=3 * settings().max_examples)  # One case, against eight above.
@given(history=histories(tuple(EVENTS)))
def test_from_any_state_the_desired_one_is_reached_and_what_serves_is_never_lost(
    *,
    preflights: bool,
    history: list[Event],
) -> None:
    fleet = serving_one()
    fleet.preflights = preflights
    world = History(fleet)
    world.play(history)
    world.recover()
