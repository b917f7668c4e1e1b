"""One node with Slipway installed on it, for every scenario."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import chart
from cluster.errors import ClusterError
from cluster.images import build
from cluster.node.cluster import Cluster
from stage import Stage
from world import BUCKET, Bucket, Kube


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the node itself end it and start others: what is installed on one comes after them."""
    items.sort(key=lambda item: item.path.name != "test_cluster_node.py")


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
    build(cluster)
    chart.install(cluster.kubeconfig, "localhost/", "dev", "logLevel=debug")
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
