"""What a person reads of a Model, from the operator's process against a real API server."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import AdmissionregistrationV1Api
from kubernetes.client.exceptions import ApiException

from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from world import Bucket, Kube, eventually, running_operator, tiny_export

SERVING: dict[str, Any] = {
    "replicas": 1,
    "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "0.5Gi"}, "requests": {"cpu": "1000m"}},
    "env": [{"name": "A", "value": "b"}, {"name": "EMPTY", "value": ""}],
    "nodeSelector": {"gpu": "a100"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "podAnnotations": {"team": "vision"},
}


class Reader:
    """A namespace with one Model, and what is read of it."""

    def __init__(self, kube: Kube, s3: S3Server, bucket: Bucket) -> None:
        self.kube = kube
        self.namespace = kube.namespace()
        kube.secret(self.namespace, "s3", s3.access_key, s3.secret_key)
        for version in range(1, 5):
            bucket.upload(f"{self.namespace}/{version}", tiny_export(version))
        self.source = {
            "uri": f"s3://{bucket.name}/{self.namespace}",
            "endpoint": s3.endpoint,
            "credentialsSecret": "s3",
            "pollInterval": "1s",
            "settle": "0s",
        }

    @property
    def status(self) -> dict[str, Any]:
        return self.kube.status(self.namespace, "m")

    @property
    def degraded(self) -> tuple[str, str, str]:
        found = [c for c in self.status.get("conditions") or () if c["type"] == "Degraded"]
        return next(((c["status"], c["reason"], c["message"]) for c in found), ("", "", ""))

    def wait(self, what: str, ask: Any) -> None:
        eventually(what, ask, seconds=60, state=lambda: self.kube.describe(self.namespace))

    def events(self) -> list[Any]:
        """In the order in which the API server lists them, as `kubectl describe` shows them."""
        listed = self.kube.core.list_namespaced_event(
            self.namespace, field_selector="involvedObject.kind=Model"
        )
        return list(listed.items)

    def edit(self, name: str, **server: Any) -> None:
        """What `kubectl edit` does."""
        pod = {"containers": [{"name": "server", **server}]}
        self.kube.apps.patch_namespaced_deployment(
            name,
            self.namespace,
            {"spec": {"template": {"spec": pod}}},
            field_manager="kubectl-edit",
        )


@pytest.fixture
def reader(
    kube: Kube, s3: S3Server, bucket: Bucket, controlplane: ControlPlane, tmp_path: Path
) -> Iterator[Reader]:
    made = Reader(kube, s3, bucket)
    kubeconfig, log = str(controlplane.kubeconfig), tmp_path / "operator.log"
    with running_operator(kubeconfig, log, f"--namespace={made.namespace}"):
        yield made
    kube.core.delete_namespace(made.namespace)


def test_what_a_person_reads_of_versions_without_room_and_of_edited_deployments(
    reader: Reader, kubelet: FakeKubelet
) -> None:
    kubelet.gpus = 2
    spec = {"source": reader.source, "versions": {"all": True}, "serving": SERVING}
    reader.kube.create_model(reader.namespace, "m", spec)
    reader.wait(
        "two versions wait", lambda: reader.status.get("phase") == "WaitingForGPU: 2 of 4 versions"
    )
    apps = reader.kube.apps
    deployments = apps.list_namespaced_deployment(reader.namespace).items
    assert sorted(d.metadata.name.split("-")[1] for d in deployments) == ["v2", "v3", "v4"]
    assert reader.degraded[1] == "Unschedulable"
    assert "edited" not in reader.degraded[2], "what the API server adds is no edit"

    kubelet.gpus = 9
    reader.wait("all serve", lambda: reader.status.get("phase") == "Available")
    assert reader.degraded[0] == "False"

    [first] = [d for d in deployments if d.metadata.name.startswith("m-v4-")]
    name = first.metadata.name
    reader.edit(name, image="other:1")
    reader.wait("it is told", lambda: reader.degraded[1] == "TemplateEdited")
    assert (
        f"Deployment {name} was edited by kubectl-edit: spec.template.spec.containers[server].image;"
        in reader.degraded[2]
    )
    reader.edit(name, image="server:test")
    reader.wait("it is over", lambda: reader.degraded[0] == "False")
    reader.edit(name, env=[{"name": "A", "$patch": "delete"}])
    reader.wait("what was removed is told", lambda: reader.degraded[1] == "TemplateEdited")
    assert f"{name} was edited: spec.template.spec.containers[server].env[A];" in reader.degraded[2]

    # They follow the status that tells the same.
    reader.wait(
        "Events tell both edits",
        lambda: [event.reason for event in reader.events()].count("TemplateEdited") == 2,
    )
    listed = reader.events()
    times = [event.event_time for event in listed]
    assert times == sorted(set(times))
    reasons = [event.reason for event in listed]
    assert reasons[:2] == ["SourceReady", "VersionStarting"]
    assert reasons.count("TemplateEdited") == 2
    waits = [e.message for e in listed if e.reason == "VersionUnschedulable"]
    assert [text.partition(":")[0] for text in waits] == ["2 of 4 versions wait for room"]


def quota(reader: Reader) -> None:
    hard = {"hard": {"requests.nvidia.com/gpu": "0"}}
    reader.kube.core.create_namespaced_resource_quota(
        reader.namespace, {"metadata": {"name": "team"}, "spec": hard}
    )


def limit_range(reader: Reader) -> None:
    limits = [{"type": "Container", "max": {"memory": "64Mi"}}]
    reader.kube.core.create_namespaced_limit_range(
        reader.namespace, {"metadata": {"name": "small"}, "spec": {"limits": limits}}
    )


def pod_security(reader: Reader) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    reader.kube.core.patch_namespace(reader.namespace, {"metadata": {"labels": labels}})


def webhook(reader: Reader) -> None:
    name = f"refuses.{reader.namespace}.test"
    # There is nobody at that address, so that the API server refuses, in words of its own.
    hook = {
        "name": name,
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["pods"],
                "operations": ["CREATE"],
            }
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": reader.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    api = AdmissionregistrationV1Api(reader.kube.core.api_client)
    api.create_validating_webhook_configuration({"metadata": {"name": name}, "webhooks": [hook]})


REFUSALS: dict[str, tuple[Callable[[Reader], None], str, str]] = {
    "quota": (quota, "Unschedulable", "exceeded quota: team, requested: requests.nvidia.com/gpu=1"),
    "limits": (limit_range, "LimitRangeExceeded", "maximum memory usage per Container is 64Mi"),
    "security": (pod_security, "PodSecurityViolation", 'violates PodSecurity "baseline:latest"'),
    "webhook": (webhook, "AdmissionRefused", 'failed calling webhook "refuses.'),
}


def test_what_the_api_server_says_of_pods_that_it_refuses_reaches_the_model(
    kube: Kube, s3: S3Server, bucket: Bucket, controlplane: ControlPlane, tmp_path: Path
) -> None:
    readers = {name: Reader(kube, s3, bucket) for name in REFUSALS}
    unconfined = {"container.apparmor.security.beta.kubernetes.io/server": "unconfined"}
    serving = SERVING | {"podAnnotations": unconfined}
    only = [f"--namespace={reader.namespace}" for reader in readers.values()]
    try:
        with running_operator(str(controlplane.kubeconfig), tmp_path / "operator.log", *only):
            for name, reader in readers.items():
                REFUSALS[name][0](reader)
                spec = {"source": reader.source, "serving": serving}
                kube.create_model(reader.namespace, "m", spec)
            for name, reader in readers.items():
                _, reason, words = REFUSALS[name]
                reader.wait(f"{reason} is told", lambda r=reader, why=reason: r.degraded[1] == why)
                assert words in reader.degraded[2]
                assert words in reader.status["message"]
                assert reader.status["phase"] == reason
    finally:
        hooks = AdmissionregistrationV1Api(kube.core.api_client)
        with contextlib.suppress(ApiException):
            hooks.delete_validating_webhook_configuration(
                f"refuses.{readers['webhook'].namespace}.test"
            )
        for reader in readers.values():
            kube.core.delete_namespace(reader.namespace)
