"""Volumes as sources and as caches, against a real API server and its controllers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from cluster.controlplane import ControlPlane
from fakekubelet import FakeKubelet
from slipway_sync.exports.protocol.report import LINE_LIMIT, TAIL_LINES
from small_exports import SHARD_1, contents, write
from watchernode import WatcherNode, claim
from world import Bucket, Kube, Operator, eventually, running_operator, tiny_export


class Lab:
    """A namespace with a node for watchers."""

    def __init__(self, kube: Kube, directory: Path) -> None:
        self.kube = kube
        self.namespace = kube.namespace()
        self.node = WatcherNode(kube, self.namespace, directory)

    def upload(self, version: int, files: dict[str, bytes] | None = None) -> None:
        write(self.node.volume / "team" / "m" / str(version), files or contents(seed=version))

    def create(self, **spec: Any) -> None:
        source = {"uri": "pvc://exports/team/m", "pollInterval": "1s", "settle": "1s"}
        self.kube.create_model(self.namespace, "m", {"source": source} | spec)

    def status(self) -> dict[str, Any]:
        return self.kube.status(self.namespace, "m")

    def condition(self, kind: str) -> tuple[str, str, str]:
        for item in self.status().get("conditions") or ():
            if item["type"] == kind:
                return item["status"], item["reason"], item["message"]
        return "", "", ""

    def wait(self, what: str, ask: Any, seconds: float = 90) -> None:
        eventually(what, ask, seconds=seconds, state=lambda: self.kube.describe(self.namespace))

    def wait_serving(self, version: int) -> None:
        self.wait(
            f"version {version} serves",
            lambda: (
                (s := self.status()).get("serving") == str(version)
                and s.get("phase") == "Available"
            ),
        )

    def source_pods(self) -> list[Any]:
        found = self.kube.core.list_namespaced_pod(
            self.namespace, label_selector="slipway.dev/source=m"
        )
        return list(found.items)

    def deployments(self) -> dict[str, Any]:
        found = self.kube.apps.list_namespaced_deployment(self.namespace).items
        return {item.metadata.name: item for item in found}


@pytest.fixture
def lab(kube: Kube, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(kube, tmp_path / "node")
    with made.node:
        yield made
        kube.core.delete_namespace(made.namespace)


@pytest.fixture
def operator(lab: Lab, controlplane: ControlPlane, tmp_path: Path) -> Iterator[Operator]:
    only = f"--namespace={lab.namespace}"
    log = tmp_path / "operator.log"
    with running_operator(str(controlplane.kubeconfig), log, only) as running:
        yield running


@pytest.mark.usefixtures("operator", "kubelet")
def test_a_volume_is_listed_served_and_left(lab: Lab) -> None:
    claim(lab.kube, lab.namespace, "exports", "ReadWriteMany")
    lab.upload(1)
    lab.create()
    lab.wait_serving(1)
    assert lab.condition("SourceReady") == ("True", "Listed", "1 of 1 versions are complete")
    [watcher] = lab.source_pods()
    assert lab.kube.model(lab.namespace, "m")["status"]["replicas"] == 1, "it is no replica"

    incomplete = {path: c for path, c in contents(seed=2).items() if path != SHARD_1}
    lab.upload(2, incomplete)
    lab.wait("the missing shard is named", lambda: SHARD_1 in lab.status()["phase"])
    assert lab.status()["serving"] == "1"
    lab.upload(2)
    lab.wait_serving(2)
    assert [pod.metadata.uid for pod in lab.source_pods()] == [watcher.metadata.uid]
    [server] = [d for name, d in lab.deployments().items() if name != "m-source"]
    mounts = {m.mount_path: m for m in server.spec.template.spec.containers[0].volume_mounts}
    assert (mounts["/models/m/2"].sub_path, mounts["/models/m/2"].read_only) == ("team/m/2", True)

    limit = str(TAIL_LINES * LINE_LIMIT)
    assert all(query["limitBytes"] == [limit] for query in lab.node.asked)
    assert all(query["tailLines"] == [str(TAIL_LINES)] for query in lab.node.asked)

    served = set(lab.deployments())
    lab.kube.patch_model(lab.namespace, "m", {"source": {"uri": "pvc://exports/elsewhere"}})
    lab.wait(
        "another pod lists the other directory",
        lambda: {p.metadata.uid for p in lab.source_pods()}.isdisjoint({watcher.metadata.uid}),
    )
    lab.wait("it is not there", lambda: lab.condition("SourceReady")[1] == "NotFound")
    assert "pvc://exports/elsewhere: elsewhere does not exist" in lab.condition("SourceReady")[2]
    assert lab.status()["serving"] == "2"
    assert set(lab.deployments()) == served, "what was told of one folder is not sought in another"

    lab.kube.patch_model(lab.namespace, "m", {"source": {"uri": "s3://nowhere/m"}})
    lab.wait("nothing lists a volume", lambda: "m-source" not in lab.deployments())
    lab.wait("its pod is gone", lambda: not lab.source_pods())


@pytest.mark.usefixtures("operator", "kubelet")
def test_whatever_lies_in_a_volume_stays_there(lab: Lab, tmp_path: Path) -> None:
    claim(lab.kube, lab.namespace, "exports", "ReadOnlyMany")
    (tmp_path / "secret").write_text("not for anybody")
    lab.upload(1)
    lab.upload(2)
    top = lab.node.volume / "team" / "m"
    (top / "2" / "saved_model.pb").unlink()
    (top / "2" / "saved_model.pb").symlink_to(tmp_path / "secret")
    (top / "3").symlink_to(tmp_path)
    lab.upload(4)
    (top / "4" / "a\nb").write_text("")
    lab.create(versions={"all": True})
    lab.wait(
        "the good one serves and the others are rejected",
        lambda: (
            {v["version"]: v["state"] for v in lab.status().get("versions", ())}
            == {1: "Available", 2: "Rejected", 4: "Rejected"}
        ),
    )
    messages = {v["version"]: v["message"] for v in lab.status()["versions"] if v.get("message")}
    assert "saved_model.pb is a symbolic link" in messages[2]
    assert "'a\\nb' contains a control character" in messages[4]
    assert "3 is not a directory, so it is ignored" in lab.condition("SourceReady")[2]
    assert "not for anybody" not in json.dumps(lab.status())


@pytest.mark.usefixtures("operator", "kubelet")
def test_a_missing_claim_and_a_pod_in_trouble_are_told_of_and_recover(lab: Lab) -> None:
    lab.upload(1)
    lab.create()
    lab.wait("the claim is missed", lambda: lab.condition("SourceReady")[1] == "ClaimMissing")
    assert f"claim {lab.namespace}/exports does not exist" in lab.condition("SourceReady")[2]
    lab.node.stuck = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    claim(lab.kube, lab.namespace, "exports", "ReadWriteMany")
    lab.wait(
        "the pod's trouble is told",
        lambda: lab.condition("SourceReady")[:2] == ("False", "WatcherNotReady"),
    )
    assert "ErrImagePull: no such image" in lab.status()["message"]
    lab.node.stuck = None
    lab.wait_serving(1)
    assert lab.condition("SourceReady")[0] == "True"
    lab.kube.custom.delete_namespaced_custom_object(
        "slipway.dev", "v1alpha1", lab.namespace, "models", "m"
    )
    lab.wait("the watcher goes with its Model", lambda: not lab.deployments())
    lab.wait("its pod goes, too", lambda: not lab.source_pods())


def test_one_node_at_a_time_means_one_node_for_all(
    lab: Lab, operator: Operator, kubelet: FakeKubelet
) -> None:
    del operator, kubelet
    claim(lab.kube, lab.namespace, "exports", "ReadWriteOnce")
    lab.upload(1)
    lab.create()
    lab.wait_serving(1)
    for deployment in lab.deployments().values():
        template = deployment.spec.template
        rules = template.spec.affinity.pod_affinity
        [term] = rules.required_during_scheduling_ignored_during_execution
        assert term.label_selector.match_labels == {"slipway.dev/volume": "exports"}
        assert template.metadata.labels["slipway.dev/volume"] == "exports"


@pytest.mark.usefixtures("operator", "kubelet")
def test_the_own_claim_of_a_cache_is_made_and_grows_and_the_list_follows(
    lab: Lab, bucket: Bucket, s3: Any
) -> None:
    lab.kube.secret(lab.namespace, "s3", s3.access_key, s3.secret_key)
    template = {"size": "1Gi", "accessModes": ["ReadWriteMany"]}
    bucket.upload(f"{lab.namespace}/1", tiny_export(1))
    source = {
        "uri": f"s3://{bucket.name}/{lab.namespace}", "endpoint": s3.endpoint,
        "credentialsSecret": "s3", "pollInterval": "1s", "settle": "0s",
    }  # fmt: skip
    serving = {"cache": {"claimTemplate": template}}
    lab.kube.create_model(lab.namespace, "m", {"source": source, "serving": serving})
    lab.wait_serving(1)
    core = lab.kube.core
    own = core.read_namespaced_persistent_volume_claim("m-cache", lab.namespace)
    model = lab.kube.model(lab.namespace, "m")
    assert [o.uid for o in own.metadata.owner_references] == [model["metadata"]["uid"]]

    def kept() -> set[str]:
        found = core.read_namespaced_config_map("m-cache", lab.namespace)
        return {name.partition("-")[0] for name in json.loads(found.data["keep.json"])["keep"]}

    assert kept() == {"1"}
    bucket.upload(f"{lab.namespace}/2", tiny_export(2))
    lab.wait_serving(2)
    lab.wait("version 1 need not stay", lambda: kept() == {"2"})

    # No StorageClass: the API server does not let this claim grow.
    deployments = set(lab.deployments())
    template["size"] = "2Gi"
    lab.kube.patch_model(lab.namespace, "m", {"serving": serving})
    lab.wait("the refusal is told", lambda: lab.condition("Degraded")[1] == "ClaimNotGrown")
    assert "m-cache" in lab.status()["message"]
    assert set(lab.deployments()) == deployments, "to grow is no transition"
    bucket.upload(f"{lab.namespace}/3", tiny_export(3))
    lab.wait_serving(3)
    own = core.read_namespaced_persistent_volume_claim("m-cache", lab.namespace)
    assert own.spec.resources.requests == {"storage": "1Gi"}

    lab.kube.custom.delete_namespaced_custom_object(
        "slipway.dev", "v1alpha1", lab.namespace, "models", "m"
    )

    def gone() -> bool:
        try:
            found = core.read_namespaced_persistent_volume_claim("m-cache", lab.namespace)
        except ApiException as error:
            return bool(error.status == 404)
        return found.metadata.deletion_timestamp is not None

    lab.wait("the claim goes with its Model", gone)


@pytest.mark.usefixtures("operator", "kubelet")
def test_a_claim_of_somebody_else_is_never_taken(lab: Lab, bucket: Bucket, s3: Any) -> None:
    claim(lab.kube, lab.namespace, "m-cache", "ReadWriteMany")
    lab.kube.secret(lab.namespace, "s3", s3.access_key, s3.secret_key)
    bucket.upload(f"{lab.namespace}/1", tiny_export(1))
    source = {
        "uri": f"s3://{bucket.name}/{lab.namespace}", "endpoint": s3.endpoint,
        "credentialsSecret": "s3", "pollInterval": "1s", "settle": "0s",
    }  # fmt: skip
    template = {"size": "9Gi", "accessModes": ["ReadWriteMany"]}
    serving = {"cache": {"claimTemplate": template}}
    lab.kube.create_model(lab.namespace, "m", {"source": source, "serving": serving})
    lab.wait("it waits", lambda: lab.status().get("phase") == "WaitingForVolume")
    assert lab.condition("Degraded")[1] == "NameConflict"
    assert not lab.deployments()
    found = lab.kube.core.read_namespaced_persistent_volume_claim("m-cache", lab.namespace)
    assert found.spec.resources.requests == {"storage": "1Gi"}
    lab.kube.patch_model(
        lab.namespace,
        "m",
        {"serving": {"cache": {"claimTemplate": None, "persistentVolumeClaim": "m-cache"}}},
    )
    lab.wait_serving(1)
