"""One API server with its controllers and one S3 server for all integration tests that want them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import utils

from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from world import BUCKET, Bucket, Kube, eventually

CRD = Path(__file__).parents[2] / "crds" / "models.slipway.dev.yaml"


@pytest.fixture(scope="session")
def controlplane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(
        tmp_path_factory.mktemp("plane"), controllers=True, audit=True
    ) as plane:
        kube = Kube(str(plane.kubeconfig))
        utils.create_from_yaml(kube.api, str(CRD))
        eventually("the Model kind is served", kube.serves_models)
        yield plane


@pytest.fixture(scope="session")
def kube(controlplane: ControlPlane) -> Kube:
    return Kube(str(controlplane.kubeconfig))


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server.start(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    return Bucket(s3.client())


@pytest.fixture
def kubelet(controlplane: ControlPlane) -> Iterator[FakeKubelet]:
    with FakeKubelet(str(controlplane.kubeconfig)) as running:
        yield running
