"""spec.transition.whenUnschedulable: what becomes of a transition whose new pods find no room."""

from datetime import timedelta
from typing import Any

import pytest

from fleet import NO_ROOM, Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.conditions import EventReason, Reason
from slipway_operator.api.status import ModelStatus, VersionState, VersionStatus
from slipway_operator.model.actions import KubernetesEvent
from slipway_operator.planning.capacity.unschedulable import way_taken

AFTER = timedelta(seconds=10)


def full(then: str, *, replicas: int = 2, **transition: Any) -> Fleet:
    """Version 3 has all GPUs, and version 4 none."""
    policy = {"whenUnschedulable": {"after": "10s", "then": then}, **transition}
    fleet = serving(serving={"replicas": replicas}, transition=policy)
    fleet.gpus = replicas
    fleet.upload(4)
    return run(fleet)


def row(fleet: Fleet, version: int) -> VersionStatus:
    return next(row for row in fleet.status.versions if row.version == version)


def events(fleet: Fleet, rounds: int = 40) -> list[KubernetesEvent]:
    told: list[KubernetesEvent] = []
    for _ in range(rounds):
        fleet.poll()
        told += fleet.operate().events
        list(fleet.turn())
    return told


def live(fleet: Fleet, version: int) -> int:
    return sum(not pod.terminating for pod in fleet.pods_of(version))


def test_by_default_it_waits() -> None:
    policy = Fleet().model.spec.transition.when_unschedulable
    assert (policy.after, policy.then) == ("2m", "Wait")
    fleet = full("Wait")
    assert fleet.plan().requeue is None
    before = fleet.status
    fleet.now += timedelta(days=1)
    assert run(fleet).status == before
    assert (live(fleet, 3), live(fleet, 4)) == (2, 1)


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("surge", [1, "100%"])
def test_it_goes_on_without_extra_pods_when_its_time_is_over(replicas: int, surge: Any) -> None:
    fleet = full("ResourcePreserving", replicas=replicas, maxSurge=surge)
    assert fleet.status.phase == "WaitingForGPU: 0/1 nodes have 1 more nvidia.com/gpu"
    assert fleet.plan().requeue == AFTER
    fleet.now += AFTER - timedelta(seconds=1)
    assert live(run(fleet), 3) == replicas
    fleet.now += timedelta(seconds=1)
    told = []
    least = replicas
    for _ in range(60):
        told += fleet.operate().events
        list(fleet.turn())
        least = min(least, len(fleet.in_rotation()))
        assert sum(pod.scheduled_at is not None for pod in fleet.pods.values()) <= replicas
    assert (fleet.status.phase, fleet.status.serving) == ("Available", "4")
    assert least == (replicas - 1 if replicas > 1 else 0)
    [event] = [e for e in told if e.reason == EventReason.TRANSITION_FALLBACK]
    assert event.message == (
        "version 4 had no room for 10s (spec.transition.whenUnschedulable): this transition continues "
        "without extra pods, so that an old pod goes before a new one comes"
    )
    assert fleet.status.transition is None, "the next one is the policy's again"
    fleet.gpus = 9
    fleet.upload(5, Behaviour.HANGING)
    assert (live(run(fleet), 4), fleet.status.serving) == (replicas, "4")


def test_row_message_and_status_say_that_it_goes_on_otherwise() -> None:
    fleet = full("ResourcePreserving")
    fleet.now += AFTER
    fleet.operate()
    transition = fleet.status.transition
    assert transition
    assert transition.fallback == "ResourcePreserving"
    assert way_taken(transition, row(fleet, 4)) == "ResourcePreserving"
    assert row(fleet, 4).message == f"{NO_ROOM}; {transition.message}"
    assert transition.message in fleet.status.message
    fleet.long_drains = {3}
    run(fleet)
    assert transition.message in row(fleet, 4).message
    assert transition.message in fleet.status.message


def test_the_next_pod_waits_until_the_old_one_is_gone() -> None:
    """A pod that shuts down has its GPU until its object is gone, and that is no time without room."""
    fleet = full("ResourcePreserving")
    fleet.long_drains = {3}
    fleet.now += AFTER
    run(fleet)
    for _ in range(5):
        fleet.now += AFTER
        assert (live(run(fleet), 3), live(fleet, 4), len(fleet.pods)) == (1, 1, 3)
        assert all(pod.scheduled_at is None for pod in fleet.pods_of(4))
        assert fleet.status.phase == "Draining 3"
    fleet.long_drains = set()
    assert run(fleet).status.serving == "4"


def test_a_drain_longer_than_the_time_is_no_want_of_room() -> None:
    fleet = serving(transition={"whenUnschedulable": {"after": "10s", "then": "Abort"}})
    fleet.gpus = 3
    fleet.long_drains = {3}
    fleet.upload(4)
    run(fleet)
    fleet.now += timedelta(minutes=5)
    run(fleet)
    assert row(fleet, 4).failed_key == ""
    fleet.long_drains = set()
    # All old pods go at once, before the scheduler looks again.
    for pod in [pod for pod in fleet.pods.values() if pod.terminating]:
        fleet.reap(pod)
    fleet.operate()
    assert row(fleet, 4).failed_key == ""
    assert run(fleet).status.serving == "4"


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_it_is_given_up_when_its_time_is_over(policy: str, replicas: int) -> None:
    fleet = serving(
        serving={"replicas": replicas},
        transition={"policy": policy, "whenUnschedulable": {"after": "10s", "then": "Abort"}},
    )
    fleet.upload(4)
    fleet.gpus = replicas if policy == "AvailabilityPreserving" else replicas - 1
    run(fleet)
    fleet.now += AFTER
    told = events(fleet)
    fleet.gpus = replicas
    run(fleet)
    assert (live(fleet, 3), live(fleet, 4), fleet.status.serving) == (replicas, 0, "3")
    assert fleet.status.phase == "RolledBack from 4"
    found = row(fleet, 4)
    why = f"given up after no room for 10s (spec.transition.whenUnschedulable): {NO_ROOM}"
    assert (found.state, found.reason, found.message) == (
        VersionState.FAILED,
        Reason.UNSCHEDULABLE_TOO_LONG,
        why,
    )
    assert KubernetesEvent(EventReason.VERSION_FAILED, f"version 4: {why}", warning=True) in told
    assert way_taken(None, found) == "Abort"
    fleet.gpus = 9
    fleet.now += timedelta(days=1)
    assert run(fleet).status.serving == "3", "it is not tried again by itself"
    fleet.upload(4)
    assert run(fleet).status.serving == "4"


def test_a_changed_spec_without_room_is_given_up_and_what_serves_goes_on() -> None:
    fleet = full("Abort")
    fleet.exports.pop(4)
    run(fleet)
    fleet.edit(serving={"image": "registry.test/other:1"})
    run(fleet)
    fleet.now += AFTER
    run(fleet)
    assert (live(fleet, 3), fleet.status.serving, len(fleet.pods)) == (2, "3", 2)
    assert "UnschedulableTooLong: given up after" in row(fleet, 3).message
    assert way_taken(None, row(fleet, 3)) == "Abort"


def test_that_a_spec_was_given_up_stays_known_when_its_row_says_something_else() -> None:
    fleet = full("Abort")
    fleet.exports.pop(4)
    run(fleet)
    fleet.edit(serving={"image": "registry.test/other:1"})
    run(fleet)
    fleet.now += AFTER
    run(fleet)
    fleet.crash(fleet.pods_of(3)[0])
    fleet.operate()
    assert row(fleet, 3).reason != Reason.ROLLED_BACK
    assert way_taken(None, row(fleet, 3)) == "Abort"


def test_the_clock_survives_the_operator() -> None:
    fleet = full("ResourcePreserving")
    fleet.now += timedelta(seconds=7)
    fleet.restart_operator()
    fleet.status = ModelStatus.model_validate(fleet.status.as_manifest())
    assert run(fleet).plan().requeue == timedelta(seconds=3)


def test_an_operator_that_is_killed_between_decision_and_action_still_acts() -> None:
    fleet = full("ResourcePreserving")
    fleet.now += AFTER
    fleet.write_status(fleet.plan())
    fleet.restart_operator()
    fleet.now += 9 * AFTER
    assert run(fleet).status.serving == "4"
    assert row(fleet, 4).failed_key == ""


def test_an_edit_of_what_to_do_takes_effect_at_once() -> None:
    fleet = full("ResourcePreserving")
    fleet.long_drains = {3}
    fleet.now += AFTER
    run(fleet)
    assert live(fleet, 3) == 1
    fleet.edit(transition={"whenUnschedulable": {"then": "Wait"}})
    fleet.operate()
    assert fleet.status.transition
    assert fleet.status.transition.fallback == ""


def test_without_extra_pods_there_is_no_room_either() -> None:
    """Another tenant takes the GPU that the old pod gave back: what served has the next one."""
    fleet = full("ResourcePreserving")
    fleet.gpus = 1
    fleet.now += AFTER
    run(fleet)
    assert (live(fleet, 3), len(fleet.in_rotation())) == (1, 1)
    fleet.now += AFTER
    run(fleet)
    assert row(fleet, 4).reason == Reason.UNSCHEDULABLE_TOO_LONG
    fleet.gpus = 2
    run(fleet)
    assert (live(fleet, 3), len(fleet.in_rotation()), fleet.status.serving) == (2, 2, "3")


def test_old_pods_do_not_go_for_what_they_could_not_give_back() -> None:
    fleet = full("ResourcePreserving")
    sentence = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    fleet.no_room = sentence
    fleet.operate()
    assert fleet.plan().requeue is None
    fleet.now += 9 * AFTER
    assert live(run(fleet), 3) == 2
    assert fleet.status.phase == "Unschedulable"


def test_the_first_version_of_a_model_is_not_given_up() -> None:
    fleet = Fleet(gpus=0)
    fleet.edit(transition={"whenUnschedulable": {"after": "10s", "then": "Abort"}})
    fleet.upload(1)
    run(fleet)
    fleet.now += 9 * AFTER
    assert live(run(fleet), 1) == 2
    fleet.gpus = 9
    assert run(fleet).status.serving == "1"


def test_nothing_is_given_up_while_paused() -> None:
    fleet = full("Abort")
    fleet.edit(paused=True)
    fleet.now += 9 * AFTER
    run(fleet)
    fleet.edit(paused=False)
    run(fleet, 1)
    assert row(fleet, 4).failed_key == ""


def stepped(replicas: int, then: str = "ResourcePreserving", **transition: Any) -> Fleet:
    """The canary of version 4 has no room beside version 3."""
    fleet = serving(
        serving={"replicas": replicas},
        rollout={"steps": [{"weight": 10, "pause": {}}]},
        transition={"whenUnschedulable": {"after": "10s", "then": then}, **transition},
    )
    fleet.gpus = replicas
    fleet.upload(4)
    return run(fleet)


def test_a_canary_that_has_no_room_without_extra_pods_either_is_given_up() -> None:
    """The step leaves more old pods than the policy would."""
    fleet = stepped(10, maxUnavailable="50%")
    fleet.gpus = 9
    fleet.now += AFTER
    run(fleet)
    assert (live(fleet, 3), len(fleet.in_rotation())) == (9, 9)
    assert fleet.plan().requeue == AFTER
    fleet.now += AFTER
    run(fleet)
    assert row(fleet, 4).reason == Reason.UNSCHEDULABLE_TOO_LONG
    fleet.gpus = 10
    assert (live(run(fleet), 3), fleet.status.serving) == (10, "3")


def test_the_only_pod_does_not_go_for_a_canary() -> None:
    """Without an extra pod there would be none of the canary: it goes on to wait, and says so."""
    fleet = stepped(1)
    for _ in range(3):
        fleet.now += AFTER
        run(fleet)
        assert (live(fleet, 3), live(fleet, 4)) == (1, 1)
        assert fleet.status.transition
        assert fleet.status.transition.fallback == ""
        assert fleet.status.phase == "WaitingForGPU: 0/1 nodes have 1 more nvidia.com/gpu"
    assert row(fleet, 4).message == (
        f"{NO_ROOM}; one replica cannot be shared by two versions without an extra pod, so that "
        "spec.transition.whenUnschedulable has no effect: free hardware, or replace it at once with kubectl "
        "annotate model digits slipway.dev/promote=4 --overwrite"
    )
    fleet.gpus = 2
    assert len(run(fleet).in_rotation()) == 2
    assert "free hardware" not in row(fleet, 4).message


def test_who_promotes_a_canary_without_room_has_the_only_pod_replaced() -> None:
    fleet = stepped(1)
    fleet.now += AFTER
    run(fleet)
    fleet.annotations["slipway.dev/promote"] = "4"
    assert run(fleet).status.serving == "4"
    assert fleet.status.phase == "Available"
