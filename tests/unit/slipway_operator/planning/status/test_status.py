"""What a person sees, by example: the columns of `kubectl get models` and the conditions."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fleet import BROKEN_IMAGE, NO_ROOM, Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.names import SELECTS_ROTATION
from slipway_operator.api.status import ModelStatus, VersionState
from slipway_operator.model.observed import Container, ContainerState, Observed, SyncProgress
from slipway_operator.planning.plan import plan
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, deployment, listed, model, observed, pods, service, uids

SETTINGS = RenderSettings("server:1", "sync:1")


def status_of(state: Observed) -> ModelStatus:
    return plan(state, SETTINGS, T0).status


def columns(status: ModelStatus) -> str:
    """A line of `kubectl get models`, without name and age."""
    ready = next(c.status for c in status.conditions if c.type is ConditionType.READY)
    return f"{ready} | {status.serving} | {status.target} | {status.phase} | {status.ready}"


def condition(status: ModelStatus, kind: ConditionType) -> tuple[str, str]:
    return next((c.status, c.reason) for c in status.conditions if c.type is kind)


# Design, section 2: the lines that people were promised. -------------------------------------------


def test_all_is_well() -> None:
    status = serving().status
    assert columns(status) == "True | 3 | 3 | Available | 2/2"
    assert status.message == ""
    assert condition(status, ConditionType.DEGRADED) == ("False", Reason.AS_DESIRED)
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.AS_DESIRED)
    assert condition(status, ConditionType.SOURCE_READY) == ("True", Reason.LISTED)
    assert status.conditions[-1].type is ConditionType.READY
    assert status.url == "http://digits.ml.svc:8501/v1/models/digits"


MODEL = model()
V3, V4 = deployment(MODEL, 3), deployment(MODEL, 4, 1)
OLD = pods(V3)


def shifting(*new: Any, selects: str = V3.servable, old: tuple[Any, ...] = OLD) -> Observed:
    there = (*old, *new)
    shown = [p for p in there if p.ready and (selects in (SELECTS_ROTATION, p.servable))]
    return observed(
        MODEL,
        source=listed(3, 4),
        deployments=(V3, V4),
        pods=there,
        services=service(MODEL, selects),
        endpoints={"digits": uids(*shown)},
    )


def test_bytes_are_moving() -> None:
    [pod] = pods(
        V4,
        1,
        ready=False,
        sync=Container(ContainerState.RUNNING),
        progress=SyncProgress(1_240_000_000, 2_000_000_000, 124, 200, 180_000_000),
    )
    status = status_of(shifting(pod))
    phase = "Syncing 62% 1.2/2.0 GB 124/200 files 180 MB/s"
    assert columns(status) == f"True | 3 | 4 | {phase} | 2/2"
    assert status.message == "", "the phase says it all"
    assert next(c.message for c in status.conditions if c.type is ConditionType.PROGRESSING) == (
        f"version 4: {phase}"
    )
    assert condition(status, ConditionType.PROGRESSING) == ("True", Reason.TRANSITION)
    unknown = status_of(shifting(replace(pod, progress=None)))
    assert unknown.phase == "Syncing"
    standing = replace(pod, progress=SyncProgress(0, 900, 0, 3))
    assert status_of(shifting(standing)).phase == "Syncing 0% 0/900 B 0/3 files"
    other = replace(pod, name="other", uid="other")
    assert status_of(shifting(pod, other)).phase == (
        "Syncing 62% 2.5/4.0 GB 248/400 files 360 MB/s in 2 pods"
    )


def test_there_is_no_gpu_for_the_new_version() -> None:
    fleet = serving()
    fleet.gpus = 2
    fleet.upload(4)
    status = run(fleet).status
    assert (
        columns(status)
        == "True | 3 | 4 | WaitingForGPU: 0/1 nodes have 1 more nvidia.com/gpu | 2/2"
    )
    assert NO_ROOM in status.message
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.UNSCHEDULABLE)


def test_a_new_pod_that_waits_for_the_gpu_of_one_that_drains_is_no_trouble() -> None:
    fleet = serving()
    fleet.gpus = 3
    fleet.long_drains = {3}
    fleet.upload(4)
    status = run(fleet).status
    assert columns(status) == "True | 3 50%, 4 50% | 4 | Shifting 1/2 | 2/2"
    assert "waits for the hardware of pods that shut down: 0/1 nodes" in status.message
    assert condition(status, ConditionType.DEGRADED) == ("False", Reason.AS_DESIRED)
    fleet.gpus = 2  # and one is taken by others
    fleet.long_drains.clear()
    assert run(fleet).status.phase == "WaitingForGPU: 0/1 nodes have 1 more nvidia.com/gpu"


@pytest.mark.parametrize(
    ("sentence", "limits", "phase"),
    [
        ("1 Insufficient nvidia.com/mig-1g.10gb.", "nvidia.com/mig-1g.10gb", "WaitingForGPU"),
        ("1 node(s) had untolerated taint {nvidia.com/gpu: present}.", "cpu", "Unschedulable"),
        ("1 Insufficient cpu.", "nvidia.com/gpu", "Unschedulable"),
    ],
)
def test_the_phase_names_a_gpu_only_where_the_pod_asks_for_one(
    sentence: str, limits: str, phase: str
) -> None:
    unplaced = {"ready": False, "scheduled_at": None, "unschedulable": f"0/1 nodes: {sentence}"}
    [pod] = pods(V4, 1, requests={limits: "1"}, **unplaced)
    status = status_of(shifting(pod))
    assert status.phase == phase
    assert sentence in status.message


def test_a_pod_whose_containers_are_being_created_neither_syncs_nor_loads() -> None:
    [placed] = pods(V4, 1, ready=False)
    assert status_of(shifting(placed)).phase == "Starting"
    syncing = replace(placed, sync=Container(ContainerState.RUNNING))
    assert status_of(shifting(syncing)).phase == "Syncing"
    again = replace(placed, sync=Container(ContainerState.WAITING, exit_code=75))
    assert status_of(shifting(again)).phase == "Syncing"
    synced = replace(placed, sync=Container(ContainerState.TERMINATED, exit_code=0))
    assert status_of(shifting(synced)).phase == "Loading 0/2"


def test_what_carries_all_traffic_is_not_draining() -> None:
    fleet = serving()
    fleet.upload(4, Behaviour.HANGING)
    assert [(r.version, r.state, r.weight) for r in run(fleet).status.versions] == [
        (4, VersionState.LOADING, 0),
        (3, VersionState.AVAILABLE, 100),
    ]


def test_a_scale_up_is_not_trouble() -> None:
    fleet = serving()
    fleet.edit(serving={"replicas": 4})
    fleet.operate()
    assert columns(fleet.status) == "False | 3 | 3 | Scaling 2/4 | 2/4"
    list(fleet.turn())
    fleet.operate()
    assert fleet.status.phase == "Scaling 2/4"
    assert columns(run(fleet).status) == "True | 3 | 3 | Available | 4/4"
    fleet.gpus = 3
    fleet.take(next(iter(fleet.pods.values())))
    assert run(fleet).status.phase == "Degraded 3/4"


def test_two_versions_share_the_requests() -> None:
    state = shifting(*pods(V4, 1), selects=SELECTS_ROTATION)
    marked = replace(state, pods=tuple(replace(pod, in_rotation=True) for pod in state.pods))
    assert columns(status_of(marked)) == "True | 3 67%, 4 33% | 4 | Shifting 1/2 | 3/2"


def test_a_bad_version_was_taken_back() -> None:
    fleet = serving()
    fleet.upload(4, Behaviour.CORRUPT)
    status = run(fleet).status
    assert columns(status) == "True | 3 | 3 | RolledBack from 4 | 2/2"
    assert status.message == "version 4: LoadFailed: the graph cannot be parsed"
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.LOAD_FAILED)


def test_an_upload_is_not_whole() -> None:
    fleet = serving()
    fleet.upload(4, complete=False)
    status = run(fleet).status
    file = "variables/variables.data-00000-of-00001"
    assert columns(status) == f"True | 3 | 3 | Incomplete 4: {file} | 2/2"
    assert status.message == f"version 4: Incomplete: {file} is missing"
    assert condition(status, ConditionType.DEGRADED) == ("False", Reason.AS_DESIRED)


def test_a_served_export_was_deleted_and_its_pods_are_lost() -> None:
    fleet = serving()
    fleet.hidden.add(3)
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.HANGING)
    fleet.pods.clear()
    status = run(fleet).status
    [row] = status.versions
    assert row.reason == Reason.SOURCE_GONE
    # What ails the pod that should take the place of a lost one comes first.
    assert row.message.startswith("the sync ended with RevisionMoved, and its export is no longer")


def test_a_served_export_was_deleted() -> None:
    fleet = serving()
    fleet.hidden.add(3)
    status = run(fleet).status
    assert columns(status) == "True | 3 | 3 | SourceGone | 2/2"
    assert "a lost pod could not be replaced" in status.message
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.SOURCE_GONE)
    assert condition(status, ConditionType.SOURCE_READY) == ("False", Reason.NO_VERSIONS)


# And the others. -----------------------------------------------------------------------------------


def test_the_first_version_is_not_there_yet() -> None:
    fleet = Fleet()
    fleet.operate()
    assert columns(fleet.status) == "False |  |  | Starting | 0/2"
    assert condition(fleet.status, ConditionType.SOURCE_READY) == ("Unknown", Reason.NOT_POLLED_YET)
    run(fleet, 2)
    assert columns(fleet.status) == "False |  |  | WaitingForSource | 0/2"
    assert "upload exports as s3://models/digits/1/" in fleet.status.message
    assert condition(fleet.status, ConditionType.READY) == ("False", Reason.WAITING_FOR_SOURCE)


def test_the_first_version_is_not_whole() -> None:
    fleet = Fleet()
    fleet.upload(1, complete=False)
    run(fleet)
    assert fleet.status.phase.startswith("Incomplete 1: variables/")
    assert condition(fleet.status, ConditionType.SOURCE_READY) == (
        "False",
        Reason.NO_COMPLETE_VERSION,
    )
    assert "variables.data-00000-of-00001 is missing" in fleet.status.message


@pytest.mark.parametrize(
    ("behaviour", "phase", "reason"),
    [
        (Behaviour.CORRUPT, "Failed 1", Reason.LOAD_FAILED),
        (Behaviour.CRASHING, "Failed 1", Reason.CRASHED),
        (Behaviour.REJECTED, "Rejected 1", "Rejected"),
    ],
)
def test_the_first_version_is_bad(behaviour: Behaviour, phase: str, reason: str) -> None:
    fleet = Fleet()
    fleet.upload(1, behaviour)
    status = run(fleet).status
    assert columns(status) == f"False |  | 1 | {phase} | 0/2"
    assert condition(status, ConditionType.READY) == ("False", reason)
    assert condition(status, ConditionType.DEGRADED) == ("True", reason)
    assert status.message.startswith(f"version 1: {reason}: ")
    assert fleet.pods == {}, "a version that has failed holds no hardware"


def test_a_version_that_hangs_fails_at_the_deadline_and_not_before() -> None:
    fleet = serving()
    fleet.upload(4, Behaviour.HANGING)
    assert run(fleet).status.phase == "Loading 0/2"
    requeue = fleet.plan().requeue
    assert requeue == timedelta(minutes=10)
    fleet.now += requeue - timedelta(seconds=1)
    assert run(fleet).status.phase == "Loading 0/2"
    fleet.now += timedelta(seconds=1)
    status = run(fleet).status
    assert status.phase == "RolledBack from 4"
    assert "no progress for 10m (spec.transition.progressDeadline)" in status.message


def test_the_only_pod_is_being_replaced() -> None:
    """T2: the gap is stated while it lasts."""
    fleet = serving(serving={"replicas": 1}, transition={"policy": "ResourcePreserving"})
    fleet.upload(4)
    seen = set()
    for _ in range(40):
        fleet.poll()
        fleet.operate()
        if not fleet.in_rotation():
            fleet.operate()
            seen.add(condition(fleet.status, ConditionType.READY))
            assert "nothing serves while the only pod is replaced" in next(
                c.message for c in fleet.status.conditions if c.type is ConditionType.READY
            )
        list(fleet.turn())
    assert seen == {("False", Reason.SERVING_GAP)}
    assert columns(fleet.status) == "True | 4 | 4 | Available | 1/1"


def test_the_gap_of_one_replica_is_stated_until_the_old_version_is_back() -> None:
    """T2: also while it is rolled back, when nothing is left of the version that failed."""
    fleet = serving(serving={"replicas": 1}, transition={"policy": "ResourcePreserving"})
    fleet.upload(4, Behaviour.CORRUPT)
    seen, warned = [], []
    for _ in range(30):
        fleet.poll()
        for _ in fleet.turn():
            warned += [event.reason for event in fleet.operate().events if event.warning]
            if not fleet.in_rotation():
                fleet.operate()
                left = bool(fleet.pods_of(4)) or any("-v4-" in name for name in fleet.deployments)
                seen.append((condition(fleet.status, ConditionType.READY)[1], left))
                assert "nothing serves while the only pod" in fleet.status.message
    assert set(seen) == {(Reason.SERVING_GAP, True), (Reason.SERVING_GAP, False)}
    assert warned.count(Reason.SERVING_GAP) == 1
    assert columns(fleet.status) == "True | 3 | 3 | RolledBack from 4 | 1/1"
    assert "nothing serves" not in fleet.status.message
    fleet.crash(next(iter(fleet.pods.values())))
    fleet.operate()
    fleet.operate()
    assert condition(fleet.status, ConditionType.READY)[1] == Reason.CRASHED, "no gap of the policy"


def test_a_server_that_needs_more_memory_is_told_at_its_first_end() -> None:
    fleet = serving()
    fleet.upload(4, Behaviour.STARVED)
    told = []
    while not any(pod.restarts for pod in fleet.pods_of(4)):
        fleet.poll()
        told += fleet.operate().events
        list(fleet.turn())
    told += fleet.operate().events
    assert fleet.status.versions[0].state is VersionState.LOADING, "it is tried again"
    assert condition(fleet.status, ConditionType.DEGRADED) == ("True", Reason.CRASHED)
    assert fleet.status.message.startswith("version 4: Crashed: the server in pod ")
    assert "it needs more than its memory limit of 1500Mi: raise" in fleet.status.message
    assert [event.reason for event in told if event.warning] == [Reason.CRASHED]
    assert run(fleet).status.phase == "RolledBack from 4"


def test_another_crash_may_pass_and_degrades_nothing() -> None:
    fleet = serving()
    fleet.upload(4, Behaviour.CRASHING)
    while not any(pod.restarts for pod in fleet.pods_of(4)):
        run(fleet, 1)
    fleet.operate()
    assert "crashed 1 time(s)" in fleet.status.message
    assert condition(fleet.status, ConditionType.DEGRADED) == ("False", Reason.AS_DESIRED)


def test_a_bad_version_beside_those_that_serve_is_trouble_where_it_is_asked_for() -> None:
    fleet = serving(versions={"all": True})
    fleet.upload(2, Behaviour.CORRUPT)
    run(fleet)
    assert condition(fleet.status, ConditionType.DEGRADED) == ("True", Reason.LOAD_FAILED)
    fleet.edit(versions={"latest": 1})
    assert condition(run(fleet).status, ConditionType.DEGRADED) == ("False", Reason.AS_DESIRED)


def test_a_changed_spec_that_failed_says_so_also_after_a_pod_was_lost() -> None:
    fleet = serving()
    fleet.edit(serving={"image": BROKEN_IMAGE})
    status = run(fleet).status
    assert columns(status) == "True | 3 | 3 | RolledBack from 3 | 2/2"
    assert "the changed spec failed: Crashed: the server in pod" in status.message
    fleet.crash(next(iter(fleet.pods.values())))
    fleet.operate()
    assert "crashed 1 time(s)" in fleet.status.message
    assert run(fleet).status.message.endswith("it is retried when the spec or the export changes")


def test_zero_replicas() -> None:
    status = serving(serving={"replicas": 0}).status
    assert columns(status) == "False |  | 3 | ScaledToZero | 0/0"
    assert condition(status, ConditionType.READY) == ("False", Reason.SCALED_TO_ZERO)


def test_paused() -> None:
    fleet = serving()
    fleet.edit(paused=True)
    fleet.upload(4)
    assert columns(run(fleet).status) == "True | 3 | 4 | Paused | 2/2"
    assert fleet.plan().actions == ()


def test_a_pod_is_lost() -> None:
    fleet = serving()
    fleet.gpus = 1
    fleet.take(next(iter(fleet.pods.values())))
    status = run(fleet).status
    assert columns(status) == "False | 3 | 3 | Degraded 1/2 | 1/2"
    assert NO_ROOM in status.message


def test_the_store_does_not_answer() -> None:
    fleet = serving()
    fleet.store_down = True
    status = run(fleet).status
    assert columns(status) == "True | 3 | 3 | Available | 2/2"
    assert condition(status, ConditionType.SOURCE_READY) == ("False", Reason.UNAVAILABLE)
    assert status.message == "no answer"


def test_a_service_of_that_name_belongs_to_someone_else() -> None:
    fleet = Fleet(foreign=frozenset({"Service/digits"}))
    fleet.upload(1)
    status = run(fleet).status
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.NAME_CONFLICT)
    assert status.message.startswith("Service/digits exists and is not owned by this Model")
    assert "digits" not in fleet.services


def test_the_content_of_a_number_that_serves_has_changed() -> None:
    fleet = serving()
    fleet.upload(3)
    status = run(fleet).status
    assert columns(status) == "True | 3 | 3 | Available | 2/2"
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.CONTENT_CHANGED)
    assert "spec.source.allowMutation" in status.message
    fleet.crash(next(iter(fleet.pods.values())))
    fleet.operate()
    assert condition(fleet.status, ConditionType.DEGRADED) == ("True", Reason.CONTENT_CHANGED)
    assert "spec.source.allowMutation" in fleet.status.message
    assert "crashed 1 time(s)" in fleet.status.message


def test_a_status_that_was_lost_is_written_again() -> None:
    fleet = serving()
    before = fleet.status
    fleet.status = ModelStatus()
    # Nothing that is there tells of the past.
    assert run(fleet).status == before.model_copy(update={"history": []})


def test_times_change_only_when_what_they_belong_to_does() -> None:
    fleet = serving()
    before = fleet.status
    fleet.now += timedelta(hours=1)
    assert run(fleet).status == before
    fleet.store_down = True
    after = run(fleet).status
    changed = [c.type for c in after.conditions if c not in before.conditions]
    assert changed == [ConditionType.SOURCE_READY, ConditionType.DEGRADED]
    assert after.versions[0].since == before.versions[0].since
