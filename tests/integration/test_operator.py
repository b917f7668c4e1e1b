"""The operator's process against a real API server, its controllers and a real S3 server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import BatchV1Api
from kubernetes.client.exceptions import ApiException

from apiproxy import ApiProxy, Write, is_ours, settled_writes
from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from watching import PodHistory
from world import Bucket, Kube, Operator, eventually, running_operator, tiny_export

WAITS = "WaitingForGPU: 0/1 nodes have 1 more nvidia.com/gpu"


class Lab:
    """A namespace with credentials and one Model's corner of the bucket."""

    def __init__(self, kube: Kube, s3: S3Server, bucket: Bucket) -> None:
        self.kube = kube
        self.namespace = kube.namespace()
        self.prefix = self.namespace
        self.bucket = bucket
        self._s3 = s3
        kube.secret(self.namespace, "s3", s3.access_key, s3.secret_key)

    @property
    def only(self) -> str:
        """The operator's flag that keeps it to this namespace."""
        return f"--namespace={self.namespace}"

    def clear(self) -> None:
        """Leave no Model behind for the next test's kubelet to work on."""
        with contextlib.suppress(ApiException):
            self.kube.core.delete_namespace(self.namespace)

    def upload(self, version: int) -> None:
        self.bucket.upload(f"{self.prefix}/{version}", tiny_export(version))

    def create(self, name: str = "m", **spec: Any) -> None:
        source = {
            "uri": f"s3://{self.bucket.name}/{self.prefix}",
            "endpoint": self._s3.endpoint,
            "credentialsSecret": "s3",
            "pollInterval": "1s",
            "settle": "0s",
        }
        self.kube.create_model(self.namespace, name, {"source": source} | spec)

    def poke(self) -> None:
        """An edit that asks for nothing."""
        self.kube.custom.patch_namespaced_custom_object(
            "slipway.dev", "v1alpha1", self.namespace, "models", "m",
            {"metadata": {"annotations": {"poked": "yes"}}},
        )  # fmt: skip

    def annotate(self, verb: str, value: str | None) -> None:
        """As `kubectl annotate` does it; None takes the annotation away."""
        self.kube.custom.patch_namespaced_custom_object(
            "slipway.dev", "v1alpha1", self.namespace, "models", "m",
            {"metadata": {"annotations": {f"slipway.dev/{verb}": value}}},
            field_manager="kubectl-annotate",
        )  # fmt: skip

    def status(self, name: str = "m") -> dict[str, Any]:
        return self.kube.status(self.namespace, name)

    def ready(self, name: str = "m") -> str:
        return condition(self.status(name), "Ready")[0]

    def wait(self, what: str, ask: Any, seconds: float = 90) -> None:
        eventually(what, ask, seconds=seconds, state=lambda: self.kube.describe(self.namespace))

    def jobs(self) -> list[Any]:
        """The Model's pre-flight Jobs."""
        found = BatchV1Api(self.kube.api).list_namespaced_job(self.namespace)
        return list(found.items)

    def children(self) -> set[str]:
        """Kinds and names of the Model's children; a Deployment's without its hash."""
        deployments = self.kube.apps.list_namespaced_deployment(self.namespace).items
        services = self.kube.core.list_namespaced_service(self.namespace).items
        return {f"deployment/{d.metadata.name.rpartition('-')[0]}" for d in deployments} | {
            f"service/{s.metadata.name}" for s in services
        }

    def wait_serving(self, version: int, name: str = "m", seconds: float = 90) -> None:
        self.wait(
            f"version {version} serves alone and ready",
            lambda: (
                (s := self.status(name)).get("serving") == str(version)
                and s.get("phase") == "Available"
                and condition(s, "Ready")[0] == "True"
            ),
            seconds,
        )


CANARY = {"steps": [{"weight": 10, "pause": {"duration": "1s"}}, {"weight": 50, "pause": {}}]}
SECOND = {"deployment/m-v2", "service/m", "service/m-pods", "service/m-v2"}


def condition(status: dict[str, Any], kind: str) -> tuple[str, str, str]:
    for item in status.get("conditions") or ():
        if item["type"] == kind:
            return item["status"], item["reason"], item["message"]
    return "", "", ""


@pytest.fixture
def lab(kube: Kube, s3: S3Server, bucket: Bucket) -> Iterator[Lab]:
    made = Lab(kube, s3, bucket)
    yield made
    made.clear()


@pytest.fixture
def operator(lab: Lab, controlplane: ControlPlane, tmp_path: Path) -> Iterator[Operator]:
    kubeconfig, log = str(controlplane.kubeconfig), tmp_path / "operator.log"
    with running_operator(kubeconfig, log, lab.only) as running:
        yield running


@pytest.mark.usefixtures("operator", "kubelet")
@pytest.mark.parametrize(
    ("policy", "replicas"),
    [("AvailabilityPreserving", 1), ("AvailabilityPreserving", 2), ("ResourcePreserving", 2)],
)
def test_a_new_version_takes_over(lab: Lab, policy: str, replicas: int) -> None:
    lab.upload(1)
    lab.create(transition={"policy": policy}, serving={"replicas": replicas})
    lab.wait_serving(1)
    lab.upload(2)
    lab.wait_serving(2)
    lab.wait("only the children of version 2 are left", lambda: lab.children() == SECOND)


@pytest.mark.usefixtures("operator")
def test_resource_preserving_never_holds_more_pods_than_replicas(
    lab: Lab, kubelet: FakeKubelet
) -> None:
    kubelet.gpus = 2
    lab.upload(1)
    lab.create(transition={"policy": "ResourcePreserving"}, serving={"replicas": 2})
    lab.wait_serving(1)
    with PodHistory(lab.kube, lab.namespace) as history:
        lab.upload(2)
        lab.wait_serving(2)
    assert history.most <= 2
    assert history.fewest_ready >= 1


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
@pytest.mark.parametrize(
    ("outcome", "word"),
    [("load-failed", "cannot parse saved_model.pb"), ("sync-rejected", "a shard is corrupt")],
)
def test_a_version_that_cannot_load_leaves_the_old_one_and_a_later_one_goes_through(
    lab: Lab, kubelet: FakeKubelet, policy: str, outcome: Any, word: str
) -> None:
    kubelet.behave = lambda version: outcome if version == 2 else "ready"
    lab.upload(1)
    lab.create(transition={"policy": policy}, serving={"replicas": 2})
    lab.wait_serving(1)
    lab.upload(2)
    lab.wait(
        "version 1 serves and the message names the error of version 2",
        lambda: (
            (s := lab.status()).get("serving") == "1"
            and word in s["message"]
            and "version 2" in s["message"]
            and s["phase"] in ("RolledBack from 2", "Rejected 2")
            and s["ready"] == "2/2"
        ),
    )
    lab.upload(3)
    lab.wait_serving(3)


LOADED_FIRST = {"policy": "ResourcePreserving", "preflight": "Load"}


@pytest.mark.usefixtures("operator")
def test_a_version_that_fails_in_its_preflight_takes_no_old_pod(
    lab: Lab, kubelet: FakeKubelet
) -> None:
    kubelet.try_out = lambda version: "load-failed" if version == 2 else "ready"
    lab.upload(1)
    lab.create(transition=LOADED_FIRST, serving={"replicas": 2})
    lab.wait_serving(1)
    with PodHistory(lab.kube, lab.namespace) as history:
        lab.upload(2)
        lab.wait(
            "version 2 has failed, and says where and why",
            lambda: (
                (s := lab.status()).get("phase") == "RolledBack from 2"
                and "before any old pod went: cannot parse saved_model.pb" in s["message"]
            ),
        )
        lab.wait("its Job is gone", lambda: not lab.jobs())
    assert (history.fewest_ready, history.most) == (2, 2)
    assert lab.children() == {"deployment/m-v1", "service/m", "service/m-pods", "service/m-v1"}
    lab.upload(3)
    lab.wait_serving(3)
    lab.wait("no Job is left", lambda: not lab.jobs())


def test_a_restart_in_a_preflight_goes_on_with_its_job_and_who_gives_it_up_ends_it(
    lab: Lab, kubelet: FakeKubelet, controlplane: ControlPlane, tmp_path: Path
) -> None:
    kubelet.try_out = lambda _: "hang"
    arguments = str(controlplane.kubeconfig), tmp_path / "operator.log", lab.only
    with running_operator(*arguments) as first:
        lab.upload(1)
        lab.create(transition=LOADED_FIRST, serving={"replicas": 2})
        lab.wait_serving(1)
        lab.upload(2)
        lab.wait("the Job of version 2 is there", lambda: len(lab.jobs()) == 1)
        lab.wait("its phase says so", lambda: lab.status()["phase"] == "Preflight 2")
        first.kill()
    [before] = lab.jobs()
    with running_operator(*arguments):
        lab.upload(3)
        lab.wait(
            "version 3 takes its place",
            lambda: (
                lab.status()["phase"] == "Preflight 3"
                and [job.metadata.uid for job in lab.jobs()] not in ([], [before.metadata.uid])
            ),
        )
        lab.annotate("abort", "3/1")
        lab.wait("version 2 comes back to its pre-flight", lambda: lab.status()["target"] == "2")
        lab.annotate("abort", "2/1")
        lab.wait(
            "nothing is tried out any more",
            lambda: not lab.jobs() and lab.status()["serving"] == "1",
        )
    assert lab.status()["ready"] == "2/2"


@pytest.mark.usefixtures("operator")
def test_what_annotations_ask_for_is_done_and_told(lab: Lab, kubelet: FakeKubelet) -> None:
    lab.upload(1)
    lab.create(versions={"specific": [2]})
    lab.upload(2)
    lab.wait_serving(2)
    lab.annotate("rollback", "1")
    lab.wait(
        "version 1 is pinned and serves",
        lambda: (s := lab.status()).get("phase") == "Pinned" and s.get("serving") == "1",
    )
    assert "slipway.dev/rollback pins version 1" in lab.status()["message"]
    lab.kube.patch_model(lab.namespace, "m", {"versions": {"specific": None, "latest": 1}})
    lab.annotate("rollback", None)
    lab.wait_serving(2)
    kubelet.behave = lambda version: "load-failed" if version == 3 else "ready"
    lab.upload(3)
    lab.wait("version 3 failed", lambda: lab.status().get("phase") == "RolledBack from 3")
    kubelet.behave = lambda _: "ready"
    lab.annotate("retry", "3")
    lab.wait_serving(3)
    history = [
        (entry.get("from", ""), entry["to"], entry["cause"], entry.get("by", ""), entry["outcome"])
        for entry in reversed(lab.status()["history"])
    ]
    assert history == [
        ("", "2", "NewExport", "", "Completed"),
        ("2", "1", "Rollback", "kubectl-annotate", "Completed"),
        ("1", "2", "RollbackLifted", "", "Completed"),
        ("2", "3", "NewExport", "", "RolledBack"),
        ("2", "3", "Retry", "kubectl-annotate", "Completed"),
    ]
    lab.kube.patch_model(lab.namespace, "m", {"versions": {"latest": 2}})
    lab.wait("two versions serve", lambda: lab.status().get("ready") == "2/2")
    lab.wait("nothing is replaced", lambda: not lab.status().get("transition"))
    scale = lab.kube.custom.get_namespaced_custom_object_scale(
        "slipway.dev", "v1alpha1", lab.namespace, "models", "m"
    )
    found = lab.kube.core.list_namespaced_pod(
        lab.namespace, label_selector=scale["status"]["selector"]
    )
    versions = [pod.metadata.labels["slipway.dev/version"] for pod in found.items]
    assert (scale["status"]["replicas"], versions) == (1, ["3"]), "what an autoscaler sees"
    lab.annotate("abort", "now")
    lab.wait(
        "what cannot be used is told",
        lambda: condition(lab.status(), "Degraded")[1] == "InvalidAnnotation",
    )
    assert lab.status()["serving"] == "3"
    lab.wait(
        "Events tell both",
        lambda: (
            {"RequestHonoured", "InvalidAnnotation"}
            <= {event.reason for event in lab.kube.core.list_namespaced_event(lab.namespace).items}
        ),
    )


@pytest.mark.usefixtures("operator")
def test_an_unschedulable_version_is_named_so(lab: Lab, kubelet: FakeKubelet) -> None:
    kubelet.gpus = 1
    lab.upload(1)
    lab.create(serving={"resources": {"limits": {"nvidia.com/gpu": 1}}})
    lab.wait_serving(1)
    lab.upload(2)
    lab.wait("it waits for a GPU", lambda: lab.status().get("phase") == WAITS)
    assert "Insufficient nvidia.com/gpu" in lab.status()["message"]
    assert lab.status()["serving"] == "1"
    kubelet.gpus = 2
    lab.wait_serving(2)


@pytest.mark.usefixtures("operator")
def test_what_serves_is_scaled_in_mid_rollout_and_to_zero_and_back(
    lab: Lab, kubelet: FakeKubelet
) -> None:
    """By the scale subresource, as kubectl, a HorizontalPodAutoscaler and KEDA do."""
    kubelet.behave = lambda version: "loading" if version == 2 else "ready"
    lab.upload(1)
    lab.create(serving={"replicas": 2}, transition={"maxSurge": 1})
    lab.wait_serving(1)
    lab.upload(2)
    lab.wait("version 2 loads", lambda: lab.status()["phase"] == "Loading 0/2")

    def scaled(replicas: int) -> None:
        lab.kube.custom.patch_namespaced_custom_object_scale(
            "slipway.dev",
            "v1alpha1",
            lab.namespace,
            "models",
            "m",
            {"spec": {"replicas": replicas}},
        )
        ready = f"{replicas} pods of version 1 are ready"
        lab.wait(ready, lambda: lab.status()["versions"][-1]["readyReplicas"] == replicas)

    for replicas in (4, 1, 3):
        scaled(replicas)
        assert lab.status()["serving"] == "1"
    scaled(0)
    lab.wait("no pod is left", lambda: lab.status()["phase"] == "ScaledToZero")
    assert lab.kube.model(lab.namespace, "m")["metadata"]["generation"] == 5, "nobody else edits it"
    kubelet.behave = lambda _: "ready"
    lab.kube.patch_model(lab.namespace, "m", {"serving": {"replicas": 2}})
    lab.wait_serving(2)


@pytest.mark.usefixtures("operator", "kubelet")
def test_a_source_in_trouble_never_takes_anything_away(lab: Lab, s3: S3Server) -> None:
    lab.upload(1)
    lab.create()
    lab.wait_serving(1)

    def trouble(reason: str) -> None:
        lab.wait(
            f"SourceReady says {reason} and version 1 serves",
            lambda: (
                condition(s := lab.status(), "SourceReady")[:2] == ("False", reason)
                and condition(s, "Ready")[0] == "True"
                and s["serving"] == "1"
            ),
        )

    def recovered() -> None:
        lab.wait("recovered", lambda: condition(lab.status(), "SourceReady")[0] == "True", 15)

    s3.stop()
    trouble("Unavailable")
    s3.resume()
    recovered()
    s3.change_credentials()
    trouble("AccessDenied")
    # What recovers it is the Secret's new content alone.
    keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    lab.kube.core.patch_namespaced_secret("s3", lab.namespace, {"stringData": keys})
    recovered()
    lab.bucket.store = s3.client()
    lab.bucket.remove(lab.prefix)
    trouble("NoVersions")
    row = lab.status()["versions"][0]
    assert (row["state"], row["version"]) == ("SourceGone", 1)
    assert "a lost pod could not be replaced" in row["message"]
    lab.upload(1)
    recovered()
    lab.wait_serving(1)


@pytest.mark.usefixtures("operator", "kubelet")
def test_credentials_that_are_missing_are_named(lab: Lab) -> None:
    lab.kube.core.delete_namespaced_secret("s3", lab.namespace)
    lab.create()
    lab.wait(
        "the Secret is named",
        lambda: f"Secret {lab.namespace}/s3 does not exist" in lab.status().get("message", ""),
    )


@pytest.mark.usefixtures("operator", "kubelet")
def test_an_export_that_is_still_uploaded_waits_and_says_for_what(lab: Lab) -> None:
    lab.upload(1)
    lab.create()
    lab.wait_serving(1)
    lab.bucket.upload(f"{lab.prefix}/2", {"assets.extra/seed": b"2"})
    lab.wait(
        "the missing graph is named",
        lambda: "saved_model.pb" in lab.status().get("phase", ""),
    )
    assert lab.status()["phase"].startswith("Incomplete 2")
    assert lab.status()["serving"] == "1"
    lab.upload(2)
    lab.wait_serving(2)


@pytest.mark.usefixtures("operator", "kubelet")
def test_content_that_changes_under_a_number_that_serves_is_not_taken(lab: Lab) -> None:
    lab.upload(1)
    lab.create()
    lab.wait_serving(1)
    lab.bucket.upload(f"{lab.prefix}/1", tiny_export(99))
    lab.wait(
        "the change is told", lambda: condition(lab.status(), "Degraded")[1] == "ContentChanged"
    )
    assert lab.status()["serving"] == "1"
    lab.kube.patch_model(lab.namespace, "m", {"source": {"allowMutation": True}})
    lab.wait("the change is taken", lambda: condition(lab.status(), "Degraded")[0] == "False")
    lab.wait_serving(1)


@pytest.mark.usefixtures("operator", "kubelet")
def test_a_service_that_is_not_ours_is_left_alone(lab: Lab) -> None:
    foreign = {"metadata": {"name": "m"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}
    before = lab.kube.core.create_namespaced_service(lab.namespace, foreign)
    lab.upload(1)
    lab.create()
    lab.wait(
        "the conflict is named", lambda: condition(lab.status(), "Degraded")[1] == "NameConflict"
    )
    assert "Service/m" in lab.status()["message"]
    after = lab.kube.core.read_namespaced_service("m", lab.namespace)
    assert after.metadata.resource_version == before.metadata.resource_version
    lab.kube.core.delete_namespaced_service("m", lab.namespace)
    lab.wait_serving(1)


@pytest.mark.usefixtures("operator", "kubelet")
def test_pods_with_labels_of_another_service_are_not_started(lab: Lab) -> None:
    shop = {
        "metadata": {"name": "shop"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "shop"}},
    }
    lab.kube.core.create_namespaced_service(lab.namespace, shop)
    lab.upload(1)
    lab.create(serving={"podLabels": {"app": "shop"}})
    lab.wait("the Service is named", lambda: lab.status().get("phase") == "PodLabelsConflict")
    assert condition(lab.status(), "Degraded")[:2] == ("True", "PodLabelsConflict")
    assert "Service shop matches labels of spec.serving.podLabels" in lab.status()["message"]
    lab.wait(
        "an Event tells it, too",
        lambda: any(
            "Service shop" in (event.message or "")
            for event in lab.kube.core.list_namespaced_event(lab.namespace).items
        ),
    )
    assert not lab.kube.core.list_namespaced_pod(lab.namespace).items
    lab.kube.patch_model(lab.namespace, "m", {"serving": {"podLabels": {"app": "digits"}}})
    lab.wait_serving(1)
    assert condition(lab.status(), "Degraded")[0] == "False"
    # What runs is left alone when such a Service comes, and the next version waits until it names the Model.
    selector = {"app": "digits"}
    mine = {"metadata": {"name": "mine"}, "spec": {"ports": [{"port": 80}], "selector": selector}}
    lab.kube.core.create_namespaced_service(lab.namespace, mine)
    before = {pod.metadata.uid for pod in lab.kube.core.list_namespaced_pod(lab.namespace).items}
    lab.upload(2)
    lab.wait("the Service is named", lambda: lab.status().get("phase") == "PodLabelsConflict")
    assert lab.status()["serving"] == "1"
    after = {pod.metadata.uid for pod in lab.kube.core.list_namespaced_pod(lab.namespace).items}
    assert after == before
    named = {"spec": {"selector": selector | {"slipway.dev/model": "m"}}}
    lab.kube.core.patch_namespaced_service("mine", lab.namespace, named)
    lab.wait_serving(2)


@pytest.mark.usefixtures("operator", "kubelet")
@pytest.mark.parametrize("suffix", ["next", "pods", "v2"])
def test_a_service_of_another_beside_the_main_one_stops_no_change(lab: Lab, suffix: str) -> None:
    """Such as the main Service of a Model that is called so."""
    name = f"m-{suffix}"
    foreign = {
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}},
    }
    before = lab.kube.core.create_namespaced_service(lab.namespace, foreign)
    lab.upload(1)
    lab.create(serving={"replicas": 2})
    lab.wait_serving(1)
    lab.upload(2)
    lab.wait_serving(2)
    after = lab.kube.core.read_namespaced_service(name, lab.namespace)
    assert after.metadata.resource_version == before.metadata.resource_version


@pytest.mark.usefixtures("kubelet")
def test_deleting_the_model_removes_every_child_without_the_operator(
    lab: Lab, controlplane: ControlPlane, tmp_path: Path
) -> None:
    with running_operator(str(controlplane.kubeconfig), tmp_path / "operator.log", lab.only):
        lab.upload(1)
        lab.create(serving={"replicas": 2})
        lab.wait_serving(1)
    model = lab.kube.model(lab.namespace, "m")
    assert "finalizers" not in model["metadata"]
    assert "annotations" not in model["metadata"]
    lab.kube.custom.delete_namespaced_custom_object(
        "slipway.dev", "v1alpha1", lab.namespace, "models", "m"
    )

    def children() -> list[str]:
        core, apps, policy = lab.kube.core, lab.kube.apps, lab.kube.policy
        items = [
            *apps.list_namespaced_deployment(lab.namespace).items,
            *apps.list_namespaced_replica_set(lab.namespace).items,
            *core.list_namespaced_service(lab.namespace).items,
            *core.list_namespaced_pod(lab.namespace).items,
            *policy.list_namespaced_pod_disruption_budget(lab.namespace).items,
        ]
        return [item.metadata.name for item in items]

    lab.wait("no child is left", lambda: not children())
    lab.kube.core.delete_namespace(lab.namespace)
    left = "metadata.name=" + lab.namespace
    lab.wait(
        "the namespace goes",
        lambda: not lab.kube.core.list_namespace(field_selector=left).items,
        60,
    )


@pytest.mark.parametrize(
    "policy", ["AvailabilityPreserving", "ResourcePreserving", "fallback", "canary"]
)
def test_killed_after_every_single_write_it_still_arrives(
    lab: Lab, kubelet: FakeKubelet, controlplane: ControlPlane, tmp_path: Path, policy: str
) -> None:
    """Each process lives for one write; together they make every prefix of the rollout's writes."""
    transition: dict[str, Any] = {"policy": policy}
    rollout: dict[str, Any] = {}
    if policy == "canary":
        transition = {"policy": "ResourcePreserving"}
        rollout = {"rollout": CANARY}
    if policy == "fallback":
        kubelet.gpus = 2
        transition = {"whenUnschedulable": {"after": "1s", "then": "ResourcePreserving"}}
    with running_operator(str(controlplane.kubeconfig), tmp_path / "first.log", lab.only):
        lab.upload(1)
        lab.create(transition=transition, serving={"replicas": 2}, **rollout)
        lab.wait_serving(1)
    lab.annotate("approve", "2/2")
    lab.upload(2)
    current: list[Operator] = []

    def kill(write: Write) -> None:
        if is_ours(write) and current:
            current.pop().process.kill()

    with ApiProxy(str(controlplane.kubeconfig), tmp_path, on_write=kill) as proxy:
        lives = 0
        while not arrived(lab):
            operator = Operator(proxy.proxied_kubeconfig, tmp_path / "operator.log", lab.only)
            current[:] = [operator]
            lives += 1
            assert lives < 120, f"{settled_writes(proxy)[-9:]}\n{lab.kube.describe(lab.namespace)}"
            lab.wait(
                "it writes and dies, or all is done",
                lambda op=operator: op.process.poll() is not None or arrived(lab),
                60,
            )
            operator.kill()
        assert lives > 10
        quiet(lab, proxy, tmp_path)


def arrived(lab: Lab) -> bool:
    status = lab.status()
    return (
        status.get("serving") == "2"
        and status.get("phase") == "Available"
        and condition(status, "Ready")[0] == "True"
        and lab.children() == SECOND
        and not lab.jobs()
        and not any(
            "slipway.dev/rotation" in p.metadata.labels
            for p in lab.kube.core.list_namespaced_pod(lab.namespace).items
        )
    )


def quiet(lab: Lab, proxy: ApiProxy, tmp_path: Path) -> None:
    """A process that starts when all is done polls, plans, and writes nothing but its Lease."""
    log = tmp_path / "quiet.log"
    before = len(settled_writes(proxy))
    uri = f"s3://{lab.bucket.name}/{lab.prefix}"
    with running_operator(proxy.proxied_kubeconfig, log, lab.only, "--log-level=debug"):
        lab.wait("it has planned", lambda: log.read_text().count('"planned"') == 1, 20)
        lab.poke()
        lab.wait("it has planned again", lambda: log.read_text().count('"planned"') == 2, 20)
    assert settled_writes(proxy)[before:] == [], uri
