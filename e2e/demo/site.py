"""Where the demo runs: the local cluster, or one that KUBECONFIG names.

Both give a kubectl, an S3 server that pods reach as http://s3.storage:9000, images, and addresses by
which this machine reaches a Model's Service.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from cluster import tools
from cluster.errors import ClusterError
from cluster.images import build as build_images
from cluster.kubectl import Kubectl
from cluster.node.cluster import Cluster
from cluster.paths import REPOSITORY as ROOT
from cluster.ports import free_ports
from cluster.probes import accepts
from cluster.s3 import S3Server

S3_PORT = 9000
FORWARD_SECONDS = 15.0


class Site(Protocol):
    """What the demo needs of a cluster."""

    kubectl: Kubectl
    kubeconfig: Path
    s3: S3Server
    image_prefix: str
    image_tag: str

    def offer_gpus(self, count: int) -> None:
        """Have exactly so many GPUs, where they are fake."""

    @property
    def has_gpus(self) -> bool:
        """Whether pods may ask for one."""

    def addresses(self, namespace: str, service: str) -> tuple[str, str]:
        """HOST:PORT for gRPC and a URL for REST."""

    def close(self) -> None:
        """Give back what only the demo's own process needs."""


class LocalSite:
    """The cluster of e2e/cluster."""

    image_prefix = "localhost/"
    image_tag = "dev"
    has_gpus = True

    def __init__(self) -> None:
        self._cluster = Cluster.up()
        self.kubectl = self._cluster.kubectl
        self.kubeconfig = self._cluster.kubeconfig
        self.s3 = self._cluster.s3

    def build_images(self) -> None:
        build_images(self._cluster)

    def offer_gpus(self, count: int) -> None:
        self._cluster.set_gpus(count)

    def addresses(self, namespace: str, service: str) -> tuple[str, str]:
        # kube-proxy runs on this machine, so a Service's own address works from here as from a pod.
        found = self.kubectl.json("get", "service", service, f"--namespace={namespace}")
        address = found["spec"]["clusterIP"]
        return f"{address}:8500", f"http://{address}:8501"

    def close(self) -> None:
        """Nothing: the cluster stays up."""


class GivenSite:
    """A cluster of the user's, by KUBECONFIG and IMAGE_PREFIX (and IMAGE_TAG).

    The S3 server runs on this machine, and pods must be able to reach it: S3_ADDRESS overrides the
    address. REST goes through the API server's proxy, which picks a ready pod for each request; gRPC
    through a port-forward, which holds on to one pod, so only the classification uses it.
    """

    def __init__(self, kubeconfig: Path, prefix: str) -> None:
        self.kubeconfig = kubeconfig
        self.kubectl = Kubectl(kubeconfig)
        self.image_prefix = prefix
        self.image_tag = os.environ.get("IMAGE_TAG", "dev")
        directory = ROOT / ".local" / "demo-s3"
        directory.mkdir(parents=True, exist_ok=True)
        self.s3 = S3Server.start(directory, address=os.environ.get("S3_ADDRESS") or own_address())
        self._stack = ExitStack()

    @property
    def has_gpus(self) -> bool:
        nodes = self.kubectl.json("get", "nodes")["items"]
        return any(int(n["status"]["allocatable"].get("nvidia.com/gpu", 0)) for n in nodes)

    def offer_gpus(self, count: int) -> None:
        """Real ones are as many as they are."""

    def addresses(self, namespace: str, service: str) -> tuple[str, str]:
        rest, grpc = free_ports(2, "127.0.0.1")
        self._stack.enter_context(self._forward("proxy", f"--port={rest}", port=rest))
        target = [f"--namespace={namespace}", f"service/{service}", f"{grpc}:8500"]
        self._stack.enter_context(self._forward("port-forward", *target, port=grpc))
        path = f"/api/v1/namespaces/{namespace}/services/{service}:rest/proxy"
        return f"127.0.0.1:{grpc}", f"http://127.0.0.1:{rest}{path}"

    @contextmanager
    def _forward(self, *arguments: str, port: int) -> Iterator[None]:
        program = str(tools.find("kubectl"))
        command = [program, f"--kubeconfig={self.kubeconfig}", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + FORWARD_SECONDS
            while not accepts("127.0.0.1", port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ClusterError(f"`{' '.join(command)}` does not listen")
                time.sleep(0.1)  # between two looks at the port
            yield
        finally:
            process.terminate()
            process.wait(10)

    def close(self) -> None:
        self._stack.close()
        self.s3.stop()


def own_address() -> str:
    """This machine's address on the way to other machines; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("10.255.255.255", 9))
        return str(probe.getsockname()[0])


def publish_s3(site: Site) -> None:
    """Make the S3 server known in the cluster as s3.storage, port 9000."""
    host, _, port = site.s3.endpoint.removeprefix("http://").partition(":")
    labels = {"kubernetes.io/service-name": "s3"}
    metadata: dict[str, Any] = {"name": "s3", "namespace": "storage"}
    site.kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "storage"}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": "http", "port": S3_PORT, "targetPort": int(port)}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": int(port), "protocol": "TCP"}],
            "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        },
    )


def choose() -> Site:
    """The cluster that the environment asks for."""
    given = os.environ.get("KUBECONFIG")
    if not given:
        return LocalSite()
    prefix = os.environ.get("IMAGE_PREFIX")
    if prefix is None:
        raise SystemExit(
            "KUBECONFIG is set, so the demo would run on your cluster: say with IMAGE_PREFIX=… where it "
            "finds the images slipway-operator, slipway-sync and slipway-server (IMAGE_TAG=dev), or "
            "unset KUBECONFIG to use a local cluster"
        )
    return GivenSite(Path(given), prefix)
