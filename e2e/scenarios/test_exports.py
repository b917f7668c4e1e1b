"""Exports that are not whole, or not good, and what a person reads about them."""

import pytest

from digits.load import Load
from stage import MODEL, Stage
from watching import EndpointHistory

SHARD = "variables/variables.data-00000-of-00001"


@pytest.fixture
def serving(stage: Stage) -> Stage:
    stage.offer_gpus(4)
    stage.upload(1)
    stage.create()
    stage.wait_serving(1)
    return stage


def test_a_missing_shard_is_named_and_waited_for(serving: Stage) -> None:
    files = dict(serving.files)
    shard = files.pop(SHARD)
    serving.upload(2, files)
    serving.wait("kubectl get models names the shard", lambda: SHARD in serving.columns())
    assert serving.status()["serving"] == "1"
    serving.upload(2, {SHARD: shard})
    serving.wait_serving(2)


def test_a_truncated_shard_is_named_and_waited_for(serving: Stage) -> None:
    serving.upload(2, serving.files | {SHARD: serving.files[SHARD][:-1]})
    serving.wait("kubectl get models names the shard", lambda: SHARD in serving.columns())
    assert "2876" in serving.columns("--output=wide")
    assert serving.status()["serving"] == "1"
    serving.upload(2)
    serving.wait_serving(2)


def test_an_upload_of_thirty_seconds_is_never_loaded_early(serving: Stage) -> None:
    """The graph first, then the rest, a file every few seconds, each pause longer than settle."""
    import time

    order = sorted(serving.files, key=lambda path: (path != "saved_model.pb", path))
    begun = time.monotonic()
    for number, path in enumerate(order):
        due = begun + 30 * number / (len(order) - 1)
        while time.monotonic() < due:
            seen = {d.metadata.labels["slipway.dev/version"] for d in deployments(serving)}
            assert seen == {"1"}, serving.describe()
        serving.upload(2, {path: serving.files[path]})
    serving.wait_serving(2)


def deployments(stage: Stage) -> list[object]:
    return list(stage.kube.apps.list_namespaced_deployment(stage.namespace).items)


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
def test_a_corrupt_graph_leaves_the_old_version_and_a_later_one_goes_through(
    stage: Stage, policy: str
) -> None:
    stage.offer_gpus(4)
    stage.upload(1)
    graph = {"saved_model.pb": broken(stage.files["saved_model.pb"])}
    stage.create(transition={"policy": policy, "preflight": "Load"}, serving={"replicas": 2})
    stage.wait_serving(1)
    grpc, rest = stage.reachable()
    with (
        EndpointHistory(stage.kube, stage.namespace, MODEL) as endpoints,
        Load(grpc, rest, MODEL, channels=2, keep_alive=1, connecting=1, per_second=20) as load,
    ):
        stage.upload(2, stage.files | graph)
        wait_told(stage, 2)
    # Under ResourcePreserving the Job without a GPU has found it, and no old pod went.
    assert endpoints.fewest == 2
    assert load.tally.failed == 0, load.tally.errors
    assert stage.status()["history"][0]["outageSeconds"] == 0
    if policy == "ResourcePreserving":
        assert "in its pre-flight, before any old pod went" in stage.status()["message"]
        # What is only verified fails when an old pod has gone, and that one comes back.
        stage.kube.patch_model(stage.namespace, MODEL, {"transition": {"preflight": "Verify"}})
        stage.upload(3, stage.files | graph)
        wait_told(stage, 3)
    stage.upload(4)
    stage.wait_serving(4)


def wait_told(stage: Stage, version: int) -> None:
    """Wait until a broken version has failed, with version 1 whole."""
    stage.wait(
        "version 1 serves and the reason is told",
        lambda: (
            (s := stage.status()).get("serving") == "1"
            and s["phase"] in (f"RolledBack from {version}", f"Rejected {version}")
            and s["ready"] == "2/2"
        ),
    )
    message = stage.columns("--output=wide")
    assert f"version {version}" in message
    print(message)


def broken(graph: bytes) -> bytes:
    """A graph that still parses as far as the proof reads it, but that TensorFlow cannot load."""
    wanted, wrong = b"MatMul", b"NoSuch"
    assert graph.count(wanted) >= 1
    return graph.replace(wanted, wrong)
