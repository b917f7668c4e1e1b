"""Which Deployments grow, shrink and wait while one of them cannot be created, or several are replaced."""

from collections.abc import Callable
from typing import Any

import pytest

from fleet import Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.planning.decision import decide
from slipway_operator.planning.workloads.deployments import deployment_actions

POLICIES = ["AvailabilityPreserving", "ResourcePreserving"]


def live(fleet: Fleet, version: int) -> int:
    return sum(not pod.terminating for pod in fleet.pods_of(version))


def labels_conflict(fleet: Fleet) -> None:
    fleet.selected_by = frozenset({"shop"})


def name_conflict(fleet: Fleet) -> None:
    """The name of what is to come, once it is known, is taken."""
    before = {row.version: row.key for row in fleet.status.versions}
    probe = Fleet(spec=fleet.spec, exports=dict(fleet.exports), behaviours=fleet.behaviours)
    run(probe, 2)
    names = {f"Deployment/{name}" for name in probe.deployments} - {
        f"Deployment/digits-v{version}-{key}" for version, key in before.items()
    }
    fleet.foreign = frozenset(names)


@pytest.mark.parametrize("bar", [labels_conflict, name_conflict])
@pytest.mark.parametrize("policy", POLICIES)
def test_what_serves_follows_the_replicas_while_a_new_version_is_barred(
    policy: str, bar: Callable[[Fleet], None]
) -> None:
    fleet = serving(transition={"policy": policy})
    fleet.upload(4)
    bar(fleet)
    for replicas in (2, 4, 1, 3):
        fleet.edit(serving={"replicas": replicas})
        run(fleet)
        assert (live(fleet, 3), len(fleet.in_rotation())) == (replicas, replicas), bar
    assert (live(fleet, 4), fleet.status.serving) == (0, "3")
    fleet.selected_by = fleet.foreign = frozenset()
    assert run(fleet).status.serving == "4"
    assert (live(fleet, 3), live(fleet, 4)) == (0, 3)


def test_nothing_old_goes_for_a_version_that_is_barred_and_waits_for_its_turn() -> None:
    """A pod of version 4 has no node, so that the turn of the new 3 has not come; the old one stays."""
    fleet = serving(source={"allowMutation": True}, versions={"specific": [3, 4]})
    fleet.upload(4)
    run(fleet)
    fleet.gpus = 3
    fleet.take(fleet.pods_of(4)[0])
    run(fleet)
    fleet.upload(3)
    labels_conflict(fleet)
    run(fleet)
    assert (live(fleet, 3), len(fleet.in_rotation())) == (2, 1)
    assert list(deployment_actions(decide(fleet.observe(), fleet.settings, fleet.now))) == []


@pytest.mark.parametrize("bar", [labels_conflict, name_conflict])
def test_what_is_barred_for_good_is_not_said_to_be_starting(bar: Callable[[Fleet], None]) -> None:
    fleet = serving(versions={"specific": [3]})
    fleet.upload(2)
    fleet.edit(versions={"specific": [2, 3]})
    bar(fleet)
    run(fleet)
    reason = Reason.POD_LABELS_CONFLICT if fleet.selected_by else Reason.NAME_CONFLICT
    assert fleet.status.phase == reason
    row = next(row for row in fleet.status.versions if row.version == 2)
    assert (row.state, row.reason) == ("Unschedulable", reason)
    [degraded] = [c for c in fleet.status.conditions if c.type is ConditionType.DEGRADED]
    assert row.message == degraded.message


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("change", ["export", "spec"])
def test_each_of_several_versions_stays_until_what_replaces_it_is_there(
    change: str, policy: str, replicas: int
) -> None:
    transition = {"policy": policy, "maxSurge": 1}
    fleet = Fleet(gpus=99)
    fleet.edit(
        serving={"replicas": replicas},
        transition=transition,
        source={"allowMutation": True},
        versions={"specific": [8, 9]},
    )
    fleet.upload(8)
    fleet.upload(9)
    run(fleet)
    if change == "export":
        fleet.upload(8)
    else:
        fleet.edit(serving={"image": "registry.test/other:1"})
    missing = 0 if policy == "AvailabilityPreserving" else 1
    for _ in range(60):
        fleet.poll()
        fleet.operate()
        for _ in fleet.turn():
            ready = {v: sum(pod.serves for pod in fleet.pods_of(v)) for v in (8, 9)}
            assert min(ready.values()) >= replicas - missing, ready
            assert sum(ready.values()) >= 2 * replicas - missing, ready
            if policy == "ResourcePreserving":
                assert len(fleet.pods) <= 2 * replicas
    assert (fleet.status.phase, len(fleet.deployments)) == ("Available", 2)


def test_a_version_that_is_no_longer_among_the_highest_stays_until_the_new_one_is_there() -> None:
    fleet = Fleet(gpus=99)
    fleet.edit(versions={"latest": 2})
    fleet.upload(8)
    fleet.upload(9)
    run(fleet)
    fleet.upload(10, Behaviour.HANGING)
    assert (live(run(fleet), 8), live(fleet, 9)) == (2, 2)
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
    assert (live(run(fleet), 8), live(fleet, 9), live(fleet, 10)) == (0, 2, 2)


def test_the_gpu_of_an_evicted_pod_goes_to_its_own_version_and_not_to_the_one_that_waits() -> None:
    fleet = Fleet(gpus=2)
    for version in (1, 2, 3):
        fleet.upload(version)
    fleet.edit(serving={"replicas": 1}, versions={"all": True})
    run(fleet)
    assert (live(fleet, 3), live(fleet, 2), live(fleet, 1)) == (1, 1, 1), "1 waits for room"
    [evicted] = fleet.pods_of(3)
    fleet.take(evicted)
    for name in sorted(fleet.deployments):
        fleet.replicate(name)
    fleet.operate()
    for name in sorted(fleet.deployments):
        fleet.replicate(name)
    fleet.reap(evicted)
    for pod in [pod for pod in fleet.pods.values() if pod.terminating]:
        fleet.reap(pod)
    fleet.schedule()
    [pod] = fleet.pods_of(3)
    assert pod.scheduled_at is not None
    run(fleet)
    assert (live(fleet, 3), live(fleet, 2), live(fleet, 1)) == (1, 1, 1)
    assert fleet.status.serving == "3"


@pytest.mark.parametrize("policy", POLICIES)
def test_more_replicas_in_mid_rollout_are_those_of_the_version_that_serves(policy: str) -> None:
    fleet = serving(transition={"policy": policy, "maxSurge": 1})
    fleet.gpus = 99
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    for replicas in (4, 5, 3):
        fleet.edit(serving={"replicas": replicas})
        run(fleet)
        floor = replicas if policy == "AvailabilityPreserving" else replicas - 1
        assert len(fleet.in_rotation()) == floor
        assert len(fleet.pods) <= replicas + (policy == "AvailabilityPreserving")
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
    run(fleet)
    assert (live(fleet, 3), live(fleet, 4), fleet.status.phase) == (0, 3, "Available")


@pytest.mark.parametrize("policy", POLICIES)
def test_to_zero_in_mid_rollout_and_back(policy: str) -> None:
    edits: Any = {"transition": {"policy": policy}}
    fleet = serving(**edits)
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    fleet.edit(serving={"replicas": 0})
    run(fleet)
    assert (len(fleet.pods), fleet.status.phase) == (0, "ScaledToZero")
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
    fleet.edit(serving={"replicas": 2})
    run(fleet)
    assert (fleet.status.serving, len(fleet.in_rotation())) == ("4", 2)
