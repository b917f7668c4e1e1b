"""Retention against a real S3 server and a real API server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from faults import Fault, FaultProxy, on
from world import Bucket, Kube, eventually, running_operator, tiny_export


class Lab:
    """A Model that keeps two versions, and has four."""

    def __init__(self, kube: Kube, s3: S3Server, bucket: Bucket, proxy: FaultProxy) -> None:
        self.kube = kube
        self.bucket = bucket
        self.s3 = s3
        self.proxy = proxy
        self.namespace = kube.namespace()
        kube.secret(self.namespace, "s3", s3.access_key, s3.secret_key)
        for version in (1, 2, 3, 4):
            bucket.upload(f"{self.namespace}/{version}", {"": b""} | tiny_export(version))
        source = {
            "uri": f"s3://{bucket.name}/{self.namespace}",
            "endpoint": proxy.endpoint,
            "credentialsSecret": "s3",
            "pollInterval": "1s",
            "settle": "0s",
        }
        spec = {"source": source, "retention": {"keep": 2}, "labels": {"stable": 2}}
        kube.create_model(self.namespace, "m", spec)

    def wait(self, what: str, ask: Any, seconds: float = 90) -> None:
        eventually(what, ask, seconds=seconds, state=lambda: self.kube.describe(self.namespace))

    @property
    def status(self) -> dict[str, Any]:
        return self.kube.status(self.namespace, "m")

    @property
    def retention(self) -> dict[str, Any]:
        return self.status.get("retention") or {}

    def held(self) -> set[str]:
        found = self.bucket.store.list_objects(
            self.bucket.name, f"{self.namespace}/", recursive=True
        )
        return {(item.object_name or "").split("/")[1] for item in found}

    def events(self) -> list[tuple[str, str]]:
        listed = self.kube.core.list_namespaced_event(self.namespace).items
        return sorted(
            (item.reason, item.message)
            for item in listed
            if item.reason in ("WouldDelete", "Deleted", "RetentionDenied")
        )

    def backdate(self) -> None:
        """As if a minute had passed since the versions were named: nobody waits for a clock here."""
        versions = self.retention["versions"]
        for doomed in versions:
            doomed["since"] = "2026-01-01T00:00:00Z"
        self.kube.custom.patch_namespaced_custom_object_status(
            "slipway.dev", "v1alpha1", self.namespace, "models", "m",
            {"status": {"retention": {"versions": versions}}},
        )  # fmt: skip


@pytest.fixture
def lab(kube: Kube, s3: S3Server, bucket: Bucket) -> Iterator[Lab]:
    with FaultProxy(s3.layout.port) as proxy:
        made = Lab(kube, s3, bucket, proxy)
        yield made
        with contextlib.suppress(ApiException):
            kube.core.delete_namespace(made.namespace)


def named(lab: Lab) -> bool:
    return [d["version"] for d in lab.retention.get("versions", ())] == [1]


@pytest.mark.usefixtures("kubelet")
def test_old_exports_are_named_and_later_deleted(
    lab: Lab, controlplane: ControlPlane, tmp_path: Path
) -> None:
    only, log = f"--namespace={lab.namespace}", tmp_path / "operator.log"
    with running_operator(str(controlplane.kubeconfig), log, only):
        lab.wait("version 1 is named", lambda: named(lab))
        lab.wait(
            "its status says so; the message first says that a label leads nowhere",
            lambda: lab.retention.get("message", "").startswith(
                "retention: version 1 will be deleted after "
            ),
        )
        assert lab.held() == {"1", "2", "3", "4"}
        lab.wait("the Event, which follows the status", lab.events)
    said = (
        "version 1 would be deleted from the source (2 objects, 12 B; 1/): "
        "it goes in 60 s at the earliest"
    )
    assert lab.events() == [("WouldDelete", said)]
    # Another process goes on where this one was: what was said is in the status.
    lab.backdate()
    with running_operator(str(controlplane.kubeconfig), log, only):
        lab.wait("version 1 is gone, with its folder", lambda: lab.held() == {"2", "3", "4"})
        lab.wait(
            "the Event tells", lambda: [e[0] for e in lab.events()] == ["Deleted", "WouldDelete"]
        )
        lab.wait("version 4 serves", lambda: lab.status.get("serving") == "4")
        lab.wait("nothing is named", lambda: not lab.retention.get("versions"))
        assert lab.events()[0][1].startswith("version 1 was deleted from the source (2 objects, ")
        lab.bucket.upload(f"{lab.namespace}/5", tiny_export(5))
        lab.wait("version 5 serves", lambda: lab.status.get("serving") == "5")
        lab.wait(
            "version 3 is named; 2 is labelled",
            lambda: [d["version"] for d in lab.retention.get("versions", ())] == [3],
        )
        assert lab.held() == {"2", "3", "4", "5"}


@pytest.mark.usefixtures("kubelet")
def test_a_store_that_refuses_to_delete_is_told_once_and_stops_nothing_else(
    lab: Lab, controlplane: ControlPlane, tmp_path: Path
) -> None:
    with running_operator(
        str(controlplane.kubeconfig), tmp_path / "log", f"--namespace={lab.namespace}"
    ):
        lab.wait("version 1 is named", lambda: named(lab))
        lab.proxy.rule = on(lambda asked: "delete" in asked.query, Fault(status=403))
        lab.backdate()
        lab.wait("it is told", lambda: lab.retention.get("reason") == "RetentionDenied")
        lab.bucket.upload(f"{lab.namespace}/5", tiny_export(5))
        lab.wait("version 5 serves", lambda: lab.status.get("serving") == "5")
        lab.wait(
            "Degraded says it",
            lambda: any(
                c["type"] == "Degraded" and c["reason"] == "RetentionDenied"
                for c in lab.status["conditions"]
            ),
        )
        lab.wait(
            "the Event, which follows the status", lambda: "RetentionDenied" in dict(lab.events())
        )
    assert [reason for reason, _ in lab.events()].count("RetentionDenied") == 1
    assert "1" in lab.held()
    assert lab.s3.secret_key not in str(lab.events())


@pytest.mark.usefixtures("kubelet")
def test_what_another_model_of_the_source_serves_is_not_deleted(
    lab: Lab, controlplane: ControlPlane, tmp_path: Path
) -> None:
    spec = lab.kube.model(lab.namespace, "m")["spec"]
    source = spec["source"] | {"uri": f"{spec['source']['uri']}/"}
    lab.kube.create_model(lab.namespace, "old", {"source": source, "versions": {"specific": [1]}})
    with running_operator(
        str(controlplane.kubeconfig), tmp_path / "log", f"--namespace={lab.namespace}"
    ):
        lab.wait(
            "nothing is named, for the other Model serves it",
            lambda: (
                lab.retention.get("message") == "retention: versions 4, 3 stay; nothing to delete"
            ),
        )
        lab.wait(
            "the other Model serves 1",
            lambda: lab.kube.status(lab.namespace, "old").get("serving") == "1",
        )
        assert lab.events() == []
        lab.bucket.upload(f"{lab.namespace}/5", tiny_export(5))
        lab.wait(
            "version 3 is named; 2 is labelled, and 1 the other Model's",
            lambda: [d["version"] for d in lab.retention.get("versions", ())] == [3],
        )
