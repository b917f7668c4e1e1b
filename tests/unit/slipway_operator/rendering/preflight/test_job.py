"""The Job that tries a version out: the pod that serves, without a GPU and without what serving needs."""

from typing import Any

import pytest

from slipway_operator.api.names import MODEL_LABEL, PREFLIGHT_LABEL, VOLUME_LABEL
from slipway_operator.api.resource import parse
from slipway_operator.model.pvc import Sharing
from slipway_operator.model.servable import Servable
from slipway_operator.rendering.deployment import deployment
from slipway_operator.rendering.preflight.job import preflight_job
from slipway_operator.rendering.settings import RenderSettings

SETTINGS = RenderSettings("server:1", "sync:1")
SERVABLE = Servable(3, "3", "0" * 64, "0123abcd")
SPEC: dict[str, Any] = {
    "source": {"uri": "s3://models/digits", "credentialsSecret": "digits-s3"},
    "serving": {
        "resources": {
            "limits": {"nvidia.com/gpu": 1, "memory": "8Gi", "cpu": 2},
            "requests": {"amd.com/gpu": 1, "memory": "6Gi", "hugepages-2Mi": "64Mi"},
        },
        "env": [
            {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
            {"name": "TF_CPP_MIN_LOG_LEVEL", "value": "1"},
        ],
        "podLabels": {"app": "shop"},
        "nodeSelector": {"gpu": "a100", "kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "priorityClassName": "high",
        "serviceAccount": "models",
        "imagePullSecrets": ["pull"],
        "batching": {"maxBatchSize": 32},
    },
}
CACHE = {"persistentVolumeClaim": "shared"}


def job(check: str = "Load", sharing: Sharing = Sharing.ANYWHERE, **serving: Any) -> dict[str, Any]:
    spec = SPEC | {"serving": SPEC["serving"] | serving}
    model = parse({"metadata": {"name": "digits", "namespace": "ml", "uid": "u1"}, "spec": spec})
    return preflight_job(model, SERVABLE, check, SETTINGS, None, sharing)


def pod(*args: Any, **serving: Any) -> dict[str, Any]:
    found: dict[str, Any] = job(*args, **serving)["spec"]["template"]["spec"]
    return found


def test_it_asks_for_no_gpu_and_sees_none() -> None:
    [server] = pod()["containers"]
    assert server["resources"] == {
        "limits": {"memory": "8Gi", "cpu": 2},
        "requests": {"memory": "6Gi", "hugepages-2Mi": "64Mi"},
    }
    assert server["env"] == [
        {"name": "TF_CPP_MIN_LOG_LEVEL", "value": "1"},
        {"name": "CUDA_VISIBLE_DEVICES", "value": "-1"},
        {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"},
    ]


def test_it_loads_as_the_pod_that_serves_does_and_ends() -> None:
    spec = SPEC
    model = parse({"metadata": {"name": "digits", "namespace": "ml", "uid": "u1"}, "spec": spec})
    serving = deployment(model, SERVABLE, 1, SETTINGS)["spec"]["template"]["spec"]
    tried = pod()
    [server], [serves] = tried["containers"], serving["containers"]
    assert server["args"] == [*serves["args"], "--exit_after_load=true"]
    assert not {"ports", "readinessProbe", "livenessProbe", "startupProbe"} & server.keys()
    assert server["securityContext"] == serves["securityContext"]
    assert tried["securityContext"] == serving["securityContext"]
    assert tried["initContainers"] == serving["initContainers"]
    assert tried["automountServiceAccountToken"] is False
    assert tried["restartPolicy"] == "OnFailure"
    assert tried["serviceAccountName"] == "models"
    assert tried["imagePullSecrets"] == [{"name": "pull"}]


def test_verify_runs_the_sync_alone() -> None:
    tried = pod("Verify")
    assert [c["name"] for c in tried["containers"]] == ["sync"]
    assert "initContainers" not in tried


def test_it_waits_behind_what_serves_and_for_no_node_with_a_gpu() -> None:
    tried = pod()
    assert "priorityClassName" not in tried
    assert tried["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert tried["tolerations"]
    whole = SPEC["serving"]["nodeSelector"]
    assert pod(runtimeClassName="nvidia")["nodeSelector"] == whole
    assert pod("Load", Sharing.ONE_NODE, cache=CACHE)["nodeSelector"] == whole


def test_nothing_takes_its_pod_for_one_that_serves() -> None:
    made = job(cache=CACHE)
    for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert MODEL_LABEL not in metadata["labels"]
        assert metadata["labels"][PREFLIGHT_LABEL] == "digits"
        assert "app" not in metadata["labels"]
    assert made["spec"]["template"]["metadata"]["labels"][VOLUME_LABEL] == "shared"
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Model", "u1")


@pytest.mark.parametrize(
    ("sharing", "volumes"),
    [
        (Sharing.ANYWHERE, {"claim", "keep"}),
        (Sharing.ONE_NODE, {"claim", "keep"}),
        (Sharing.ONE_POD, {"models"}),
    ],
)
def test_it_syncs_to_the_cache_that_it_can_mount(sharing: Sharing, volumes: set[str]) -> None:
    tried = pod("Verify", sharing, cache=CACHE)
    names = {volume["name"] for volume in tried["volumes"]}
    assert volumes <= names
    assert ("claim" in names) == ("claim" in volumes)
    assert ("affinity" in tried) == (sharing is Sharing.ONE_NODE)


def test_a_job_of_the_longest_name_can_label_its_pod() -> None:
    model = parse({"metadata": {"name": "m" * 40, "namespace": "ml", "uid": "u"}, "spec": SPEC})
    made = preflight_job(model, SERVABLE, "Load", SETTINGS)
    assert len(made["metadata"]["name"]) <= 63
