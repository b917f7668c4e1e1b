"""Models and the children that an operator has made for them: recorded once, and brought back to life.

Everything that a version's pods are named after is the same in each run: the store's address, the exports,
the times of files on the volume. What differs, the namespace and the Models' uids, is a placeholder.

    python -m upgrade DIRECTORY

records what the operator makes that Python finds (see tests/integration/data/upgrade/README.md).
"""

import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from kubernetes import utils

from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from local_stores import ALLOW
from small_exports import contents, write
from watchernode import WatcherNode, claim
from world import BUCKET, Bucket, Kube, eventually, running_operator, tiny_export

ROOT: Final = Path(__file__).parents[2]
RECORDED: Final = ROOT / "tests" / "integration" / "data" / "upgrade"
ADDRESS, PORT = "127.83.76.87", 9020
"""An address of the loopback network that nothing else uses: the store's endpoint is part of the hash."""
_LOCK: Final = Path(tempfile.gettempdir()) / "slipway-upgrade.lock"
"""Held by whoever uses the address, so that two runs on one machine wait for each other."""
_WRITTEN: Final = 1_700_000_000
"""When the files on the volume were written: their times are part of the revision."""
_NAMESPACE: Final = "${NAMESPACE}"
_KINDS: Final = {
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "Service": "api/v1/namespaces/{}/services",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "PersistentVolumeClaim": "api/v1/namespaces/{}/persistentvolumeclaims",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
}
_SINCE: Final = frozenset({"slipway.dev/template"})
"""Annotations that are noted on children since; no pod differs by them."""
_S3: Final = {
    "endpoint": f"http://{ADDRESS}:{PORT}",
    "credentialsSecret": "s3",
    "pollInterval": "1s",
    "settle": "0s",
}
MODELS: Final[Mapping[str, dict[str, Any]]] = {
    "digits": {
        "source": {"uri": f"s3://{BUCKET}/upgrade/digits"} | _S3,
        "versions": {"specific": [1, 2]},
        "labels": {"stable": 1, "canary": 2},
        "serving": {
            "replicas": 2,
            "resources": {"limits": {"nvidia.com/gpu": 1}, "requests": {"memory": "1Gi"}},
            "podLabels": {"team": "vision"},
            "podAnnotations": {"prometheus.io/scrape": "true"},
            "env": [{"name": "OMP_NUM_THREADS", "value": "2"}],
            "batching": {"maxBatchSize": 16, "timeout": "5ms"},
        },
    },
    "scarce": {
        "source": {"uri": f"s3://{BUCKET}/upgrade/scarce"} | _S3,
        "transition": {"policy": "ResourcePreserving"},
        "serving": {
            "replicas": 2,
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "drainSeconds": 30,
        },
    },
    "kept": {
        "source": {"uri": f"s3://{BUCKET}/upgrade/kept"} | _S3,
        "serving": {"cache": {"claimTemplate": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}}},
    },
    "mounted": {"source": {"uri": "pvc://exports/team/m", "pollInterval": "1s", "settle": "1s"}},
}
PODS: Final = 2 * 2 + 2 + 1 + 1
"""Pods that serve, of all Models together."""


class Cluster:
    """A namespace with the sources of the Models: exports in a bucket, exports on a volume, a Secret."""

    def __init__(self, kube: Kube, directory: Path) -> None:
        self.kube = kube
        self.namespace = kube.namespace()
        self.node = WatcherNode(kube, self.namespace, directory / "node")
        (directory / "store").mkdir()
        self._lock = _LOCK.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._s3 = S3Server.start(directory / "store", address=ADDRESS, port=PORT)

    def __enter__(self) -> Self:
        self._s3.create_bucket(BUCKET)
        bucket = Bucket(self._s3.client())
        for model in ("digits", "scarce", "kept"):
            for version in (1, 2):
                bucket.upload(f"upgrade/{model}/{version}", tiny_export(version))
        exported = self.node.volume / "team" / "m"
        write(exported / "1", contents(seed=1))
        for path in exported.rglob("*"):
            os.utime(path, (_WRITTEN, _WRITTEN))
        self.kube.secret(self.namespace, "s3", self._s3.access_key, self._s3.secret_key)
        claim(self.kube, self.namespace, "exports", "ReadWriteMany")
        self.node.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.kube.core.delete_namespace(self.namespace)
        self.node.__exit__()
        self._s3.stop()
        self._lock.close()

    def create_models(self) -> None:
        for name, spec in MODELS.items():
            self.kube.create_model(self.namespace, name, spec)

    def available(self) -> bool:
        """Whether every Model says that all is well and its pods are ready."""
        statuses = [self.kube.status(self.namespace, name) for name in MODELS]
        return all(
            status.get("phase") == "Available"
            and all(
                row["state"] in ("Available", "Discovered") for row in status.get("versions", ())
            )
            and any(
                c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())
            )
            for status in statuses
        )

    def stored(self, kind: str) -> list[dict[str, Any]]:
        """The objects of a kind in the namespace that belong to a Model."""
        path = "/" + _KINDS[kind].format(self.namespace)
        found = self._request("GET", path)["items"]
        return [item for item in found if item["metadata"].get("ownerReferences")]

    def uids(self) -> dict[str, str]:
        """A placeholder for each Model's uid."""
        return {
            f"${{UID-{name}}}": self.kube.model(self.namespace, name)["metadata"]["uid"]
            for name in MODELS
        }

    def record(self) -> dict[str, dict[str, Any]]:
        """The children and the status of every Model, as they would be written anew."""
        objects = [
            {"kind": kind} | _writable(item) for kind in _KINDS for item in self.stored(kind)
        ]
        found: dict[str, dict[str, Any]] = {
            name: {"status": self.kube.status(self.namespace, name), "children": []}
            for name in MODELS
        }
        for item in sorted(objects, key=lambda o: (o["kind"], o["metadata"]["name"])):
            owner = item["metadata"]["ownerReferences"][0]["name"]
            found[owner]["children"].append(item)
        text = json.dumps(found).replace(self.namespace, _NAMESPACE)
        for placeholder, uid in self.uids().items():
            text = text.replace(uid, placeholder)
        anew: dict[str, dict[str, Any]] = json.loads(text)
        return anew

    def restore(self, recorded: Mapping[str, dict[str, Any]]) -> None:
        """Create the children of Models that are there, and write their status."""
        text = json.dumps(recorded).replace(_NAMESPACE, self.namespace)
        for placeholder, uid in self.uids().items():
            text = text.replace(placeholder, uid)
        for name, model in json.loads(text).items():
            for child in model["children"]:
                path = "/" + _KINDS[child["kind"]].format(self.namespace)
                self._request("POST", f"{path}?fieldManager=slipway", child)
            path = f"/apis/slipway.dev/v1alpha1/namespaces/{self.namespace}/models/{name}/status"
            body = {"status": model["status"]}
            self._request("PATCH", f"{path}?fieldManager=slipway", body)

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        merge = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self.kube.api.call_api(
            path,
            method,
            body=body,
            auth_settings=["BearerToken"],
            header_params={"Accept": "application/json", "Content-Type": merge},
            _preload_content=False,
            _return_http_data_only=True,
        )
        return json.loads(answer.data)


def _writable(item: dict[str, Any]) -> dict[str, Any]:
    """An object without what the API server and its controllers have added."""
    metadata = {
        key: value
        for key, value in item["metadata"].items()
        if key in ("name", "labels", "annotations", "ownerReferences")
    }
    annotations = {
        key: value
        for key, value in metadata.pop("annotations", {}).items()
        if key.startswith("slipway.dev/") and key not in _SINCE
    }
    if annotations:
        metadata["annotations"] = annotations
    spec = dict(item.get("spec", {}))
    if spec.get("clusterIP") != "None":
        spec.pop("clusterIP", None)
        spec.pop("clusterIPs", None)
    return (
        {"metadata": metadata}
        | ({"spec": spec} if spec else {})
        | ({"data": item["data"]} if "data" in item else {})
    )


def recorded() -> dict[str, dict[str, Any]]:
    """What is checked in."""
    return {name: json.loads((RECORDED / f"{name}.json").read_text()) for name in MODELS}


def made_today(children: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was recorded, with the few things that pods are given differently since; both serve together."""
    today: list[dict[str, Any]] = json.loads(json.dumps(children))
    for child in today:
        pod = child["spec"].get("template", {}).get("spec", {}) if "spec" in child else {}
        for container in pod.get("initContainers", ()):
            if "fetch" in container["args"]:
                # The store is on this machine, which is no source any more unless it is allowed.
                after = container["args"].index("--termination-log=/dev/termination-log")
                container["args"].insert(after, ALLOW)
        for container in pod.get("containers", ()):
            if "readinessProbe" in container:
                assert container["readinessProbe"]["periodSeconds"] == 2
                container["readinessProbe"]["periodSeconds"] = 1
                container["readinessProbe"]["httpGet"]["path"] += "?wait=1"
    return today


def main(target: Path) -> None:
    """Run the operator until every Model is available, and write what it has made."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "plane").mkdir()
        with ControlPlane.start(directory / "plane", controllers=True) as plane:
            config = str(plane.kubeconfig)
            kube = Kube(config)
            utils.create_from_yaml(kube.api, str(ROOT / "crds" / "models.slipway.dev.yaml"))
            eventually("the Model kind is served", kube.serves_models)
            with FakeKubelet(config), Cluster(kube, directory) as cluster:
                only = f"--namespace={cluster.namespace}"
                with running_operator(config, directory / "operator.log", only):
                    cluster.create_models()
                    eventually(
                        "every Model is available",
                        cluster.available,
                        seconds=120,
                        state=lambda: kube.describe(cluster.namespace),
                    )
                for name, model in cluster.record().items():
                    text = json.dumps(model, indent=2, sort_keys=True, ensure_ascii=False)
                    (target / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
