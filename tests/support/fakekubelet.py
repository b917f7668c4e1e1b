"""A kubelet's part in tests of the operator against a real API server without a node.

It binds pods to a Node of its own, lets them sync, load and become ready, and takes terminating ones
away. What a pod does is told by the test: `behave` maps a version to an outcome.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from slipway_operator.api.names import PREFLIGHT_LABEL, SERVABLE_LABEL, VERSION_LABEL

NODE = "fake-node"
Outcome = Literal["ready", "load-failed", "sync-rejected", "crash", "hang"]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class FakeKubelet:
    """Runs in a thread until stopped.

    Attributes:
        gpus: Pods of its own that may hold a place at once, terminating ones included; what an earlier
            test has left behind does not count.
        try_out: What becomes of the pod of a pre-flight Job, by version: it needs no such place.
    """

    kubeconfig: str
    gpus: int = 1000
    behave: Callable[[int], Outcome] = lambda _: "ready"
    try_out: Callable[[int], Outcome | Literal["no-room"]] = lambda _: "ready"

    def __enter__(self) -> Self:
        self._api = client.ApiClient(self._configuration())
        self._core = client.CoreV1Api(self._api)
        self._stop = threading.Event()
        self.held_most: dict[str, int] = {}
        self._beats = 0
        self._bound: set[str] = set()
        self._create_node()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._api.close()

    def _configuration(self) -> client.Configuration:
        configuration = client.Configuration()
        config.load_kube_config(self.kubeconfig, client_configuration=configuration)
        return configuration

    def _create_node(self) -> None:
        try:
            self._core.create_node({"metadata": {"name": NODE}})
        except ApiException as error:
            if error.status != 409:
                raise
        self._beat()

    def _beat(self) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "Fake", "lastHeartbeatTime": _now()}
        ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        self._core.patch_node_status(NODE, {"status": {"conditions": [ready]}})

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            try:
                self._beats += 1
                if self._beats % 100 == 0:
                    self._beat()
                self._pass()
                self._preflights()
            except Exception:  # noqa: BLE001, S112 (the API server may be down on purpose)
                continue

    def _pass(self) -> None:
        pods = self._core.list_pod_for_all_namespaces(label_selector=SERVABLE_LABEL).items
        held = sum(1 for pod in pods if pod.spec.node_name and pod.metadata.uid in self._bound)
        for pod in pods:
            try:
                if pod.metadata.deletion_timestamp:
                    if pod.spec.node_name:
                        self._core.delete_namespaced_pod(
                            pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0
                        )
                elif not pod.spec.node_name:
                    if held < self.gpus:
                        held += 1
                        self._bind(pod)
                    else:
                        self._unschedulable(pod)
                elif not _is_ready(pod):
                    self._progress(pod)
            except ApiException as error:
                if error.status not in (404, 409):
                    raise

    def _preflights(self) -> None:
        for pod in self._core.list_pod_for_all_namespaces(label_selector=PREFLIGHT_LABEL).items:
            try:
                self._try_out(pod)
            except ApiException as error:
                if error.status not in (404, 409):
                    raise

    def _try_out(self, pod: Any) -> None:
        """One step of a pre-flight: bound, then what the test says of its version."""
        outcome = self.try_out(int(pod.metadata.labels[VERSION_LABEL]))
        loads = bool(pod.spec.init_containers)
        if pod.metadata.deletion_timestamp:
            self._core.delete_namespaced_pod(
                pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0
            )
        elif pod.status.phase == "Succeeded":
            return
        elif not pod.spec.node_name:
            if outcome == "no-room":
                self._unschedulable(pod)
            else:
                self._bind(pod)
        elif outcome == "sync-rejected":
            told = {"reason": "CorruptShard", "message": "a shard is corrupt", "object": "x"}
            where = "initContainerStatuses" if loads else "containerStatuses"
            self._patch(pod, {where: [_ended("sync", 65, told)]})
        elif outcome == "load-failed" and loads:
            told = {"reason": "LoadFailed", "message": "cannot parse saved_model.pb"}
            self._patch(pod, {"containerStatuses": [_ended("server", 65, told)]})
        elif outcome in ("ready", "load-failed"):
            name = "server" if loads else "sync"
            self._patch(pod, {"phase": "Succeeded", "containerStatuses": [_ended(name, 0, {})]})

    def _bind(self, pod: Any) -> None:
        self._bound.add(pod.metadata.uid)
        body = {"metadata": {"name": pod.metadata.name}, "target": {"kind": "Node", "name": NODE}}
        self._api.call_api(
            f"/api/v1/namespaces/{pod.metadata.namespace}/pods/{pod.metadata.name}/binding",
            "POST", body=body, auth_settings=["BearerToken"], header_params={"Content-Type": "application/json"},
        )  # fmt: skip

    def _unschedulable(self, pod: Any) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        }
        self._patch(pod, {"conditions": [condition]})

    def _progress(self, pod: Any) -> None:
        """One step: synced, then loaded, or what the test says instead."""
        outcome = self.behave(int(pod.metadata.labels[VERSION_LABEL]))
        synced = any(s.state.terminated for s in pod.status.init_container_statuses or ())
        if outcome == "sync-rejected":
            told = {"reason": "CorruptShard", "message": "a shard is corrupt", "object": "x"}
            self._patch(pod, {"initContainerStatuses": [_ended("sync", 65, told)]})
        elif not synced:
            told = {"reason": "Synced", "message": "", "object": "", "digest": "sha256:" + "0" * 64}
            told |= {"revision": "", "bytes": 1}  # type: ignore[dict-item]
            self._patch(pod, {"initContainerStatuses": [_ended("sync", 0, told)]})
        elif outcome == "load-failed":
            told = {"reason": "LoadFailed", "message": "cannot parse saved_model.pb"}
            self._patch(pod, {"containerStatuses": [_ended("server", 65, told)]})
        elif outcome == "ready":
            running = {
                "name": "server", "image": "x", "imageID": "", "restartCount": 0, "ready": True,
                "started": True, "state": {"running": {"startedAt": _now()}},
            }  # fmt: skip
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": _now()}
            ip = f"10.9.{hash(pod.metadata.uid) % 250}.{hash(pod.metadata.name) % 250 + 1}"
            self._patch(
                pod,
                {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                 "conditions": [ready], "containerStatuses": [running]},
            )  # fmt: skip

    def _patch(self, pod: Any, status: dict[str, Any]) -> None:
        self._core.patch_namespaced_pod_status(
            pod.metadata.name, pod.metadata.namespace, {"status": status}
        )


def _is_ready(pod: Any) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())


def _ended(name: str, code: int, told: dict[str, Any]) -> dict[str, Any]:
    ended = {"exitCode": code, "message": json.dumps(told), "finishedAt": _now()}
    ended |= {"startedAt": _now(), "reason": "Completed" if code == 0 else "Error"}
    return {
        "name": name, "image": "x", "imageID": "", "restartCount": 0, "ready": code == 0,
        "state": {"terminated": ended},
    }  # fmt: skip
