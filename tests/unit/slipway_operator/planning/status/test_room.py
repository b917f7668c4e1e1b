"""More versions are asked for than there is room for: how many are started, and what is said."""

from typing import Any

import pytest

from fleet import EXCEEDED, NO_ROOM, Fleet
from fleets_at_rest import run
from histories import History
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.status import Condition, VersionState
from slipway_operator.model.actions import KubernetesEvent
from slipway_operator.planning.decision import decide
from slipway_operator.planning.status.room import waiting_for_room

ONE_EACH: dict[str, Any] = {"serving": {"replicas": 1}}


def exports(count: int, *, gpus: int, **edits: Any) -> Fleet:
    fleet = Fleet(gpus=gpus)
    for version in range(1, count + 1):
        fleet.upload(version)
    fleet.edit(**({"versions": {"all": True}} | ONE_EACH | edits))
    return fleet


def told(fleet: Fleet, rounds: int) -> list[KubernetesEvent]:
    """Every Event while everything happens that happens by itself."""
    events = []
    for _ in range(rounds):
        fleet.poll()
        events += fleet.operate().events
        for _ in fleet.turn():
            events += fleet.operate().events
    return events


def condition(fleet: Fleet, kind: ConditionType) -> Condition:
    return next(c for c in fleet.status.conditions if c.type is kind)


def test_as_many_versions_are_started_as_there_is_room_for() -> None:
    fleet = run(exports(12, gpus=4), 12)
    begun = sorted(int(d.labels["slipway.dev/version"]) for d in fleet.deployments.values())
    assert begun == [8, 9, 10, 11, 12], "four that have room, and one that shows there is no more"
    assert sum(pod.serves for pod in fleet.pods.values()) == 4
    fleet.gpus = 6
    run(fleet, 8)
    assert len(fleet.deployments) == 7
    fleet.gpus = 12
    run(fleet, 16)
    assert (fleet.status.phase, fleet.status.ready) == ("Available", "12/12")


def test_everything_that_a_person_reads_says_how_many_wait() -> None:
    fleet = run(exports(60, gpus=4), 12)
    waits = (
        f"56 of 60 versions wait for room: version 56: {NO_ROOM}: "
        "free hardware, or ask for fewer in spec.versions"
    )
    status = fleet.status
    assert (status.serving, status.ready) == ("60", "4/60")
    assert status.phase == "WaitingForGPU: 56 of 60 versions"
    assert status.message == waits
    for kind, value in ((ConditionType.READY, "False"), (ConditionType.DEGRADED, "True")):
        found = condition(fleet, kind)
        assert (found.status, found.reason, found.message) == (value, Reason.UNSCHEDULABLE, waits)
    progress = condition(fleet, ConditionType.PROGRESSING)
    assert (progress.status, progress.message) == ("True", "4 of 60 versions have been started")
    states = {row.version: row.state for row in status.versions}
    assert {states[n] for n in range(57, 61)} == {VersionState.AVAILABLE}
    assert {states[n] for n in range(1, 57)} == {VersionState.UNSCHEDULABLE}
    assert status.versions[-1].message == "it is started when the pods of version 56 have room"


def test_one_event_tells_of_all_that_wait() -> None:
    fleet = exports(12, gpus=3)
    [event] = [event for event in told(fleet, 6) if event.warning]
    assert event.reason == "VersionUnschedulable"
    assert event.message.startswith("9 of 12 versions wait for room: version 9: ")
    fleet.gpus = 4
    [event] = [event for event in told(fleet, 3) if event.warning]
    assert event.message.startswith("8 of 12 versions wait for room: version 8: ")


def test_a_newer_version_does_not_wait_for_those_before_it() -> None:
    fleet = run(exports(5, gpus=2))
    fleet.upload(6)
    run(fleet)
    assert fleet.status.target == "6"
    assert len(fleet.pods_of(6)) == 1
    assert fleet.status.phase == "WaitingForGPU: 4 of 6 versions"
    assert fleet.status.serving == "5"


def test_ready_stays_false_when_a_newer_version_comes_for_which_there_is_no_room_either() -> None:
    fleet = run(exports(8, gpus=4), 30)
    ready = condition(fleet, ConditionType.READY)
    assert (ready.status, ready.message[:28]) == ("False", "4 of 8 versions wait for roo")
    fleet.upload(9)
    for _ in range(20):
        run(fleet, 1)
        ready = condition(fleet, ConditionType.READY)
        assert (ready.status, ready.reason) == ("False", Reason.UNSCHEDULABLE)
    assert ready.message.startswith("5 of 9 versions wait for room: version 9: ")


def test_a_target_without_room_is_a_transition_while_all_others_serve() -> None:
    fleet = run(exports(2, gpus=2), 30)
    fleet.upload(3)
    run(fleet)
    ready = condition(fleet, ConditionType.READY)
    assert (ready.status, ready.reason) == ("True", Reason.TRANSITION)


def test_the_first_of_several_versions_has_no_room() -> None:
    fleet = run(exports(3, gpus=0))
    assert len(fleet.deployments) == 1
    assert fleet.status.phase == "WaitingForGPU: 3 of 3 versions"
    assert fleet.status.message.startswith("3 of 3 versions wait for room: version 3: ")
    decision = decide(fleet.observe(), fleet.settings, fleet.now)
    assert waiting_for_room(decision) == (3, 2, 1)


def test_versions_on_their_way_are_not_called_available() -> None:
    fleet = exports(3, gpus=8)
    seen = []
    for _ in range(12):
        run(fleet, 1)
        seen.append(fleet.status.phase)
        if fleet.status.phase == "Available":
            assert fleet.status.ready == "3/3"
    assert "Starting 1/3 versions" in seen
    assert seen[-1] == "Available"


def test_a_lost_pod_of_another_version_than_the_target_is_told() -> None:
    fleet = run(exports(2, gpus=8))
    [pod] = fleet.pods_of(1)
    fleet.crash(pod)
    fleet.operate()
    assert fleet.status.phase == "Degraded 1/2"
    ready = condition(fleet, ConditionType.READY)
    assert ready.message.startswith("1 of 2 versions serve with all their replicas; version 1: ")


def test_a_quota_that_leaves_no_room_is_told() -> None:
    fleet = exports(5, gpus=9)
    fleet.quota = 2
    [event] = [event for event in told(fleet, 12) if event.warning]
    waits = (
        f"3 of 5 versions wait for room: version 3: a pod cannot be created: {EXCEEDED}: "
        "raise the quota, or ask for fewer in spec.versions"
    )
    assert (event.reason, event.message) == ("VersionUnschedulable", waits)
    assert (fleet.status.phase, fleet.status.message) == ("Unschedulable: 3 of 5 versions", waits)
    assert condition(fleet, ConditionType.READY).status == "False"
    fleet.quota = None
    run(fleet)
    assert (fleet.status.phase, fleet.status.message) == ("Available", "")


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
def test_a_transition_under_a_quota_warns_only_where_it_cannot_go_on(policy: str) -> None:
    fleet = exports(1, gpus=9, transition={"policy": policy})
    fleet.quota = 1
    run(fleet)
    fleet.upload(2)
    fleet.edit(versions={"latest": 1})
    warned = [event.message for event in told(fleet, 12) if event.warning]
    if policy == "ResourcePreserving":
        assert fleet.status.phase == "Available"
        assert not any("quota" in message for message in warned)
    else:
        assert fleet.status.serving == "1"
        assert warned == [f"version 2: a pod cannot be created: {EXCEEDED}"]
        assert fleet.status.phase == "Unschedulable"
        fleet.quota = 2
        run(fleet)
        assert (fleet.status.phase, fleet.status.serving) == ("Available", "2")


def test_pods_that_shut_down_give_their_part_of_a_quota_back() -> None:
    fleet = exports(1, gpus=9, versions={"latest": 1})
    fleet.quota = 2
    run(fleet)
    fleet.long_drains = {1}
    fleet.upload(2)
    run(fleet)
    fleet.upload(3)
    assert [event for event in told(fleet, 12) if event.warning] == []
    assert fleet.status.serving == "2"
    [refused] = {d.refused for d in fleet.deployments.values() if d.refused}
    row = next(row for row in fleet.status.versions if row.version == 3)
    assert row.message.endswith(f"pods that shut down: a pod cannot be created: {refused}")
    fleet.long_drains = set()
    run(fleet)
    assert (fleet.status.phase, fleet.status.serving) == ("Available", "3")


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
def test_a_change_of_all_versions_ends_although_there_is_room_for_few(policy: str) -> None:
    fleet = exports(4, gpus=2, transition={"policy": policy, "maxSurge": 1})
    world = History(fleet)
    fleet.edit(serving={"image": "registry.test/other:1"})
    world.come_to_rest()
    serving = [pod for pod in fleet.pods.values() if pod.serves]
    if policy == "ResourcePreserving":
        assert {pod.image for pod in serving} == {"registry.test/other:1"}
        assert len(serving) == 2
    assert fleet.in_rotation()
    world.recover()
    assert fleet.status.phase == "Available"


def test_a_version_that_was_available_and_has_no_room_any_more_is_not_starting() -> None:
    fleet = exports(1, gpus=9, versions={"latest": 1})
    run(fleet)
    fleet.long_drains = {1}
    fleet.upload(2)
    run(fleet)
    fleet.gpus = 0
    [pod] = fleet.pods_of(2)
    fleet.take(pod)
    run(fleet, 3)
    assert fleet.status.phase == "WaitingForGPU: 0/1 nodes have 1 more nvidia.com/gpu"


@pytest.mark.parametrize("several", [False, True])
def test_pods_that_are_not_admitted_wait_for_no_room(*, several: bool) -> None:
    fleet = exports(1, gpus=9, versions={"all": True} if several else {"latest": 1})
    fleet.quota = 1
    fleet.refusal = (
        'pods "digits-x" is forbidden: violates PodSecurity "restricted:latest": hostNetwork'
    )
    fleet.edit(transition={"whenUnschedulable": {"after": "1s", "then": "ResourcePreserving"}})
    run(fleet)
    fleet.upload(2)
    [event] = [event for event in told(fleet, 12) if event.warning]
    assert event.message == f"version 2: a pod cannot be created: {fleet.refusal}"
    assert fleet.status.phase == Reason.POD_SECURITY_VIOLATION
    assert fleet.status.message == (
        f"version 2: PodSecurityViolation: a pod cannot be created: {fleet.refusal}"
    )
    assert fleet.plan().requeue is None, "no old pod would help"
    assert fleet.status.serving == "1"
