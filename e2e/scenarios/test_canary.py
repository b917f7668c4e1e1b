"""A version takes over in steps, with a share that can be counted, and one that answers errors is sent back."""

import time
from pathlib import Path
from typing import Any

import pytest

from digits.load import Load
from savedmodels import save_double
from small_exports import tree
from stage import MODEL, Stage

REPLICAS = 2
INTERVAL = 10
CLIENTS = {"channels": 0, "keep_alive": 1, "connecting": 1, "connecting_grpc": 6}
"""A new gRPC channel for each request reaches any pod; the answer tells which version it was."""


def rollout(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.status().get("rollout") or {}
    return found


def share(load: Load, version: int, seconds: float) -> tuple[float, int]:
    """Percent of the requests of a while that a version answers, and how many requests there were."""
    before = {number: served.count for number, served in load.tally.versions.items()}
    time.sleep(seconds)
    counted = {
        number: served.count - before.get(number, 0)
        for number, served in load.tally.versions.items()
    }
    return 100 * counted.get(version, 0) / sum(counted.values()), sum(counted.values())


@pytest.mark.timeout(900)
def test_a_version_takes_over_in_steps_and_a_worse_one_is_sent_back(
    stage: Stage, tmp_path: Path
) -> None:
    stage.offer_gpus(2 * REPLICAS)
    stage.upload(1)
    stage.create(
        serving={"replicas": REPLICAS},
        rollout={
            "steps": [
                {"weight": 10, "pause": {"duration": "20s"}},
                {"weight": 50, "pause": {}},
            ],
            "analysis": {"interval": f"{INTERVAL}s", "minimumRequests": 20},
        },
    )
    stage.wait_serving(1)
    grpc, rest = stage.reachable()
    with stage.watched() as lines:
        with Load(grpc, rest, MODEL, per_second=25, **CLIENTS) as load:
            stage.upload(2)
            stage.wait("step 1 has its pods", lambda: rollout(stage).get("reachedAt"), 180)
            reached = rollout(stage)["reached"]
            percent, requests = share(load, 2, 10)
            print(
                f"weight 10, {reached}% by pods: {percent:.1f}% of {requests} requests on new connections"
            )
            assert 0.5 * reached < percent < 1.7 * reached
            stage.wait(
                "a person is waited for", lambda: rollout(stage).get("waitingFor") == "Approval"
            )
            assert stage.status()["phase"] == "Paused 50% 2/2: approve 2/2"
            stage.cluster.kubectl.run(
                "annotate",
                "model",
                MODEL,
                "slipway.dev/approve=2/2",
                f"--namespace={stage.namespace}",
            )
            stage.wait_serving(2)
        assert load.tally.failed == 0, load.tally.errors
        print(f"two steps: {load.tally.sent} requests, {load.tally.failed} failed")
        with Load(grpc, rest, MODEL, per_second=25, **CLIENTS) as load:
            # Its signature takes another input: it loads, and answers none of these requests.
            save_double(tmp_path / "3", 3)
            stage.upload(3, tree(tmp_path / "3"))
            stage.wait(
                "the worse version has its pod", lambda: rollout(stage).get("reachedAt"), 180
            )
            began = time.monotonic()
            stage.wait(
                "it is rolled back", lambda: stage.status()["phase"] == "RolledBack from 3", 180
            )
            took = time.monotonic() - began
        failed, sent = load.tally.failed, load.tally.sent
        with Load(grpc, rest, MODEL, per_second=25, **CLIENTS) as after:
            stage.wait("requests are answered", lambda: after.tally.sent >= 200)
    [row] = [row for row in stage.status()["versions"] if row["version"] == 3]
    print(
        f"a version that answers errors: rolled back {took:.1f} s after its pod took requests, interval "
        f"{INTERVAL} s; {failed} of {sent} requests failed until then: {row['message']}"
    )
    print("\n".join(lines))
    assert (row["state"], row["reason"], row["weight"]) == ("RolledBack", "AnalysisFailed", 0)
    assert failed > 0
    assert after.tally.failed == 0, after.tally.errors
    assert set(after.tally.versions) == {2}
    assert stage.status()["serving"] == "2"
