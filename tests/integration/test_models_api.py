"""Models at a real API server: the table of manifests, defaults, columns, scale and names."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from cluster.controlplane import ControlPlane
from cluster.errors import ClusterError
from cluster.kubectl import Kubectl
from model_manifests import BAD, GOOD, Case, without_empty
from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import ModelStatus
from world import Kube

PAGE = Path(__file__).parents[2] / "docs/guide/gallery.md"
GALLERY = [
    yaml.safe_load(block)
    for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
]
NOW = "2026-01-02T03:04:05Z"


@pytest.fixture(scope="session")
def kubectl(controlplane: ControlPlane) -> Kubectl:
    return Kubectl(controlplane.kubeconfig)


@pytest.fixture
def namespace(kube: Kube) -> str:
    return kube.namespace()


def try_out(kube: Kube, manifest: dict[str, Any]) -> dict[str, Any]:
    """What the API server would store."""
    stored: dict[str, Any] = kube.custom.create_namespaced_custom_object(
        "slipway.dev", "v1alpha1", "default", "models", manifest, dry_run="All"
    )
    return stored


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.case)
def test_a_bad_model_is_refused_with_its_sentence(kube: Kube, case: Case) -> None:
    with pytest.raises(ApiException) as refusal:
        try_out(kube, case.manifest)
    assert refusal.value.status == 422
    assert (case.says or case.at) in json.loads(refusal.value.body)["message"]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.case)
def test_a_good_model_is_stored_as_the_operator_reads_it(kube: Kube, case: Case) -> None:
    stored = try_out(kube, case.manifest)["spec"]
    read = ModelSpec.model_validate(case.spec).model_dump(by_alias=True, mode="json")
    assert without_empty(stored) == without_empty(read)


@pytest.mark.parametrize("manifest", GALLERY, ids=lambda manifest: manifest["metadata"]["name"])
def test_a_model_of_the_gallery_is_stored_as_it_is_shown(
    kube: Kube, manifest: dict[str, Any]
) -> None:
    stored = try_out(kube, manifest)["spec"]

    def kept(shown: Any, found: Any) -> bool:
        if isinstance(shown, dict):
            return all(kept(value, found[key]) for key, value in shown.items())
        if isinstance(shown, list):
            return all(kept(one, other) for one, other in zip(shown, found, strict=True))
        return bool(shown == found)

    # A field that the API server does not know would be dropped.
    assert kept(manifest["spec"], stored)


def test_the_gallery_is_large_and_names_no_model_twice() -> None:
    names = [manifest["metadata"]["name"] for manifest in GALLERY]
    assert len(set(names)) == len(names) >= 20


def test_a_misspelt_field_is_named_by_kubectl(kubectl: Kubectl, namespace: str) -> None:
    manifest = json.dumps(
        {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "Model",
            "metadata": {"name": "mnist"},
            "spec": {"source": {"uri": "s3://models/mnist"}, "serving": {"replica": 2}},
        }
    )
    with pytest.raises(ClusterError, match=r'unknown field "spec.serving.replica"'):
        kubectl.run("apply", f"--namespace={namespace}", "--filename=-", stdin=manifest)


def test_a_good_model_cannot_be_edited_into_a_bad_one(
    kube: Kube, kubectl: Kubectl, namespace: str
) -> None:
    kube.create_model(namespace, "mnist", {"source": {"uri": "s3://models/mnist"}})
    with pytest.raises(ClusterError, match="use no extra pods, set policy to ResourcePreserving"):
        kubectl.run(
            *("patch", "model", "mnist", f"--namespace={namespace}", "--type=merge"),
            '--patch={"spec": {"transition": {"maxSurge": 0}}}',
        )


def status() -> dict[str, Any]:
    """A status with everything in it, as the operator writes it."""
    condition = {
        "status": "True",
        "observedGeneration": 1,
        "lastTransitionTime": NOW,
        "reason": "Transition",
        "message": "version 4 is replacing version 3",
    }
    return ModelStatus.model_validate(
        {
            "observedGeneration": 1,
            "conditions": [
                {"type": kind, **condition}
                for kind in ("SourceReady", "Progressing", "Degraded", "Ready")
            ],
            "serving": "3 67%, 4 33%",
            "target": "4",
            "phase": "Shifting 1/2",
            "ready": "3/2",
            "message": "version 4 takes over",
            "url": "http://mnist.default.svc:8501/v1/models/mnist",
            "replicas": 3,
            "selector": "slipway.dev/model=mnist",
            "versions": [
                {
                    "version": 4,
                    "revision": "a" * 64,
                    "digest": "sha256:" + "b" * 64,
                    "key": "c" * 8,
                    "availableKey": "c" * 8,
                    "failedKey": "d" * 8,
                    "bytes": 2**40,
                    "state": "Available",
                    "weight": 33,
                    "replicas": 1,
                    "readyReplicas": 1,
                    "since": NOW,
                }
            ],
            "transition": {
                "replicas": 2,
                "since": NOW,
                "waitingSince": NOW,
                "fallback": "ResourcePreserving",
                "message": "2 pods have had no room for 2m0s",
                "preflight": {
                    "version": 4,
                    "key": "c" * 8,
                    "check": "Load",
                    "state": "Running",
                    "since": NOW,
                    "waitingSince": NOW,
                    "message": "Job mnist-preflight-cccccccc loads it on a CPU",
                },
            },
            "rollout": {
                "version": 4,
                "key": "c" * 8,
                "stable": 3,
                "stableKey": "f" * 8,
                "plan": "a" * 64,
                "step": 1,
                "steps": 2,
                "weight": 33,
                "reached": 33,
                "since": NOW,
                "reachedAt": NOW,
                "waitingFor": "Analysis",
                "analysis": {
                    "since": NOW,
                    "passed": 1,
                    "outcome": "Good",
                    "message": "version 4 is no worse",
                },
            },
            "honoured": {"abort": "", "retry": "3/2", "message": "version 3 is tried again"},
            "history": [
                {
                    "from": "2",
                    "to": "3",
                    "key": "k" * 8,
                    "digest": "sha256:1",
                    "cause": "Retry",
                    "by": "kubectl-annotate",
                    "startedAt": NOW,
                    "endedAt": NOW,
                    "duration": "0s",
                    "outcome": "Completed",
                    "reason": "LoadFailed",
                    "message": "version 3 could not be loaded",
                    "outageSeconds": 4,
                    "gapSince": NOW,
                    "backKey": "c" * 8,
                }
            ],
            "retention": {
                "key": "e" * 64,
                "reason": "Settling",
                "message": "version 2 goes in a minute",
                "since": NOW,
                "kept": [4, 3],
                "versions": [
                    {
                        "version": 2,
                        "directory": "00000002",
                        "revision": "f" * 64,
                        "objects": 5,
                        "bytes": 2**40,
                        "newest": NOW,
                        "state": "WouldDelete",
                        "since": NOW,
                    }
                ],
            },
        }
    ).as_manifest()


def write_status(kubectl: Kubectl, namespace: str, name: str) -> None:
    kubectl.run(
        *("patch", "model", name, f"--namespace={namespace}", "--subresource=status"),
        *("--type=merge", f"--patch={json.dumps({'status': status()})}"),
    )


def columns(table: str) -> list[dict[str, str]]:
    """The rows of a kubectl table, cut where the headings start: values may hold blanks."""
    heading, *rows = table.splitlines()
    starts = [i for i in range(len(heading)) if heading[i] != " " and (" " + heading)[i] == " "]
    ends = [*starts[1:], None]
    return [
        {
            heading[start:end].strip(): row[start:end].strip()
            for start, end in zip(starts, ends, strict=True)
        }
        for row in rows
    ]


def test_the_whole_status_is_stored(kube: Kube, kubectl: Kubectl, namespace: str) -> None:
    kube.create_model(namespace, "mnist", {"source": {"uri": "s3://models/mnist"}})
    write_status(kubectl, namespace, "mnist")
    assert kube.status(namespace, "mnist") == status()


def test_columns_say_what_is_going_on(kube: Kube, kubectl: Kubectl, namespace: str) -> None:
    kube.create_model(namespace, "mnist", {"source": {"uri": "s3://models/mnist"}})
    write_status(kubectl, namespace, "mnist")
    [row] = columns(kubectl.run("get", "models", f"--namespace={namespace}"))
    assert row.pop("AGE")
    shown = {
        "NAME": "mnist",
        "READY": "True",
        "SERVING": "3 67%, 4 33%",
        "TARGET": "4",
        "PHASE": "Shifting 1/2",
        "REPLICAS": "3/2",
    }
    assert row == shown
    [wide] = columns(kubectl.run("get", "models", f"--namespace={namespace}", "--output=wide"))
    assert wide.pop("AGE")
    assert wide == shown | {
        "POLICY": "AvailabilityPreserving",
        "SOURCE": "s3://models/mnist",
        "URL": "http://mnist.default.svc:8501/v1/models/mnist",
        "MESSAGE": "version 4 takes over",
    }


def test_kubectl_waits_for_ready(kube: Kube, kubectl: Kubectl, namespace: str) -> None:
    kube.create_model(namespace, "mnist", {"source": {"uri": "s3://models/mnist"}})
    write_status(kubectl, namespace, "mnist")
    said = kubectl.run(
        *("wait", "model/mnist", f"--namespace={namespace}"),
        *("--for=condition=Ready", "--timeout=10s"),
    )
    assert "condition met" in said


def test_kubectl_scales(kube: Kube, kubectl: Kubectl, namespace: str) -> None:
    kube.create_model(namespace, "mnist", {"source": {"uri": "s3://models/mnist"}})
    write_status(kubectl, namespace, "mnist")
    kubectl.run("scale", "model/mnist", f"--namespace={namespace}", "--replicas=3")
    assert kube.model(namespace, "mnist")["spec"]["serving"]["replicas"] == 3
    scale = kube.custom.get_namespaced_custom_object_scale(
        "slipway.dev", "v1alpha1", namespace, "models", "mnist"
    )
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 3, "selector": "slipway.dev/model=mnist"}


def test_a_model_that_sets_no_replicas_can_be_scaled(
    kube: Kube, kubectl: Kubectl, namespace: str
) -> None:
    kube.create_model(namespace, "mnist", {"source": {"uri": "s3://models/mnist"}, "serving": {}})
    kubectl.run("scale", "model/mnist", f"--namespace={namespace}", "--replicas=0")
    assert kube.model(namespace, "mnist")["spec"]["serving"]["replicas"] == 0


@pytest.mark.parametrize("kind", ["models", "model", "slm", "slipway", "models.slipway.dev"])
def test_models_answer_to_all_their_names(
    kube: Kube, kubectl: Kubectl, namespace: str, kind: str
) -> None:
    kube.create_model(namespace, "mnist", {"source": {"uri": "s3://models/mnist"}})
    found = kubectl.run("get", kind, f"--namespace={namespace}", "--output=name")
    assert found.split() == ["model.slipway.dev/mnist"]


def test_every_field_is_explained(kubectl: Kubectl) -> None:
    said = kubectl.run("explain", "model.spec.transition.maxSurge")
    assert "maximum extra pods" in said


def test_the_manifests_of_the_quick_start_are_accepted(kubectl: Kubectl) -> None:
    folder = PAGE.parents[2] / "examples/quickstart"
    store = (folder / "s3.yaml").read_text()
    (place,) = (one for one in yaml.safe_load_all(store) if one["kind"] == "Namespace")
    # A dry run needs the namespace.
    kubectl.run("apply", "--filename=-", stdin=json.dumps(place))
    for manifests, count in ((store, 4), ((folder / "model.yaml").read_text(), 3)):
        said = kubectl.run(
            *("apply", "--dry-run=server", "--validate=strict", "--filename=-"), stdin=manifests
        )
        assert said.count("server dry run") == count
    kubectl.run("delete", "namespace", place["metadata"]["name"], "--wait=false")
