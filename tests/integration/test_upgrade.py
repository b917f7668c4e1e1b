"""An operator that finds what the one before it has made leaves it alone: no pod restarts in an upgrade."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apiproxy import ApiProxy, settled_writes
from cluster.controlplane import ControlPlane
from fakekubelet import FakeKubelet
from upgrade import MODELS, PODS, Cluster, made_today, recorded
from world import Kube, eventually, running_operator

KINDS = ("Deployment", "Service", "PodDisruptionBudget", "PersistentVolumeClaim", "ConfigMap")


@pytest.fixture
def cluster(kube: Kube, kubelet: FakeKubelet, tmp_path: Path) -> Iterator[Cluster]:
    """The sources and the Models, and nothing that belongs to a Model yet."""
    del kubelet
    with Cluster(kube, tmp_path) as it:
        it.create_models()
        yield it


def wait(cluster: Cluster, what: str, ask: Any, seconds: float = 90) -> None:
    eventually(what, ask, seconds=seconds, state=lambda: cluster.kube.describe(cluster.namespace))


def pods(cluster: Cluster) -> dict[str, str]:
    """Uids and names of all pods, those that are on their way out included."""
    found = cluster.kube.core.list_namespaced_pod(cluster.namespace).items
    return {
        pod.metadata.uid: f"{pod.metadata.name} {pod.metadata.deletion_timestamp or ''}"
        for pod in found
    }


def children(cluster: Cluster) -> dict[str, dict[str, Any]]:
    return {
        f"{kind}/{item['metadata']['name']}": item
        for kind in KINDS
        for item in cluster.stored(kind)
    }


def at_rest(cluster: Cluster) -> bool:
    """Whether the controllers have nothing left to write about the Deployments that serve."""
    serving = [
        item
        for item in cluster.stored("Deployment")
        if not item["metadata"]["name"].endswith("-source")
    ]
    return all(
        item["status"].get("readyReplicas") == item["spec"]["replicas"]
        and any(c["reason"] == "NewReplicaSetAvailable" for c in item["status"]["conditions"])
        for item in serving
    )


def plans(log: Path) -> dict[str, list[int]]:
    """How many actions each plan had, by Model, in their order."""
    found: dict[str, list[int]] = {name: [] for name in MODELS}
    for line in log.read_text().splitlines(keepends=True):
        if '"planned"' in line and line.endswith("\n"):
            entry = json.loads(line)
            found[entry["model"]].append(entry["actions"])
    return found


def poke(cluster: Cluster) -> None:
    """An edit of every Model that asks for nothing."""
    for name in MODELS:
        cluster.kube.custom.patch_namespaced_custom_object(
            "slipway.dev", "v1alpha1", cluster.namespace, "models", name,
            {"metadata": {"annotations": {"poked": "yes"}}},
        )  # fmt: skip


def test_an_upgrade_restarts_no_pod_and_changes_no_deployment(
    cluster: Cluster, controlplane: ControlPlane, tmp_path: Path
) -> None:
    cluster.restore(recorded())
    wait(cluster, "the pods of the old operator are there", lambda: len(pods(cluster)) == PODS + 1)
    wait(cluster, "they are ready, and all is quiet", lambda: at_rest(cluster))
    before, pods_before = children(cluster), pods(cluster)
    assert sum(key.startswith("Deployment/") for key in before) == 6
    log = tmp_path / "operator.log"
    flags = (f"--namespace={cluster.namespace}", "--log-level=debug")
    with (
        ApiProxy(str(controlplane.kubeconfig), tmp_path) as proxy,
        running_operator(proxy.proxied_kubeconfig, log, *flags),
    ):
        wait(cluster, "it has planned for each", lambda: all(plans(log).values()))
        wait(cluster, "it has read the watcher's log", lambda: cluster.node.asked)
        planned = {name: len(counts) for name, counts in plans(log).items()}
        poke(cluster)
        wait(
            cluster,
            "it has planned for each again",
            lambda: all(len(counts) > planned[name] for name, counts in plans(log).items()),
        )
    after = children(cluster)
    assert after.keys() == before.keys()
    changed = [
        key
        for key, item in before.items()
        if after[key]["metadata"]["uid"] != item["metadata"]["uid"]
        or after[key].get("spec") != item.get("spec")
        or after[key]["metadata"].get("generation") != item["metadata"].get("generation")
        or (
            # Their own controllers never touch these again, so whoever did was the operator.
            key.startswith(("Deployment/", "Service/", "ConfigMap/"))
            and after[key]["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]
        )
    ]
    assert changed == []
    assert pods(cluster) == pods_before
    assert cluster.available()
    # The status may say something better than before; nothing else is written.
    assert [w for w in settled_writes(proxy) if not w.path.endswith("/status")] == []
    assert plans(log) == {name: [0] * len(counts) for name, counts in plans(log).items()}


def test_children_are_made_as_they_were(
    cluster: Cluster, controlplane: ControlPlane, tmp_path: Path
) -> None:
    """A pod that is made after the upgrade is like those before it, so that both may serve together."""
    flag = f"--namespace={cluster.namespace}"
    with running_operator(str(controlplane.kubeconfig), tmp_path / "operator.log", flag):
        wait(cluster, "every Model is available", cluster.available, 120)
    made = cluster.record()
    for name, model in recorded().items():
        assert made[name]["children"] == made_today(model["children"]), name
