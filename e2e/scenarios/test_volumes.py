"""Volumes on a real node: a cache that is downloaded to once, and a volume that is the source."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster import tools
from faults import Asked, FaultProxy
from stage import MODEL, Stage

PAYLOAD = "assets.extra/payload"
CLAIM = "shelf"
ROOT = Path(__file__).parents[2]


class Shelf:
    """A directory of the node as a volume that any pod may mount."""

    def __init__(
        self, stage: Stage, directory: Path, *, claim: str, mode: str = "ReadWriteMany"
    ) -> None:
        directory.mkdir()
        self.directory = directory
        self._core = stage.kube.core
        self._name = f"shelf-{stage.namespace}"
        directory.chmod(0o777)
        size = {"storage": "1Gi"}
        self._core.create_persistent_volume(
            {
                "metadata": {"name": self._name},
                "spec": {
                    "accessModes": [mode], "capacity": size, "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(directory), "type": "Directory"},
                    "claimRef": {"namespace": stage.namespace, "name": claim},
                },
            }
        )  # fmt: skip

    def delete(self) -> None:
        self._core.delete_persistent_volume(self._name)


@pytest.fixture
def shelf(stage: Stage, tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(stage, tmp_path / "shelf", claim=CLAIM)
    stage.kube.core.create_namespaced_persistent_volume_claim(
        stage.namespace,
        {
            "metadata": {"name": CLAIM},
            "spec": {
                "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}},
            },
        },
    )  # fmt: skip
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


def test_the_page_about_volumes_is_true(stage: Stage, tmp_path: Path, export: Path) -> None:
    """Command by command; the claim keeps all of its pods on one node."""
    stage.offer_gpus(4)
    shelf = Shelf(stage, tmp_path / "shelf", claim="exports", mode="ReadWriteOnce")
    try:
        page = Page(stage, tmp_path, export)
        page.run("upload")
        assert re.search(r"digits +True +1 +1 +Available +1/1", page.run("model"))
        answers(stage, 1)
        [watcher] = stage.kube.core.list_namespaced_pod(
            stage.namespace, label_selector=f"slipway.dev/source={MODEL}"
        ).items
        top = shelf.directory / "team" / MODEL
        before = tree(top / "1")

        # A version with a link out of the volume: named, and nothing of it served.
        shutil.copytree(export, top / "7")
        (top / "7" / "saved_model.pb").unlink()
        (top / "7" / "saved_model.pb").symlink_to("/etc/passwd")
        stage.wait("the link is named", lambda: "symbolic link" in stage.status()["message"])
        assert stage.status()["serving"] == "1"
        shutil.rmtree(top / "7")

        page.run("next")
        answers(stage, 2)
        [server] = [p for p in stage.pods() if is_serving(p, 2)]
        outcome = json.loads(server.status.init_container_statuses[0].state.terminated.message)
        digests = {v["version"]: v.get("digest") for v in stage.status()["versions"]}
        assert digests[2] == outcome["digest"] != ""
        again = stage.kube.core.read_namespaced_pod(watcher.metadata.name, stage.namespace)
        assert again.metadata.uid == watcher.metadata.uid, "nothing about it has changed"
        assert tree(top / "1") == before, "nobody wrote to the volume"

        assert "nowhere does not exist in the volume" in page.run("wrong")
        page.run("away")
        stage.wait("every pod is gone", lambda: not stage.pods())
    finally:
        shelf.delete()


def is_serving(pod: Any, version: int) -> bool:
    """Whether a pod is of a version and stays."""
    labels = pod.metadata.labels or {}
    of_version = labels.get("slipway.dev/version") == str(version)
    return of_version and pod.metadata.deletion_timestamp is None


class Page:
    """Runs the blocks of docs/guide/sources-pvc.md as they stand there."""

    def __init__(self, stage: Stage, directory: Path, export: Path) -> None:
        text = (ROOT / "docs" / "guide" / "sources-pvc.md").read_text()
        found = re.findall(r"^```sh ([a-z]+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        self._blocks = dict(found)
        for version in (1, 2):
            shutil.copytree(export, directory / "exports" / str(version))
        (directory / "kubectl").symlink_to(tools.find("kubectl"))
        self._directory = directory
        self._kubeconfig = str(stage.cluster.kubeconfig)
        self._place = {
            "NAMESPACE": stage.namespace,
            "ACCESS": "ReadWriteOnce",
            "SIZE": "1Gi",
            "IMAGE": "localhost/slipway-sync:dev",
        }
        for name in self._place:
            assert f"{name}=" in self._blocks["place"]

    def run(self, name: str) -> str:
        """What a block prints."""
        here = "\n".join(f"{key}={value}" for key, value in self._place.items())
        script = "\n".join(["set -euo pipefail", self._blocks["place"], here, self._blocks[name]])
        path = f"{self._directory}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._directory,
            env=os.environ | {"KUBECONFIG": self._kubeconfig, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}\n{done.stderr}"
        return done.stdout


def tree(directory: Path) -> dict[str, tuple[int, int, Any]]:
    """Size, time and owner of every file below a directory."""
    return {
        str(path.relative_to(directory)): (found.st_size, found.st_mtime_ns, found.st_uid)
        for path in directory.rglob("*")
        if path.is_file() and (found := path.stat())
    }
