"""Histories that once broke an invariant, each as short as it gets."""

from typing import Any

from fleet import BROKEN_IMAGE, Behaviour, Fleet
from histories import History
from slipway_operator.api.names import SELECTS_LABEL
from slipway_operator.api.status import VersionState
from slipway_operator.model.observed import Container, ContainerState
from slipway_operator.planning.plan import plan
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, deployment, listed, model, observed, pods, row, service

AT_ONCE = {"policy": "AvailabilityPreserving", "maxSurge": "100%"}


def serving(*, calm: bool = True, **edits: Any) -> History:
    fleet = Fleet()
    fleet.upload(1)
    fleet.edit(**edits)
    return History(fleet, calm=calm)


def selects(world: History) -> str:
    labels = world.fleet.services["digits"].manifest["metadata"]["labels"]
    return str(labels[SELECTS_LABEL]).partition("-")[0]


def until_name_is_flipped(world: History) -> None:
    """Stop right after the write: the EndpointSlice controller has not seen it."""
    before = selects(world)
    for _ in range(40):
        world.fleet.poll()
        world.operate()
        if selects(world) != before:
            return
        for _ in world.fleet.turn():
            world.check_instant()
    raise AssertionError("NAME was not flipped")


def test_the_old_version_outlives_the_moment_in_which_name_has_just_been_flipped() -> None:
    """Its slices still show the old pods; only the new ones are coming."""
    world = serving(transition=AT_ONCE)
    world.fleet.upload(2)
    until_name_is_flipped(world)
    world.operate()
    world.recover()


def test_the_rotation_label_stays_until_name_no_longer_follows_it() -> None:
    """The EndpointSlice controller may learn of a pod's labels before it learns of the Service's."""
    world = serving(transition={"policy": "AvailabilityPreserving", "maxSurge": 1})
    world.fleet.upload(2)
    until_name_is_flipped(world)
    assert selects(world) == "rotation"
    until_name_is_flipped(world)
    assert selects(world) == "v2"
    world.operate()
    for uid in list(world.fleet.pods):
        world.fleet.notice(uid)
    world.fleet.publish("digits")
    world.check_instant()
    world.recover()


def test_what_name_was_just_flipped_to_is_not_taken_away_for_a_newer_version() -> None:
    """The slices show the version before, but they are about to be computed anew."""
    world = serving(transition=AT_ONCE)
    world.fleet.upload(2)
    until_name_is_flipped(world)
    world.fleet.upload(3)
    world.fleet.poll()
    world.operate()
    for name in ("digits-v1", "digits-v2"):
        [found] = [d for d in world.fleet.deployments.values() if d.name.startswith(name)]
        assert found.replicas == 2, name
    world.recover()


def test_a_service_that_was_deleted_comes_back_where_the_ready_pods_are() -> None:
    world = serving(calm=False)
    world.fleet.upload(2)
    del world.fleet.services["digits"], world.fleet.slices["digits"]
    world.fleet.poll()
    world.operate()
    assert selects(world) == "v1"
    world.recover()


def test_two_changes_of_the_spec_in_a_row_that_fail_end_with_what_served() -> None:
    """The planner once went from one failed key to the other and back for ever."""
    world = serving(serving={"replicas": 2, "image": BROKEN_IMAGE}, calm=False)
    world.fleet.edit(serving={"env": [{"name": "A", "value": "b"}]})
    world.come_to_rest()
    world.wait()
    assert world.fleet.status.phase == "Failed 1"
    world.recover()


def test_a_proven_version_that_keeps_crashing_does_not_wake_the_operator_every_second() -> None:
    world = serving(calm=False)
    pod = next(iter(world.fleet.pods.values()))
    world.fleet.behaviours[pod.revision] = Behaviour.HANGING
    world.fleet.crash(pod)
    world.come_to_rest()
    assert world.fleet.plan().requeue is None
    world.wait()


def test_the_only_pod_comes_back_when_a_version_fails_that_was_asked_for_by_number() -> None:
    """ResourcePreserving, one replica: version 1 is not selected, and has no pod, when 2 fails."""
    world = serving(
        serving={"replicas": 1}, transition={"policy": "ResourcePreserving"}, calm=False
    )
    world.fleet.upload(2, Behaviour.CORRUPT)
    world.fleet.edit(versions={"specific": [2]})
    world.come_to_rest()
    assert world.fleet.status.serving == "1"
    assert "version 2: LoadFailed" in world.fleet.status.message


def test_a_version_that_served_is_not_taken_away_because_the_operator_has_just_started() -> None:
    world = serving()
    world.fleet.upload(2)
    until_name_is_flipped(world)
    world.fleet.restart_operator()
    world.operate()
    world.recover()


def test_a_half_done_change_is_gone_on_with_after_a_restart() -> None:
    """T8: an upgrade of the operator restarts no pod."""
    world = serving()
    world.fleet.edit(serving={"image": "registry.test/other:1"})
    for _ in range(3):
        world.fleet.poll()
        world.operate()
        for _ in world.fleet.turn():
            world.check_instant()
    begun = {name: d.replicas for name, d in world.fleet.deployments.items()}
    assert len(begun) == 2
    world.fleet.restart_operator()
    world.operate()
    for name, found in world.fleet.deployments.items():
        assert found.replicas >= begun[name]


def test_the_way_back_is_not_judged() -> None:
    """Both the old inputs and the new ones have a pod that crashes: there is still one to serve."""
    rows = [row(3, VersionState.LOADING)]
    of = model(rows)
    before, after = deployment(of, 3, rendered="0ld0ld00"), deployment(of, 3, 1)
    crashed = Container(ContainerState.WAITING, restarts=3, exit_code=139)
    state = observed(
        of,
        source=listed(3),
        deployments=(before, after),
        pods=(
            *pods(before, 1),
            *pods(before, 1, first=1, ready=False, server=crashed),
            *pods(after, 1, ready=False, server=crashed),
        ),
        services=service(of, before.servable),
    )
    status = plan(state, RenderSettings("server:1", "sync:1"), T0).status
    assert (status.versions[0].key, status.versions[0].failed_key) == (before.key, after.key)


def test_the_target_falls_back_when_an_export_is_deleted_before_it_was_loaded() -> None:
    """Its pod cannot be scheduled, so no deadline would end the wait either."""
    world = serving(calm=False)
    world.fleet.gpus = 2
    world.fleet.upload(2)
    world.come_to_rest()
    assert (world.fleet.status.target, world.fleet.status.phase) == (
        "2",
        "WaitingForGPU: 0/1 nodes have 1 more nvidia.com/gpu",
    )
    world.fleet.hidden.add(2)
    world.come_to_rest()
    assert (world.fleet.status.target, world.fleet.status.phase) == ("1", "Available")
    assert world.fleet.pods_of(2) == []


def test_the_good_version_beside_a_deleted_export_is_started_where_nothing_serves() -> None:
    fleet = Fleet()
    fleet.upload(1)
    fleet.upload(2, Behaviour.HANGING)
    world = History(fleet)
    assert fleet.status.target == "2"
    fleet.hidden.add(2)
    world.come_to_rest()
    assert (fleet.status.serving, fleet.status.phase) == ("1", "Available")


def test_a_version_that_failed_has_failed_again_when_the_spec_is_changed_and_changed_back() -> None:
    """In between it was tried, and so was no longer called failed: the poll then looked for no other."""
    world = serving(calm=False)
    world.fleet.upload(2, Behaviour.CORRUPT)
    world.come_to_rest()
    for image in ("registry.test/other:1", ""):
        world.fleet.edit(serving={"image": image})
        world.fleet.poll()
        world.operate()
    world.come_to_rest()
    [row] = [row for row in world.fleet.status.versions if row.version == 2]
    assert (row.state, world.fleet.status.phase) == (VersionState.FAILED, "RolledBack from 2")
    assert "slipway.dev/retry" in row.message
    world.recover()
