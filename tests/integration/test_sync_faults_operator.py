"""The operator and a source in trouble: what serves goes on, the row names the object, and all heals."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException
from typing_extensions import override

from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from faults import Fault, FaultProxy
from world import Bucket, Kube, eventually, running_operator, tiny_export

OBJECT = "variables/variables.data-00000-of-00001"


class Kubelet(FakeKubelet):
    """The sync of version 2 ends as a test says: with a code and what stands in its termination log."""

    ends: tuple[int, dict[str, Any]] | None = None

    @override
    def _progress(self, pod: Any) -> None:
        if self.ends is None or pod.metadata.labels["slipway.dev/version"] != "2":
            super()._progress(pod)
            return
        code, told = self.ends
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = {
            "exitCode": code, "message": json.dumps(told), "reason": "Error",
            "startedAt": now, "finishedAt": now,
        }  # fmt: skip
        sync = {
            "name": "sync", "image": "x", "imageID": "", "restartCount": 1, "ready": False,
            "state": {"terminated": ended},
        }  # fmt: skip
        self._patch(pod, {"initContainerStatuses": [sync]})


@dataclass
class Lab:
    """A Model that is served from behind the proxy, and what is done to its bucket."""

    kube: Kube
    namespace: str
    bucket: Bucket
    proxy: FaultProxy
    kubelet: Kubelet

    def upload(self, version: int, seed: int = 0) -> None:
        self.bucket.upload(f"{self.namespace}/{version}", tiny_export(seed or version))

    def status(self) -> dict[str, Any]:
        return self.kube.status(self.namespace, "m")

    def row(self, version: int) -> dict[str, Any]:
        rows = self.status().get("versions") or []
        return next((row for row in rows if row["version"] == version), {})

    def source_ready(self) -> tuple[str, str]:
        for found in self.status().get("conditions") or ():
            if found["type"] == "SourceReady":
                return found["status"], found["reason"]
        return "", ""

    def wait(self, what: str, ask: Any) -> None:
        eventually(what, ask, seconds=40, state=lambda: self.kube.describe(self.namespace))

    def wait_serving(self, version: int) -> None:
        self.wait(
            f"version {version} serves",
            lambda: (
                (s := self.status()).get("serving") == str(version)
                and s.get("phase") == "Available"
            ),
        )


@pytest.fixture
def lab(
    kube: Kube, s3: S3Server, bucket: Bucket, controlplane: ControlPlane, tmp_path: Path
) -> Iterator[Lab]:
    namespace = kube.namespace()
    kube.secret(namespace, "s3", s3.access_key, s3.secret_key)
    kubeconfig = str(controlplane.kubeconfig)
    with (
        FaultProxy(s3.layout.port) as proxy,
        Kubelet(kubeconfig) as kubelet,
        running_operator(kubeconfig, tmp_path / "operator.log", f"--namespace={namespace}"),
    ):
        made = Lab(kube, namespace, bucket, proxy, kubelet)
        made.upload(1)
        source = {
            "uri": f"s3://{bucket.name}/{namespace}", "endpoint": proxy.endpoint,
            "credentialsSecret": "s3", "pollInterval": "1s", "settle": "0s",
        }  # fmt: skip
        kube.create_model(namespace, "m", {"source": source})
        made.wait_serving(1)
        yield made
    with contextlib.suppress(ApiException):
        kube.core.delete_namespace(namespace)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>"), "AccessDenied"),
        (Fault(503, {"Retry-After": "1"}), "Unavailable"),
        (Fault(reset_after=10), "Unavailable"),
        (Fault(200, body=b"<html><br>log in"), "Unavailable"),
    ],
    ids=["403", "503", "reset", "a login page"],
)
def test_a_source_in_trouble_takes_nothing_away_and_comes_back(
    lab: Lab, fault: Fault, reason: str
) -> None:
    lab.proxy.rule = lambda _: fault
    lab.upload(2)
    lab.wait("the trouble is told", lambda: lab.source_ready() == ("False", reason))
    assert (lab.status()["serving"], lab.status()["ready"]) == ("1", "1/1")
    lab.proxy.reset()
    lab.wait_serving(2)
    assert lab.source_ready()[0] == "True"


def test_a_version_that_vanishes_while_it_serves_goes_on(lab: Lab) -> None:
    lab.bucket.remove(lab.namespace)
    lab.wait("its source is gone", lambda: lab.row(1).get("state") == "SourceGone")
    assert lab.source_ready()[0] == "False"
    assert (lab.status()["serving"], lab.status()["ready"]) == ("1", "1/1")
    lab.upload(1)
    lab.wait("it is there again", lambda: lab.row(1).get("state") == "Available")
    lab.wait("so is the source", lambda: lab.source_ready()[0] == "True")


ENDS = {
    "truncated": (65, "Truncated", "Rejected"),
    "wrong size": (65, "WrongSize", "Rejected"),
    "moved": (75, "RevisionMoved", "Syncing"),
    "unavailable": (69, "SourceUnavailable", "Syncing"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_sync_in_trouble_is_told_by_its_object_and_heals_by_itself(lab: Lab, name: str) -> None:
    code, reason, state = ENDS[name]
    told = {"reason": reason, "message": f"{OBJECT}: the store sent 0 of 9 bytes", "object": OBJECT}
    lab.kubelet.ends = (code, told)
    lab.upload(2)
    lab.wait(
        "the row names the object",
        lambda: (
            (row := lab.row(2)).get("state") == state
            and row["reason"] == reason
            and OBJECT in row["message"]
        ),
    )
    assert lab.status()["serving"] == "1"
    # The fault is gone; nobody touches the Model or the export.
    lab.kubelet.ends = None
    lab.wait_serving(2)


def test_an_export_that_is_wrong_is_rejected_by_its_object_until_it_is_corrected(lab: Lab) -> None:
    told = {"reason": "CorruptShard", "message": f"{OBJECT} is corrupt", "object": OBJECT}
    lab.kubelet.ends = (65, told)
    lab.upload(2)
    lab.wait("it is rejected", lambda: lab.status().get("phase") == "Rejected 2")
    assert OBJECT in lab.row(2)["message"]
    assert lab.status()["serving"] == "1"
    lab.kubelet.ends = None
    lab.upload(2, seed=22)
    lab.wait_serving(2)
