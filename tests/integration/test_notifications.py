"""A real S3 server tells the operator's process of an upload; the next poll would be an hour away."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.controlplane import ControlPlane
from cluster.ports import free_ports
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from world import BUCKET, Bucket, Kube, Operator, eventually, running_operator, tiny_export

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """Removed afterwards: the pods of a Model that stays would take places on the node."""
    name = kube.namespace()
    yield name
    kube.core.delete_namespace(name)


@pytest.fixture
def ports() -> list[int]:
    return free_ports(2, "127.0.0.1")


@pytest.fixture
def notifying(tmp_path: Path, ports: list[int]) -> Iterator[S3Server]:
    """A server that tells the second replica of everything; it looks for its receiver at its start."""
    url = f"http://127.0.0.1:{ports[1]}/v1/notifications?token={TOKEN}"
    with S3Server.start(tmp_path / "s3", flags=(f"--event-webhook-url={url}",)) as server:
        server.create_bucket(BUCKET)
        yield server


def replica(
    plane: ControlPlane, tmp_path: Path, token: Path, port: int, *flags: str
) -> tuple[str, Path, list[str]]:
    hook = [f"--webhook-token-file={token}", f"--webhook-port={port}", "--pod-ip=127.0.0.1"]
    return str(plane.kubeconfig), tmp_path / f"operator-{port}.log", [*hook, *flags]


def test_an_upload_is_seen_at_once_through_a_replica_that_does_not_lead(
    kube: Kube,
    namespace: str,
    controlplane: ControlPlane,
    kubelet: FakeKubelet,
    token: Path,
    ports: list[int],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    assert kubelet.gpus >= 0
    only, lease = f"--namespace={namespace}", f"--lease=notified-{namespace}"
    kubeconfig, log, flags = replica(controlplane, tmp_path, token, ports[0], only, lease)
    with running_operator(kubeconfig, log, *flags) as first:
        eventually("the first leads", lambda: "leading" in log.read_text(), state=log.read_text)
        kubeconfig, other, flags = replica(controlplane, tmp_path, token, ports[1], only, lease)
        with running_operator(kubeconfig, other, *flags) as second:
            eventually("it listens", lambda: answered(ports[1]) == 202, state=other.read_text)
            notifying: S3Server = request.getfixturevalue("notifying")
            model_of(kube, namespace, notifying)
            bucket = Bucket(notifying.client())

            def status() -> dict[str, object]:
                return kube.status(namespace, "m")

            bucket.upload(f"{namespace}/1", tiny_export(1))
            for version in ("1", "2"):
                if version == "2":
                    bucket.upload(f"{namespace}/2", tiny_export(2))
                eventually(
                    f"version {version} serves long before the next poll",
                    lambda version=version: status().get("serving") == version,
                    state=lambda: kube.describe(namespace) + log.read_text()[-3000:],
                )
            assert both_live(first, second)
    assert TOKEN not in log.read_text() + other.read_text()


def model_of(kube: Kube, namespace: str, s3: S3Server) -> None:
    kube.secret(namespace, "s3", s3.access_key, s3.secret_key)
    source = {
        "uri": f"s3://{BUCKET}/{namespace}",
        "endpoint": s3.endpoint,
        "credentialsSecret": "s3",
        "pollInterval": "1h",
        "settle": "1s",
    }
    kube.create_model(namespace, "m", {"source": source})
    eventually("it was polled", lambda: kube.status(namespace, "m").get("phase"))


def answered(port: int) -> int:
    """The status for a notification about nothing; 0 while nobody listens."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/notifications",
        data=json.dumps({"uri": "s3://nobody/nothing"}).encode(),
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 (loopback)
            return int(answer.status)
    except OSError:
        return 0


def both_live(*replicas: Operator) -> bool:
    return all(replica.process.poll() is None for replica in replicas)
