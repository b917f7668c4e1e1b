"""One node with Slipway installed on it, for every scenario."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import tools
from cluster.errors import ClusterError
from cluster.images import build
from cluster.node.cluster import Cluster
from cluster.paths import REPOSITORY
from stage import Stage
from world import BUCKET, Bucket, Kube


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A node that was up before stays up afterwards."""
    try:
        Cluster.load()
        was_up = True
    except ClusterError:
        was_up = False
    running = Cluster.up(gpus=4)
    yield running
    if not was_up:
        running.down()


@pytest.fixture(scope="session")
def slipway(cluster: Cluster) -> Cluster:
    """The node with the chart installed from images of this very tree."""
    cluster.images.import_layout(build())
    done = subprocess.run(
        [
            str(tools.find("helm")), "upgrade", "--install", "slipway",
            str(REPOSITORY / "charts/slipway"), f"--kubeconfig={cluster.kubeconfig}",
            "--namespace=slipway-system", "--create-namespace", "--set=imagePrefix=localhost/",
            "--set=imageTag=dev", "--set=logLevel=debug", "--wait", "--timeout=5m",
            f"--set-string=podAnnotations.slipway\\.dev/installed={int(time.time())}",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cluster.s3.create_bucket(BUCKET)
    return cluster


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real SavedModel: the digit classifier after a few steps."""
    from digits.train import export, load, train

    directory = tmp_path_factory.mktemp("export")
    export(train(load(), steps=20), directory / "1")
    return directory / "1"


@pytest.fixture
def stage(slipway: Cluster, export: Path) -> Iterator[Stage]:
    kube = Kube(str(slipway.kubeconfig))
    made = Stage(slipway, kube, Bucket(slipway.s3.client()), export)
    yield made
    made.close()
