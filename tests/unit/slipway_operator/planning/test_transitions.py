"""Pods that drain: what waits for them, by the policy and by whether a transition is under way."""

import pytest

from fleet import Behaviour, Fleet
from fleets_at_rest import run, serving

FRUGAL = {"policy": "ResourcePreserving"}


def live(fleet: Fleet, version: int) -> int:
    return sum(not pod.terminating for pod in fleet.pods_of(version))


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
def test_a_scale_up_does_not_wait_for_the_drains_of_the_scale_down_before_it(policy: str) -> None:
    fleet = serving(serving={"replicas": 4}, transition={"policy": policy})
    fleet.long_drains = {3}
    fleet.edit(serving={"replicas": 1})
    assert live(run(fleet), 3) == 1
    fleet.edit(serving={"replicas": 4})
    assert live(run(fleet), 3) == 4
    assert len(fleet.pods) == 7
    assert fleet.status.transition is None


def test_availability_preserving_waits_for_no_drain() -> None:
    fleet = serving()
    fleet.long_drains = {3}
    fleet.upload(4)
    assert run(fleet).status.serving == "4"
    assert (live(fleet, 3), live(fleet, 4), len(fleet.pods)) == (0, 2, 4)


def test_resource_preserving_waits_for_each_drain() -> None:
    fleet = serving(transition=FRUGAL)
    fleet.long_drains = {3}
    fleet.upload(4)
    assert (live(run(fleet), 3), live(fleet, 4), len(fleet.pods)) == (1, 0, 2)


def test_a_rollback_waits_for_the_drains_of_the_version_it_returns_to() -> None:
    """The version that failed is gone: what is left looks like a scale-up, and is none (T4)."""
    fleet = serving(transition=FRUGAL)
    fleet.upload(4)
    while not (shifted := [pod for pod in fleet.in_rotation() if pod in fleet.pods_of(4)]):
        run(fleet, 1)
    fleet.long_drains = {3}
    run(fleet)
    [new] = shifted
    fleet.behaviours[new.revision] = Behaviour.CRASHING
    fleet.crash(new)
    run(fleet)
    assert fleet.status.versions[0].state == "Failed"
    assert fleet.pods_of(4) == []
    assert (live(fleet, 3), len(fleet.pods)) == (1, 2)
    fleet.long_drains.clear()
    assert live(run(fleet), 3) == 2
    assert fleet.status.transition is None


def test_an_autoscaler_that_touches_one_in_mid_transition_opens_no_gap() -> None:
    fleet = serving(transition=FRUGAL)
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    assert (live(fleet, 3), live(fleet, 4)) == (1, 1)
    assert fleet.status.transition
    assert fleet.status.transition.replicas == 2
    fleet.edit(serving={"replicas": 1})
    for _ in range(20):
        run(fleet, 1)
        assert len(fleet.in_rotation()) == 1
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
    while fleet.status.phase != "Available":
        run(fleet, 1)
        assert fleet.in_rotation()
    assert (fleet.status.serving, fleet.status.transition) == ("4", None)
