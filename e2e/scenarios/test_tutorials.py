"""Each tutorial on a real node: exported, uploaded, served by its Model, asked by its own client."""

import re
from collections.abc import Iterator

import pytest

from cluster.node.cluster import Cluster
from demo import tutorial
from demo.site import LocalSite, publish_s3


@pytest.fixture(scope="module")
def site(slipway: Cluster) -> Iterator[LocalSite]:
    site = LocalSite()
    assert site.kubeconfig == slipway.kubeconfig
    publish_s3(site)
    tutorial.prepare(site)
    yield site
    site.kubectl.run("delete", "namespace", tutorial.NAMESPACE, timeout=300)


@pytest.mark.parametrize("name", tutorial.TUTORIALS)
def test_each_version_of_a_tutorial_answers_its_client(site: LocalSite, name: str) -> None:
    said = tutorial.run(site, name)
    assert len(said) == len(tutorial.TUTORIALS[name].exports)
    for number, text in enumerate(said, start=1):
        # Exports of estimator_export are named by their time, in seconds.
        version = "1[0-9]{9}" if name == "estimator_export" else str(number)
        assert re.search(rf"Answered by version {version}\b", text)
    if name == "dynamic_versions":
        worse, better = (float(re.findall(r"error rate: ([0-9.]+)%", text)[-1]) for text in said)
        assert better < worse
