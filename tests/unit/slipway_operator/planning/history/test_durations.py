"""What metrics tell of what has ended."""

from datetime import timedelta

from fleet import Fleet
from fleets_at_rest import run, serving
from slipway_operator.planning.history.durations import (
    PodDurations,
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
