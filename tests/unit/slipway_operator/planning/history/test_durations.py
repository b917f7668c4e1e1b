"""What metrics tell of what has ended."""

from datetime import timedelta

import pytest

from fleet import Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.planning.history.durations import (
    PodDurations,
    ended_preflight,
    ended_step,
    ended_transitions,
    new_pods,
    seconds_of,
)


def measured(fleet: Fleet) -> tuple[list[tuple[str, float]], list[PodDurations]]:
    """What each plan would measure until everything has happened."""
    transitions, pods = [], []
    for _ in range(40):
        fleet.poll()
        observed = fleet.observe()
        planned = fleet.operate()
        before = observed.model.status
        transitions += [
            (entry.to, seconds_of(entry)) for entry in ended_transitions(before, planned.status)
        ]
        pods += new_pods(observed, before, planned.status)
        list(fleet.turn())
    return transitions, pods


def test_a_transition_and_its_pods_are_measured_once() -> None:
    fleet = serving(serving={"replicas": 2})
    assert measured(fleet) == ([], [])
    fleet.upload(4)
    run(fleet, 1)
    fleet.now += timedelta(seconds=30)
    transitions, pods = measured(fleet)
    assert transitions == [("4", 30.0)]
    assert len(pods) == 2
    # The first one had its files when the half minute passed, the second one came after it.
    assert sorted(pod.load for pod in pods) == [0.0, 30.0]
    assert [pod.sync for pod in pods] == [0.0, 0.0]
    assert measured(fleet) == ([], [])


def test_a_pod_that_is_replaced_is_no_new_version() -> None:
    fleet = serving()
    fleet.take(next(iter(fleet.pods.values())))
    assert measured(fleet) == ([], [])


def steps(fleet: Fleet, minutes: float = 0) -> list[tuple[int, float]]:
    """Steps that end from now on, and after a while."""
    found = []
    for round_ in range(40):
        if round_ == 20:
            fleet.now += timedelta(minutes=minutes)
        fleet.poll()
        before = fleet.status
        fleet.operate()
        if ended := ended_step(before, fleet.status, fleet.now):
            found.append(ended)
        list(fleet.turn())
    return found


def rolling() -> Fleet:
    rollout = {"steps": [{"weight": 10, "pause": {"duration": "2m"}}, {"weight": 50, "pause": {}}]}
    fleet = serving(rollout=rollout, serving={"replicas": 2})
    fleet.upload(4)
    assert steps(fleet, minutes=1) == []
    return fleet


def test_the_time_at_each_weight_is_measured_once_when_its_step_ends() -> None:
    fleet = rolling()
    assert steps(fleet, minutes=1) == [(10, 120.0)]
    assert steps(fleet, minutes=7) == []
    fleet.annotations["slipway.dev/approve"] = "4/2"
    assert steps(fleet) == [(50, 7 * 60.0)]
    assert fleet.status.serving == "4"
    assert steps(fleet) == []


def test_the_time_at_a_weight_ends_with_the_canary_and_with_its_pods() -> None:
    fleet = rolling()
    fleet.edit(serving={"replicas": 0})
    assert steps(fleet) == [(10, 60.0)]
    fleet.edit(serving={"replicas": 2})
    assert steps(fleet, minutes=0.5) == []
    fleet.annotations["slipway.dev/abort"] = "4"
    assert steps(fleet) == [(10, 30.0)]


@pytest.mark.parametrize(
    ("behaviour", "refused", "outcome"),
    [
        (Behaviour.GOOD, False, "Passed"),
        (Behaviour.CORRUPT, False, "Failed"),
        (Behaviour.GOOD, True, "Skipped"),
    ],
)
def test_a_preflight_is_counted_once_by_how_it_ended(
    behaviour: Behaviour, outcome: str, *, refused: bool
) -> None:
    fleet = serving(transition={"policy": "ResourcePreserving", "preflight": "Load"})
    fleet.preflights, fleet.jobs_refused = True, refused
    fleet.upload(4, behaviour)
    ended = []
    for _ in range(40):
        fleet.poll()
        before = fleet.status
        ended.append(ended_preflight(before, fleet.operate().status))
        list(fleet.turn())
    assert [found for found in ended if found] == [outcome]


def test_a_preflight_that_a_person_gives_up_has_no_outcome() -> None:
    fleet = serving(transition={"policy": "ResourcePreserving", "preflight": "Load"})
    fleet.preflights = True
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    fleet.annotate("slipway.dev/abort", "4/1")
    before = fleet.status
    assert ended_preflight(before, fleet.operate().status) == ""
    assert run(fleet).status.phase == "Aborted 4"
