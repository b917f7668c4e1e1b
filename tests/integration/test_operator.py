"""The operator's process against a real API server, its controllers and a real S3 server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apiproxy import ApiProxy, Write, is_ours, settled_writes
from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from world import Bucket, Kube, Operator, eventually, running_operator, tiny_export


class Lab:
    """A namespace with credentials and one Model's corner of the bucket."""

    def __init__(self, kube: Kube, s3: S3Server, bucket: Bucket) -> None:
        self.kube = kube
        self.namespace = kube.namespace()
        self.prefix = self.namespace
        self.bucket = bucket
        self._s3 = s3
        kube.secret(self.namespace, "s3", s3.access_key, s3.secret_key)

    def upload(self, version: int) -> None:
        self.bucket.upload(f"{self.prefix}/{version}", tiny_export(version))

    def create(self, name: str = "m", **spec: Any) -> None:
        source = {
            "uri": f"s3://{self.bucket.name}/{self.prefix}",
            "endpoint": self._s3.endpoint,
            "credentialsSecret": "s3",
            "pollInterval": "1s",
            "settle": "0s",
        }
        self.kube.create_model(self.namespace, name, {"source": source} | spec)

    def status(self, name: str = "m") -> dict[str, Any]:
        return self.kube.status(self.namespace, name)

    def ready(self, name: str = "m") -> str:
        return condition(self.status(name), "Ready")[0]

    def wait(self, what: str, ask: Any, seconds: float = 40) -> None:
        eventually(
            what, ask, seconds=seconds, state=lambda: self.kube.describe(self.namespace)
        )

    def wait_serving(self, version: int, name: str = "m", seconds: float = 40) -> None:
        self.wait(
            f"version {version} serves alone and ready",
            lambda: (
                (s := self.status(name)).get("serving") == str(version)
                and s.get("phase") == "Available"
                and condition(s, "Ready")[0] == "True"
            ),
            seconds,
        )


def condition(status: dict[str, Any], kind: str) -> tuple[str, str, str]:
    for item in status.get("conditions") or ():
        if item["type"] == kind:
            return item["status"], item["reason"], item["message"]
    return "", "", ""


@pytest.fixture
def lab(kube: Kube, s3: S3Server, bucket: Bucket) -> Lab:
    return Lab(kube, s3, bucket)


@pytest.fixture
def operator(controlplane: ControlPlane, tmp_path: Path) -> Iterator[Operator]:
    with running_operator(str(controlplane.kubeconfig), tmp_path / "operator.log") as running:
        yield running


@pytest.mark.usefixtures("operator", "kubelet")
@pytest.mark.parametrize(
    ("policy", "replicas"),
    [("AvailabilityPreserving", 1), ("AvailabilityPreserving", 2), ("ResourcePreserving", 2)],
)
def test_a_new_version_takes_over(lab: Lab, policy: str, replicas: int) -> None:
    lab.upload(1)
    lab.create(transition={"policy": policy}, serving={"replicas": replicas})
    lab.wait_serving(1)
    lab.upload(2)
    lab.wait_serving(2)
    names = {d.metadata.name for d in lab.kube.apps.list_namespaced_deployment(lab.namespace).items}
    assert len(names) == 1
    services = {s.metadata.name for s in lab.kube.core.list_namespaced_service(lab.namespace).items}
    assert services == {"m", "m-pods", "m-v2"}
