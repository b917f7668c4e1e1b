"""What the API server's watch says happened: every state, in order, not samples of them."""

import threading
from collections.abc import Callable
from typing import Any, Self

from kubernetes import watch

from world import Kube, eventually

_LAST: dict[str, Any] = {
    "metadata": {"name": "end-of-history"},
    "spec": {
        "schedulerName": "none",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "x",
                "image": "x",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    },
}
"""A pod that is never scheduled, but admitted also under Pod Security `restricted`."""


class PodHistory:
    """Follows a Model's pods while it is open.

    Attributes:
        most: Pods in phase Pending or Running at once, terminating ones included.
        most_gpus: GPUs that such pods were given at once.
        fewest_ready: Ready pods that were not terminating, at the least.
    """

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._reached = 0
        self.most = 0
        self.most_gpus = 0
        self.fewest_ready = 10**6

    def __enter__(self) -> Self:
        listed = self._kube.core.list_namespaced_pod(self._namespace)
        self._pods = {p.metadata.uid: p for p in listed.items}
        self._note()
        self._watch = watch.Watch()
        version = listed.metadata.resource_version
        self._thread = threading.Thread(target=self._follow, args=(version,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A last change that is sure to come, to know that everything before it has been seen.
        made = self._kube.core.create_namespaced_pod(self._namespace, _LAST)
        try:
            target = int(made.metadata.resource_version)
            eventually("the watch has caught up", lambda: self._reached >= target, seconds=60)
        finally:
            self._watch.stop()
            self._kube.core.delete_namespaced_pod(
                "end-of-history", self._namespace, grace_period_seconds=0
            )
        self._thread.join(10)

    def _follow(self, version: str) -> None:
        stream = self._watch.stream(
            self._kube.core.list_namespaced_pod, self._namespace, resource_version=version
        )
        for event in stream:
            pod = event["object"]
            if pod.metadata.name != "end-of-history":
                self._pods[pod.metadata.uid] = pod
                if event["type"] == "DELETED":
                    del self._pods[pod.metadata.uid]
                self._note()
            self._reached = int(pod.metadata.resource_version)

    def _note(self) -> None:
        alive = [p for p in self._pods.values() if p.status.phase in ("Pending", "Running")]
        ready = [p for p in alive if not p.metadata.deletion_timestamp and is_ready(p)]
        self.most = max(self.most, len(alive))
        self.most_gpus = max(self.most_gpus, sum(gpus(p) for p in alive if p.spec.node_name))
        self.fewest_ready = min(self.fewest_ready, len(ready))


def is_ready(pod: Any) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())


def gpus(pod: Any) -> int:
    """GPUs that a pod asks for."""
    limits = [c.resources.limits or {} for c in pod.spec.containers if c.resources]
    return sum(int(limit.get("nvidia.com/gpu", 0)) for limit in limits)


class EndpointHistory:
    """Follows the ready endpoints of a Service while it is open: `fewest` at any instant."""

    def __init__(self, kube: Kube, namespace: str, service: str) -> None:
        self._list: Callable[..., Any] = kube.discovery.list_namespaced_endpoint_slice
        self._kube = kube
        self._namespace = namespace
        self._selector = f"kubernetes.io/service-name={service}"
        self._stop = threading.Event()
        self.fewest = 10**6

    def __enter__(self) -> Self:
        listed = self._list(self._namespace, label_selector=self._selector)
        self._slices = {s.metadata.uid: s for s in listed.items}
        self._note()
        self._watch = watch.Watch()
        version = listed.metadata.resource_version
        self._thread = threading.Thread(target=self._follow, args=(version,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.stop()
        self._stop.set()

    def _follow(self, version: str) -> None:
        stream = self._watch.stream(
            self._list, self._namespace, label_selector=self._selector, resource_version=version
        )
        for event in stream:
            if self._stop.is_set():
                return
            found = event["object"]
            self._slices[found.metadata.uid] = found
            if event["type"] == "DELETED":
                del self._slices[found.metadata.uid]
            self._note()

    def _note(self) -> None:
        ready = {
            e.target_ref.uid
            for found in self._slices.values()
            for e in found.endpoints or ()
            if e.conditions.ready
        }
        self.fewest = min(self.fewest, len(ready))
