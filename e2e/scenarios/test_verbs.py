"""What a person asks of a rollout with `kubectl annotate`, while clients go on."""

import json

import pytest

from digits.load import Load
from stage import MODEL, Stage


@pytest.mark.timeout(600)
def test_a_rollback_pins_a_version_under_load_until_it_is_lifted(stage: Stage) -> None:
    stage.offer_gpus(2)
    stage.upload(1)
    stage.create()
    stage.wait_serving(1)
    stage.upload(2)
    stage.wait_serving(2)
    grpc, rest = stage.reachable()
    with Load(grpc, rest, MODEL, channels=2, keep_alive=2, connecting=1, per_second=40) as load:
        stage.wait("version 2 answers", lambda: 2 in load.tally.versions)
        annotate(stage, "slipway.dev/rollback=1")
        stage.wait(
            "version 1 serves, and is pinned",
            lambda: (s := stage.status())["serving"] == "1" and s["phase"] == "Pinned",
        )
        stage.upload(3)
        stage.wait("version 3 waits", lambda: "versions 3, 2 wait" in stage.status()["message"])
        assert stage.status()["serving"] == "1"
        assert "Pinned" in stage.columns()
        annotate(stage, "slipway.dev/rollback-")
        stage.wait_serving(3)
        stage.wait("version 3 answers", lambda: 3 in load.tally.versions)
    assert load.tally.failed == 0, load.tally.errors
    assert set(load.tally.versions) == {1, 2, 3}
    history = json.loads(
        stage.cluster.kubectl.run(
            "get", "model", MODEL, f"--namespace={stage.namespace}",
            "--output=jsonpath={.status.history}",
        )
    )  # fmt: skip
    told = [(entry["to"], entry["cause"], entry["outcome"]) for entry in reversed(history)]
    assert told[:3] == [
        ("1", "NewExport", "Completed"),
        ("2", "NewExport", "Completed"),
        ("1", "Rollback", "Completed"),
    ]
    # Version 3 was not looked at while 1 was pinned: 2 may be the target until it has settled.
    assert told[3][1] == "RollbackLifted"
    assert (told[-1][0], told[-1][2]) == ("3", "Completed")
    assert history[-3]["by"] == "kubectl-annotate"
    print(f"rolled back and lifted: {load.tally.sent} requests, {load.tally.failed} failed")


def annotate(stage: Stage, what: str) -> None:
    stage.cluster.kubectl.run("annotate", "model", MODEL, what, f"--namespace={stage.namespace}")
