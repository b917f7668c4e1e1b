"""There is no hardware beside that of the pods that serve: a transition goes on without, or is given up."""

import pytest

from digits.load import Load
from stage import MODEL, Stage
from watching import EndpointHistory, PodHistory

REPLICAS = 2
WAITS = "WaitingForGPU: 0/1 nodes have 1 more nvidia.com/gpu"


@pytest.mark.timeout(600)
def test_a_transition_without_room_goes_on_by_itself_or_is_given_up(stage: Stage) -> None:
    stage.offer_gpus(REPLICAS)
    stage.upload(1)
    without_room = {"after": "10s", "then": "ResourcePreserving"}
    stage.create(
        transition={"policy": "AvailabilityPreserving", "whenUnschedulable": without_room},
        serving={"replicas": REPLICAS},
    )
    stage.wait_serving(1)
    grpc, rest = stage.reachable()
    with (
        stage.watched() as lines,
        PodHistory(stage.kube, stage.namespace) as pods,
        EndpointHistory(stage.kube, stage.namespace, MODEL) as endpoints,
        Load(grpc, rest, MODEL, channels=2, keep_alive=2, connecting=1, per_second=20) as load,
    ):
        stage.upload(2)
        stage.wait("it says what is short", lambda: stage.status()["phase"] == WAITS, 60)
        stage.wait_serving(2)
        stage.kube.patch_model(
            stage.namespace, MODEL, {"transition": {"whenUnschedulable": {"then": "Abort"}}}
        )
        stage.upload(3)
        stage.wait("it says what is short", lambda: stage.status()["phase"] == WAITS, 60)
        stage.wait("3 is given up", lambda: stage.status()["phase"] == "RolledBack from 3", 60)
        stage.wait("both pods serve", lambda: stage.status()["ready"] == "2/2", 60)
    assert load.tally.failed == 0, load.tally.errors
    assert set(load.tally.versions) == {1, 2}
    assert pods.most_gpus <= REPLICAS
    assert endpoints.fewest >= REPLICAS - 1
    row = stage.status()["versions"][0]
    assert (row["version"], row["reason"]) == (3, "UnschedulableTooLong")
    events = stage.kube.core.list_namespaced_event(stage.namespace).items
    assert "TransitionFallback" in {event.reason for event in events}
    print(f"{load.tally.sent} requests, {load.tally.failed} failed")
    print("\n".join(lines))
