"""A namespace on the real node with one Model in it, and what scenarios do there."""

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from kubernetes.client.exceptions import ApiException

from charts import NAMESPACE, OPERATOR_PODS
from cluster import tools
from cluster.node.cluster import Cluster
from watching import gpus
from world import Bucket, Kube, eventually

MODEL = "digits"


def condition(status: dict[str, Any], kind: str) -> str:
    """A condition's status."""
    return next((c["status"] for c in status.get("conditions") or () if c["type"] == kind), "")


class Stage:
    """Uploads, creates, waits, and tells the whole state when a wait is in vain."""

    def __init__(self, cluster: Cluster, kube: Kube, bucket: Bucket, export: Path) -> None:
        self.cluster = cluster
        self.kube = kube
        self.bucket = bucket
        self.files = {
            path.relative_to(export).as_posix(): path.read_bytes()
            for path in sorted(export.rglob("*"))
            if path.is_file()
        }
        self.namespace = kube.namespace()
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        kube.core.patch_namespace(self.namespace, {"metadata": {"labels": labels}})
        kube.secret(self.namespace, "s3", cluster.s3.access_key, cluster.s3.secret_key)
        cluster.kubectl.run(
            "create", "rolebinding", "slipway-credentials", "--clusterrole=slipway-credentials",
            "--serviceaccount=slipway-system:slipway-operator", f"--namespace={self.namespace}",
        )  # fmt: skip

    def offer_gpus(self, count: int) -> None:
        """Let this stage have exactly so many, whatever runs beside it on the node."""
        others = [
            pod
            for pod in self.kube.core.list_pod_for_all_namespaces().items
            if pod.metadata.namespace != self.namespace
            and pod.status.phase in ("Pending", "Running")
        ]
        self.cluster.set_gpus(count + sum(gpus(pod) for pod in others))

    def upload(self, version: int, files: dict[str, bytes] | None = None) -> None:
        self.bucket.upload(f"{self.namespace}/{version}", files or self.files)

    def create(self, *, gpus: int = 1, poll: str = "2s", settle: str = "1s", **spec: Any) -> None:
        serving = {"replicas": 1} | spec.pop("serving", {})
        if gpus:
            serving["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
        source = {
            "uri": f"s3://{self.bucket.name}/{self.namespace}",
            "endpoint": self.cluster.s3.endpoint,
            "credentialsSecret": "s3",
            "pollInterval": poll,
            "settle": settle,
        }
        body = {"source": source, "serving": serving} | spec
        self.kube.create_model(self.namespace, MODEL, body)

    def status(self) -> dict[str, Any]:
        return self.kube.status(self.namespace, MODEL)

    def wait(self, what: str, ask: Callable[[], object], seconds: float = 120) -> None:
        eventually(what, ask, seconds=seconds, state=self.describe)

    def wait_serving(self, version: int, seconds: float = 180) -> None:
        self.wait(
            f"version {version} serves alone and ready",
            lambda: (
                (s := self.status()).get("serving") == str(version)
                and s["phase"] == "Available"
                and condition(s, "Ready") == "True"
            ),
            seconds,
        )

    def columns(self, *flags: str) -> str:
        """What `kubectl get models` prints."""
        return self.cluster.kubectl.run("get", "models", f"--namespace={self.namespace}", *flags)

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[str]]:
        """The lines that `kubectl get models --watch` prints meanwhile; they are there at the end."""
        lines: list[str] = []
        command = [
            str(tools.find("kubectl")), f"--kubeconfig={self.cluster.kubeconfig}", "get", "models", "--watch",
            f"--namespace={self.namespace}",
        ]  # fmt: skip
        with tempfile.TemporaryFile("w+") as printed:
            with subprocess.Popen(command, stdout=printed, text=True) as kubectl:
                try:
                    yield lines
                finally:
                    kubectl.terminate()
            printed.seek(0)
            lines += printed.read().splitlines()

    def addresses(self) -> tuple[str, str]:
        """For gRPC and REST: a Service's own address works on the node itself."""
        address = self.kube.core.read_namespaced_service(MODEL, self.namespace).spec.cluster_ip
        return f"{address}:8500", f"http://{address}:8501"

    def reachable(self) -> tuple[str, str]:
        """The addresses, once this machine's kube-proxy has learnt of the first endpoints."""
        grpc, rest = self.addresses()

        def answers() -> bool:
            try:
                return httpx.get(f"{rest}/v1/models/{MODEL}").is_success
            except httpx.TransportError:
                return False

        self.wait("the Service answers", answers, 15)
        return grpc, rest

    def pods(self) -> list[Any]:
        return list(self.kube.core.list_namespaced_pod(self.namespace).items)

    def describe(self) -> str:
        lines = [self.kube.describe(self.namespace)]
        for pod in self.pods():
            for container in ("sync", "server"):
                with contextlib.suppress(ApiException):
                    log = self.kube.core.read_namespaced_pod_log(
                        pod.metadata.name, self.namespace, container=container, tail_lines=15
                    )
                    lines.append(f"--- {pod.metadata.name} {container}\n{log}")
        with contextlib.suppress(subprocess.SubprocessError):
            log = self.cluster.kubectl.run(
                "logs", f"--namespace={NAMESPACE}", f"--selector={OPERATOR_PODS}", "--tail=40",
            )  # fmt: skip
            lines.append(f"--- operator\n{log}")
        return "\n".join(lines)

    def close(self) -> None:
        """Delete the namespace, and wait until its pods have given their GPUs back."""
        self.kube.core.delete_namespace(self.namespace)
        eventually("the pods are gone", lambda: not self.pods(), seconds=120, state=self.describe)
