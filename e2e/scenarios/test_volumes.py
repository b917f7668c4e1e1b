"""Volumes on a real node: a cache that is downloaded to once, and a volume that is the source."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from faults import Asked, FaultProxy
from stage import MODEL, Stage

PAYLOAD = "assets.extra/payload"
CLAIM = "shelf"


class Shelf:
    """A directory of the node as a volume that any pod may mount."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self.directory = directory
        self._core = stage.kube.core
        self._name = f"shelf-{stage.namespace}"
        directory.chmod(0o777)
        size = {"storage": "1Gi"}
        modes = ["ReadWriteMany"]
        self._core.create_persistent_volume(
            {
                "metadata": {"name": self._name},
                "spec": {
                    "accessModes": modes, "capacity": size, "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(directory), "type": "Directory"},
                    "claimRef": {"namespace": stage.namespace, "name": CLAIM},
                },
            }
        )  # fmt: skip
        self._core.create_namespaced_persistent_volume_claim(
            stage.namespace,
            {
                "metadata": {"name": CLAIM},
                "spec": {
                    "accessModes": modes, "resources": {"requests": size},
                    "storageClassName": "", "volumeName": self._name,
                },
            },
        )  # fmt: skip

    def delete(self) -> None:
        self._core.delete_persistent_volume(self._name)


@pytest.fixture
def shelf(stage: Stage, tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(stage, tmp_path)
    yield made
    made.delete()


def answers(stage: Stage, version: int) -> None:
    """The Service answers, with that version."""
    _, rest = stage.reachable()
    stage.wait(
        f"version {version} answers",
        lambda: any(
            row["version"] == str(version) and row["state"] == "AVAILABLE"
            for row in httpx.get(f"{rest}/v1/models/{MODEL}").json()["model_version_status"]
        ),
        30,
    )


def is_content(asked: Asked) -> bool:
    """Whether a request is for an object's content, and not a listing."""
    return asked.method == "GET" and "list-type" not in asked.query


def test_a_cache_is_downloaded_to_once_whatever_becomes_of_the_pods(
    stage: Stage, shelf: Shelf
) -> None:
    stage.offer_gpus(4)
    files = stage.files | {PAYLOAD: os.urandom(4 << 20)}
    stage.upload(1, files)
    server = stage.cluster.s3.layout
    with FaultProxy(server.port, address=server.address) as proxy:
        source = {
            "uri": f"s3://{stage.bucket.name}/{stage.namespace}",
            "endpoint": proxy.endpoint,
            "credentialsSecret": "s3",
            "pollInterval": "1s",
            "settle": "0s",
        }
        cache = {"persistentVolumeClaim": CLAIM}
        stage.create(source=source, serving={"cache": cache})
        stage.wait_serving(1)
        answers(stage, 1)
        assert proxy.count(lambda asked: is_content(asked) and PAYLOAD in asked.path) >= 1

        # A pod that is lost: what it needs is there and is proven there.
        proxy.reset()
        [pod] = stage.pods()
        stage.kube.core.delete_namespaced_pod(pod.metadata.name, stage.namespace)
        stage.wait(
            "another pod is ready",
            lambda: (
                [p.metadata.uid for p in stage.pods()] != [pod.metadata.uid]
                and stage.status()["phase"] == "Available"
                and stage.status()["ready"] == "1/1"
            ),
        )
        answers(stage, 1)
        assert proxy.count(is_content) == 0, [a.target for a in proxy.asked if is_content(a)]

        # A version with an equal file: that one is not downloaded again.
        proxy.reset()
        stage.upload(2, files | {"assets.extra/note": b"another version"})
        stage.wait_serving(2)
        answers(stage, 2)
        again = [a.target for a in proxy.asked if is_content(a) and PAYLOAD in a.path]
        assert not again

    directories = sorted(path for path in (shelf.directory / MODEL).iterdir() if path.is_dir())
    names = [path.name for path in directories if path.name[0] != "."]
    assert [name.partition("-")[0] for name in names] == ["1", "2"]
    first, second = (shelf.directory / MODEL / name / PAYLOAD for name in names)
    assert first.stat().st_ino == second.stat().st_ino, "one file for both"
    keep = stage.kube.core.read_namespaced_config_map(f"{MODEL}-cache", stage.namespace)
    stage.wait("the second one stays", lambda: names[1] in keep.data["keep.json"])
    [pod] = [p for p in stage.pods() if p.metadata.deletion_timestamp is None]
    [mount] = [m for m in pod.spec.containers[0].volume_mounts if m.sub_path]
    assert (mount.sub_path, mount.read_only) == (f"{MODEL}/{names[1]}", True)


def test_a_volume_is_served_where_it_lies(stage: Stage, shelf: Shelf, export: Path) -> None:
    def upload(version: int) -> None:
        """As one should: written beside, then renamed."""
        top = shelf.directory / "team" / MODEL
        shutil.copytree(export, top / f".{version}")
        (top / f".{version}").rename(top / str(version))

    stage.offer_gpus(4)
    upload(1)
    source = {"uri": f"pvc://{CLAIM}/team/{MODEL}", "pollInterval": "1s", "settle": "1s"}
    stage.create(source=source)
    stage.wait_serving(1)
    answers(stage, 1)
    [watcher] = stage.kube.core.list_namespaced_pod(
        stage.namespace, label_selector=f"slipway.dev/source={MODEL}"
    ).items
    before = tree(shelf.directory)

    # Half a version, with a link out of the volume: named, and nothing of it served.
    broken = shelf.directory / "team" / MODEL / "2"
    shutil.copytree(export, broken)
    (broken / "saved_model.pb").unlink()
    (broken / "saved_model.pb").symlink_to("/etc/passwd")
    stage.wait("the link is named", lambda: "symbolic link" in stage.status()["message"])
    assert stage.status()["serving"] == "1"
    shutil.rmtree(broken)

    upload(3)
    stage.wait_serving(3)
    answers(stage, 3)
    [server] = [
        p
        for p in stage.pods()
        if p.metadata.labels.get("slipway.dev/version") == "3" and not p.metadata.deletion_timestamp
    ]
    outcome = json.loads(server.status.init_container_statuses[0].state.terminated.message)
    assert outcome["digest"].startswith("sha256:")
    digests = {v["version"]: v.get("digest") for v in stage.status()["versions"]}
    assert digests[3] == outcome["digest"]
    assert stage.kube.core.read_namespaced_pod(watcher.metadata.name, stage.namespace)
    left = tree(shelf.directory)
    assert {path: left[path] for path in before} == before, "nobody wrote to the volume"

    # The claim's pods go with the source, and the Model's pods with it.
    stage.kube.custom.delete_namespaced_custom_object(
        "slipway.dev", "v1alpha1", stage.namespace, "models", MODEL
    )
    stage.wait("every pod is gone", lambda: not stage.pods())


def tree(directory: Path) -> dict[str, tuple[int, int, Any]]:
    """Size, time and owner of every file below a directory."""
    return {
        str(path.relative_to(directory)): (found.st_size, found.st_mtime_ns, found.st_uid)
        for path in directory.rglob("*")
        if path.is_file() and (found := path.stat())
    }
