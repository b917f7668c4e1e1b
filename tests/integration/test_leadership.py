"""Only one replica writes, also after one was frozen: judged by the audit log of a real API server."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.controlplane import ADMINISTRATORS, ControlPlane
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from world import Bucket, Kube, Operator, eventually, tiny_export

PAIRS, ROUNDS = 10, 100


def writes(plane: ControlPlane, namespace: str) -> Iterator[dict[str, Any]]:
    """Every successful write in a namespace, in the order in which the API server has answered."""
    for line in plane.audit_log.read_text().splitlines():
        event = json.loads(line)
        where = event.get("objectRef", {})
        if where.get("namespace") == namespace and event["responseStatus"].get("code", 500) < 300:
            yield event


def turns(writers: list[str]) -> list[str]:
    """Who wrote, one after the other; somebody who comes again stands there twice."""
    return [writer for writer, _ in itertools.groupby(writers)]


@pytest.mark.timeout(1200)
def test_a_leader_that_was_frozen_1000_times_never_writes_beside_the_next_one(
    kube: Kube, controlplane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    running = []
    for pair in range(PAIRS):
        kube.create_model(namespace, f"m{pair}", {"source": {"uri": "s3://bucket/none"}})
        with (tmp_path / f"{pair}.log").open("wb") as log:
            running.append(
                subprocess.Popen(
                    [
                        "setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "frozen_leaders",
                        str(controlplane.kubeconfig), namespace, f"m{pair}", str(ROUNDS), str(pair),
                    ],
                    env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "support")},
                    stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )
            )  # fmt: skip
    try:
        codes = [process.wait(1100) for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait()
    said = [(tmp_path / f"{pair}.log").read_text() for pair in range(PAIRS)]
    assert codes == [0] * PAIRS, said
    for pair in range(PAIRS):
        found = [
            (int(event["responseObject"]["metadata"]["resourceVersion"]), writer)
            for event in writes(controlplane, namespace)
            if event["objectRef"]["name"] == f"m{pair}"
            and (
                writer := ((event.get("requestObject") or {}).get("metadata") or {})
                .get("annotations", {})
                .get("writer")
            )
        ]
        order = turns([writer for _, writer in sorted(found)])
        assert len(order) > ROUNDS
        assert sorted(set(order)) == sorted(order), "somebody has written after the next leader"


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace that no later test's kubelet has to work on."""
    name = kube.namespace()
    yield name
    kube.core.delete_namespace(name)


@pytest.fixture
def frozen() -> Iterator[list[Operator]]:
    """Operators; each is ended at the end, frozen or not."""
    operators: list[Operator] = []
    yield operators
    for operator in operators:
        operator.process.send_signal(signal.SIGCONT)
        operator.stop()


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
@pytest.mark.usefixtures("kubelet")
def test_an_operator_that_was_frozen_in_mid_rollout_ends_and_the_other_goes_on(
    kube: Kube,
    controlplane: ControlPlane,
    s3: S3Server,
    bucket: Bucket,
    kubelet: FakeKubelet,
    namespace: str,
    frozen: list[Operator],
    tmp_path: Path,
    policy: str,
) -> None:
    kube.secret(namespace, "s3", s3.access_key, s3.secret_key)
    bucket.upload(f"{namespace}/1", tiny_export(1))
    lease = f"--lease={namespace}"

    def replica(name: str) -> Operator:
        user = f"{name}-{namespace}"
        kubeconfig = controlplane.kubeconfig_for(user, (ADMINISTRATORS,))
        flags = (f"--namespace={namespace}", lease)
        return Operator(str(kubeconfig), tmp_path / f"{name}.log", *flags)

    def status() -> dict[str, Any]:
        return kube.status(namespace, "m")

    def wait(what: str, ask: Any, seconds: float = 60) -> None:
        eventually(what, ask, seconds=seconds, state=lambda: kube.describe(namespace))

    frozen.append(replica("first"))
    source = {
        "uri": f"s3://{bucket.name}/{namespace}", "endpoint": s3.endpoint, "credentialsSecret": "s3",
        "pollInterval": "1s", "settle": "0s",
    }  # fmt: skip
    kube.create_model(
        namespace,
        "m",
        {"source": source, "transition": {"policy": policy}, "serving": {"replicas": 2}},
    )
    wait("version 1 serves", lambda: status().get("phase") == "Available")
    frozen.append(replica("second"))
    kubelet.behave = lambda version: "hang" if version == 2 else "ready"
    bucket.upload(f"{namespace}/2", tiny_export(2))
    wait("version 2 is on its way", lambda: "Loading" in status().get("phase", ""))
    frozen[0].process.send_signal(signal.SIGSTOP)
    kubelet.behave = lambda _: "ready"

    def arrived() -> bool:
        found = status()
        return found.get("serving") == "2" and found.get("phase") == "Available"

    wait("the other replica brings version 2 up", arrived, 90)
    frozen[0].process.send_signal(signal.SIGCONT)
    assert frozen[0].process.wait(20) == 1
    assert '"leadership lost, exiting"' in frozen[0].log.read_text()
    bucket.upload(f"{namespace}/3", tiny_export(3))
    wait("version 3 serves", lambda: status().get("serving") == "3")
    replicas = [
        (
            event["user"]["username"],
            f"{event['verb']} {event['requestURI']} {event['stageTimestamp']}",
        )
        for event in writes(controlplane, namespace)
        if event["user"]["username"].endswith(namespace)
    ]
    assert turns([user for user, _ in replicas]) == [f"first-{namespace}", f"second-{namespace}"], (
        "\n".join(f"{user} {what}" for user, what in replicas)
    )
