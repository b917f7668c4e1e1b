"""A node for the pods that list volumes: it runs their agents for real and serves their logs.

The agent's mount is a directory of the test's. Everything else of the node's Kubernetes side is as the
API server expects it of a kubelet: binding, status, deletion, and logs over TLS.
"""

import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from kubernetes.client.exceptions import ApiException
from typing_extensions import override

from certificates import Authority
from kubelet_expansion import expand
from slipway_operator.api.names import SOURCE_LABEL
from world import Kube

MOUNT = "/source"


class WatcherNode:
    """Runs in threads until it is left.

    Attributes:
        volume: What the pods' claim holds.
        stuck: Container state that pods are left in instead of running, when a test says so.
        asked: Queries of the logs that the API server has passed on.
    """

    def __init__(self, kube: Kube, namespace: str, directory: Path) -> None:
        self.volume = directory / "volume"
        self.volume.mkdir(parents=True)
        self.stuck: dict[str, Any] | None = None
        self.asked: list[dict[str, list[str]]] = []
        self._kube = kube
        self._namespace = namespace
        self._logs = directory
        self._name = f"node-{namespace}"
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._server = self._log_server()
        self._create_node(self._server.server_address[1])
        threads = (self._server.serve_forever, self._run)
        self._threads = [threading.Thread(target=run, daemon=True) for run in threads]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join(10)
        self._server.server_close()
        for name in list(self._agents):
            self._end(name)
        self._kube.core.delete_node(self._name)

    def kill_agents(self) -> None:
        """End the agents as a crash would; the kubelet's part is the test's."""
        for agent in self._agents.values():
            agent.kill()

    # The kubelet's part ---------------------------------------------------------------------------

    def _create_node(self, port: int) -> None:
        self._kube.core.create_node({"metadata": {"name": self._name}})
        ready = {
            "type": "Ready", "status": "True", "reason": "Fake",
            "lastHeartbeatTime": _now(), "lastTransitionTime": _now(),
        }  # fmt: skip
        status = {
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        self._kube.core.patch_node_status(self._name, {"status": status})

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            try:
                self._pass()
            except ApiException as error:
                if error.status not in (404, 409):
                    raise

    def _pass(self) -> None:
        pods = self._kube.core.list_namespaced_pod(self._namespace, label_selector=SOURCE_LABEL)
        for pod in pods.items:
            name = pod.metadata.name
            if pod.metadata.deletion_timestamp:
                self._end(name)
                self._kube.core.delete_namespaced_pod(name, self._namespace, grace_period_seconds=0)
            elif not pod.spec.node_name:
                body = {"metadata": {"name": name}, "target": {"kind": "Node", "name": self._name}}
                self._kube.core.create_namespaced_pod_binding(
                    name, self._namespace, body, _preload_content=False
                )
            elif self.stuck is not None:
                self._tell(pod, "Pending", self.stuck)
            elif name not in self._agents:
                self._start(pod)
                self._tell(pod, "Running", {"running": {"startedAt": _now()}})

    def _start(self, pod: Any) -> None:
        args = [expand(arg) for arg in pod.spec.containers[0].args]
        args = [arg.replace(f"--mount={MOUNT}", f"--mount={self.volume}") for arg in args]
        with (self._logs / f"{pod.metadata.name}.log").open("wb") as log:
            self._agents[pod.metadata.name] = subprocess.Popen(
                [sys.executable, "-m", "slipway_sync.agent", *args], stdout=log, stderr=log
            )

    def _end(self, name: str) -> None:
        if agent := self._agents.pop(name, None):
            agent.terminate()
            agent.wait(10)

    def _tell(self, pod: Any, phase: str, state: dict[str, Any]) -> None:
        container = {
            "name": "watch", "image": "x", "imageID": "", "restartCount": 0,
            "ready": "running" in state, "state": state,
        }  # fmt: skip
        self._kube.core.patch_namespaced_pod_status(
            pod.metadata.name,
            self._namespace,
            {"status": {"phase": phase, "containerStatuses": [container]}},
        )

    # Logs -----------------------------------------------------------------------------------------

    def _log_server(self) -> ThreadingHTTPServer:
        pair = Authority().issue()
        both = self._logs / "node.pem"
        both.write_bytes(pair.certificate + pair.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                node.asked.append(query)
                *_, pod, _container = parts.path.split("/")
                lines = (node._logs / f"{pod}.log").read_bytes().splitlines(keepends=True)
                body = b"".join(lines[-int(query["tailLines"][0]) :])
                body = body[: int(query["limitBytes"][0])]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            @override
            def log_message(self, *_: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return server


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def claim(kube: Kube, namespace: str, name: str, *modes: str) -> None:
    """A claim that is bound, as far as the API server knows."""
    body = {
        "metadata": {"name": name},
        "spec": {
            "accessModes": list(modes),
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
            "volumeName": f"pv-{namespace}",
        },
    }
    kube.core.create_namespaced_persistent_volume_claim(namespace, body)
    status = {"phase": "Bound", "accessModes": list(modes)}
    kube.core.patch_namespaced_persistent_volume_claim_status(name, namespace, {"status": status})
