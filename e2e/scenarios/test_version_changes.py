"""Clients notice nothing of a change of version, and hardware is used as the policy says."""

import time
from typing import Any

import pytest

from digits.load import Load
from stage import MODEL, Stage
from watching import EndpointHistory, PodHistory

CHANGES = 5
REQUESTS = 20_000


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("policy", "replicas"),
    [("AvailabilityPreserving", 1), ("AvailabilityPreserving", 2), ("ResourcePreserving", 2)],
)
def test_no_request_fails_through_five_changes(stage: Stage, policy: str, replicas: int) -> None:
    preserves_resources = policy == "ResourcePreserving"
    stage.offer_gpus(replicas if preserves_resources else replicas + 1)
    stage.upload(1)
    stage.create(transition={"policy": policy}, serving={"replicas": replicas})
    stage.wait_serving(1)
    grpc, rest = stage.reachable()
    with (
        PodHistory(stage.kube, stage.namespace) as pods,
        EndpointHistory(stage.kube, stage.namespace, MODEL) as endpoints,
        Load(grpc, rest, MODEL, channels=4, keep_alive=3, connecting=1, per_second=40) as load,
    ):
        for version in range(2, 2 + CHANGES):
            stage.upload(version)
            stage.wait_serving(version)
        stage.wait("enough requests were sent", lambda: load.tally.sent >= REQUESTS, 300)
    assert load.tally.failed == 0, load.tally.errors
    assert set(load.tally.versions) == set(range(1, 2 + CHANGES))
    if preserves_resources:
        assert pods.most <= replicas
        assert pods.most_gpus <= replicas
        assert endpoints.fewest >= replicas - 1
    else:
        # A pod that drains keeps its hardware, and holds up no other.
        assert pods.most_live <= replicas + 1
        assert endpoints.fewest >= replicas
    print(f"{policy} R={replicas}: {load.tally.sent} requests, {load.tally.failed} failed")


def test_a_new_version_is_noticed_without_waiting_for_a_resync(stage: Stage) -> None:
    stage.offer_gpus(2)
    settle, poll = 1.0, 2.0
    stage.upload(1)
    stage.create(settle="1s", poll="2s")
    stage.wait_serving(1)
    grpc, rest = stage.reachable()
    with Load(grpc, rest, MODEL, channels=2, keep_alive=0, connecting=0) as load:
        stage.upload(2)
        begun = time.monotonic()
        # A step whose wake-up is lost waits for the resync of five minutes.
        stage.wait("version 2 has answered", lambda: 2 in load.tally.versions, 90)
        stage.wait_serving(2)
    took = load.tally.versions[2].first - begun
    [pod] = [p for p in stage.pods() if p.metadata.labels["slipway.dev/version"] == "2"]
    sync, start = stages(pod)
    print(
        f"upload to first traffic {took:.1f} s; settle {settle} s, poll {poll} s, sync {sync:.0f} s, "
        f"start and load {start:.0f} s"
    )
    assert load.tally.failed == 0, load.tally.errors


def stages(pod: Any) -> tuple[float, float]:
    """Seconds that a pod took to sync, and from then to readiness, as the kubelet tells."""
    synced = pod.status.init_container_statuses[0].state.terminated
    ready = next(c for c in pod.status.conditions if c.type == "Ready")
    return (
        (synced.finished_at - synced.started_at).total_seconds(),
        (ready.last_transition_time - synced.finished_at).total_seconds(),
    )
