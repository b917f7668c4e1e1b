"""A small world for integration tests: an API server, an S3 server, and the operator's process."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from minio import Minio

from local_stores import ALLOW
from slipway_operator.api.names import GROUP, PLURAL, VERSION
from slipway_sync.wire import tensorflow_pb2

BUCKET = "models"
T = TypeVar("T")


def eventually(
    what: str, ask: Callable[[], T], *, seconds: float = 90, state: Callable[[], object] = str
) -> T:
    """Ask until the answer is true; fail with the state when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s not so: {what}\n{state()}")
        time.sleep(0.05)  # between two looks at a condition


def tiny_export(seed: int = 0) -> dict[str, bytes]:
    """A complete export without variables: a graph with the tag `serve`."""
    saved = tensorflow_pb2.SavedModel()
    graph = saved.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    return {"saved_model.pb": saved.SerializeToString(), "assets.extra/seed": str(seed).encode()}


@dataclass
class Bucket:
    """The place exports are uploaded to."""

    store: Minio
    name: str = BUCKET

    def upload(self, prefix: str, files: dict[str, bytes]) -> None:
        for path, data in files.items():
            self.store.put_object(self.name, f"{prefix}/{path}", io.BytesIO(data), len(data))

    def remove(self, prefix: str) -> None:
        for item in self.store.list_objects(self.name, f"{prefix}/", recursive=True):
            self.store.remove_object(self.name, item.object_name or "")


@dataclass
class Kube:
    """What tests ask of the API server."""

    kubeconfig: str

    def __post_init__(self) -> None:
        configuration = client.Configuration()
        config.load_kube_config(self.kubeconfig, client_configuration=configuration)
        self.api = client.ApiClient(configuration)
        self.core = client.CoreV1Api(self.api)
        self.apps = client.AppsV1Api(self.api)
        self.custom = client.CustomObjectsApi(self.api)
        self.policy = client.PolicyV1Api(self.api)
        self.discovery = client.DiscoveryV1Api(self.api)

    def serves_models(self) -> bool:
        """Whether Models can be listed: a kind is announced a moment before its storage is there."""
        try:
            self.custom.list_cluster_custom_object("slipway.dev", "v1alpha1", "models")
        except ApiException:
            return False
        return True

    def namespace(self) -> str:
        name = f"t-{uuid.uuid4().hex[:8]}"
        self.core.create_namespace({"metadata": {"name": name}})
        return name

    def model(self, namespace: str, name: str) -> Any:
        return self.custom.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)

    def status(self, namespace: str, name: str) -> dict[str, Any]:
        return self.model(namespace, name).get("status") or {}

    def create_model(self, namespace: str, name: str, spec: dict[str, Any]) -> Any:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Model",
            "metadata": {"name": name},
            "spec": spec,
        }
        return self.custom.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body)

    def patch_model(self, namespace: str, name: str, spec: dict[str, Any]) -> None:
        self.custom.patch_namespaced_custom_object(
            GROUP, VERSION, namespace, PLURAL, name, {"spec": spec}
        )

    def secret(self, namespace: str, name: str, access: str, secret: str) -> None:
        data = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
        self.core.create_namespaced_secret(
            namespace, {"metadata": {"name": name}, "stringData": data}
        )

    def describe(self, namespace: str) -> str:
        """Everything worth reading when a test fails."""
        models = self.custom.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL)
        lines = [json.dumps(item.get("status"), indent=1) for item in models["items"]]
        for pod in self.core.list_namespaced_pod(namespace).items:
            ready = [c.status for c in pod.status.conditions or () if c.type == "Ready"]
            lines.append(
                f"pod {pod.metadata.name} {pod.status.phase} ready={ready} "
                f"{pod.metadata.labels} deleting={pod.metadata.deletion_timestamp}"
            )
        lines += [
            f"deployment {item.metadata.name} replicas={item.spec.replicas}"
            for item in self.apps.list_namespaced_deployment(namespace).items
        ]
        lines += [
            f"service {item.metadata.name} {item.spec.selector}"
            for item in self.core.list_namespaced_service(namespace).items
        ]
        return "\n".join(lines)


class Operator:
    """The operator's process."""

    def __init__(self, kubeconfig: str, log: Path, *flags: str) -> None:
        self.log = log
        self._stream = log.open("ab")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "slipway_operator", "run",
                "--server-image=server:test", "--sync-image=sync:test", "--port=0",
                f"--lease=t-{uuid.uuid4().hex[:8]}", ALLOW, *flags,
            ],
            env=os.environ | {"KUBECONFIG": kubeconfig, "POD_NAMESPACE": "default"},
            stdout=self._stream,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL, as the kernel's OOM killer would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self._stream.close()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self._stream.close()


@contextmanager
def running_operator(kubeconfig: str, log: Path, *flags: str) -> Iterator[Operator]:
    operator = Operator(kubeconfig, log, *flags)
    try:
        yield operator
    finally:
        operator.stop()
