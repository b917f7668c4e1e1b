"""What the API server's watch says happened: every state, in order, not samples of them."""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from kubernetes import watch
from typing_extensions import override

from slipway_operator.api.names import PREFLIGHT_LABEL
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


class _Follower:
    """Follows a list of objects through the watch while it is open."""

    def __init__(self, listing: Callable[..., Any], namespace: str, **selection: str) -> None:
        self._listing = listing
        self._namespace = namespace
        self._selection = selection
        self._stop = threading.Event()
        self._objects: dict[str, Any] = {}
        self._version = ""
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        listed = self._listing(self._namespace, **self._selection)
        self._objects = {item.metadata.uid: item for item in listed.items}
        self._version = listed.metadata.resource_version
        self.note()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.failure is None, self.failure

    def _follow(self) -> None:
        try:
            while not self._stop.is_set():
                # Short watches, each from where the one before ended: nothing is missed between.
                stream = watch.Watch().stream(
                    self._listing,
                    self._namespace,
                    resource_version=self._version,
                    timeout_seconds=1,
                    **self._selection,
                )
                for event in stream:
                    self._take(event["type"], event["object"])
        except BaseException as error:  # noqa: BLE001 (told by the test's own thread)
            self.failure = error

    def _take(self, kind: str, item: Any) -> None:
        self._objects[item.metadata.uid] = item
        if kind == "DELETED":
            del self._objects[item.metadata.uid]
        self.note()
        self._version = item.metadata.resource_version

    def catch_up(self, version: str) -> None:
        """Wait until the watch has told of a change of that resource version."""
        eventually(
            "the watch has caught up",
            lambda: self.failure or int(self._version) >= int(version),
            seconds=60,
        )

    def note(self) -> None:
        """Look at the objects as they are now."""
        raise AssertionError("each kind of history notes its own")


class PodHistory(_Follower):
    """Follows a Model's pods while it is open, without those of pre-flight Jobs, which hold nothing scarce.

    Attributes:
        most: Pods in phase Pending or Running at once, terminating ones included.
        most_live: Likewise, without those that are terminating.
        most_gpus: GPUs that such pods were given at once.
        fewest_ready: Ready pods that were not terminating, at the least.
    """

    def __init__(self, kube: Kube, namespace: str) -> None:
        super().__init__(kube.core.list_namespaced_pod, namespace)
        self._core = kube.core
        self.most = 0
        self.most_live = 0
        self.most_gpus = 0
        self.fewest_ready = 10**6

    @override
    def __exit__(self, *_: object) -> None:
        # A last change that is sure to come, to know that everything before it has been seen.
        made = self._core.create_namespaced_pod(self._namespace, _LAST)
        try:
            self.catch_up(made.metadata.resource_version)
        finally:
            self._core.delete_namespaced_pod(
                made.metadata.name, self._namespace, grace_period_seconds=0
            )
        super().__exit__()

    @override
    def note(self) -> None:
        alive = [
            pod
            for pod in self._objects.values()
            if pod.status.phase in ("Pending", "Running")
            and pod.metadata.name != _LAST["metadata"]["name"]
            and PREFLIGHT_LABEL not in (pod.metadata.labels or {})
        ]
        live = [p for p in alive if not p.metadata.deletion_timestamp]
        ready = [p for p in live if is_ready(p)]
        self.most = max(self.most, len(alive))
        self.most_live = max(self.most_live, len(live))
        self.most_gpus = max(self.most_gpus, sum(gpus(p) for p in alive if p.spec.node_name))
        self.fewest_ready = min(self.fewest_ready, len(ready))


class EndpointHistory(_Follower):
    """Follows the ready endpoints of a Service while it is open.

    Attributes:
        fewest: Ready endpoints at once, at the least.
        states: The names of the pods that were ready, each time with the seconds of the monotonic clock.
    """

    def __init__(self, kube: Kube, namespace: str, service: str) -> None:
        super().__init__(
            kube.discovery.list_namespaced_endpoint_slice,
            namespace,
            label_selector=f"kubernetes.io/service-name={service}",
        )
        self.fewest = 10**6
        self.states: list[tuple[float, frozenset[str]]] = []

    @override
    def note(self) -> None:
        ready = {
            endpoint.target_ref.name
            for found in self._objects.values()
            for endpoint in found.endpoints or ()
            if endpoint.conditions.ready
        }
        self.fewest = min(self.fewest, len(ready))
        self.states.append((time.monotonic(), frozenset(ready)))

    def handed_over(self, count: int, prefix: str) -> float | None:
        """When there were first so many ready endpoints, and all of them pods with that prefix."""
        for moment, names in tuple(self.states):
            if len(names) >= count and all(name.startswith(prefix) for name in names):
                return moment
        return None


def is_ready(pod: Any) -> bool:
    """Whether the kubelet says so."""
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())


def gpus(pod: Any) -> int:
    """GPUs that a pod asks for."""
    limits = [c.resources.limits or {} for c in pod.spec.containers if c.resources]
    return sum(int(limit.get("nvidia.com/gpu", 0)) for limit in limits)
