"""Which fields of a Deployment's template someone else has changed, from what the API server notes."""

from copy import deepcopy
from typing import Any

import pytest

from slipway_operator.planning.status.template_edits import Edits, template_edits
from slipway_operator.rendering.deployment import deployment
from slipway_operator.rendering.inputs import servable
from slipway_operator.rendering.settings import RenderSettings
from snapshots import model

OWN = {
    "manager": "slipway",
    "operation": "Update",
    "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}},
}
SERVER = 'k:{"name":"server"}'


def stored(**serving: Any) -> dict[str, Any]:
    """A Deployment of ours with some of what the API server makes of it."""
    of = model(serving={"replicas": 2, "resources": {"limits": {"nvidia.com/gpu": 1}}} | serving)
    manifest = deployment(of, servable(of, 3, "3", "a" * 64), 2, RenderSettings("s:1", "y:1"))
    written = manifest["spec"]["template"]
    manifest = deepcopy(manifest) | {"written": written}
    template = manifest["spec"]["template"]
    template["metadata"].pop("annotations", None)  # It was empty.
    template["spec"] |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}
    [server] = template["spec"]["containers"]
    server["resources"] = {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}
    server["terminationMessagePolicy"] = "File"
    manifest["metadata"] |= {
        "uid": "u",
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "managedFields": [deepcopy(OWN)],
    }
    return manifest


def edits_of(found: dict[str, Any]) -> Edits:
    return template_edits(found, found["written"])


def server_of(manifest: dict[str, Any]) -> dict[str, Any]:
    [server] = manifest["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = server
    return found


def noted(manifest: dict[str, Any], fields: dict[str, Any], manager: str = "kubectl-edit") -> None:
    """What the API server adds when that manager sets fields of the template."""
    entry = {"manager": manager, "operation": "Update"}
    manifest["metadata"]["managedFields"].append(
        entry | {"fieldsV1": {"f:spec": {"f:template": fields}}}
    )


def in_server(fields: dict[str, Any]) -> dict[str, Any]:
    return {"f:spec": {"f:containers": {SERVER: fields}}}


def test_what_the_api_server_adds_and_writes_otherwise_is_no_edit() -> None:
    assert edits_of(stored()) == Edits()
    full = {"env": [{"name": "A", "value": ""}], "nodeSelector": {"gpu": "a100"}}
    assert edits_of(stored(**full)) == Edits()


def test_a_field_with_another_value_is_named_with_who_has_set_it() -> None:
    found = stored()
    server_of(found)["image"] = "other:1"
    noted(found, in_server({".": {}, "f:image": {}}))
    edits = Edits(("spec.template.spec.containers[server].image",), ("kubectl-edit",))
    assert edits_of(found) == edits


def test_a_field_that_was_added_is_named() -> None:
    found = stored()
    at = "kubectl.kubernetes.io/restartedAt"
    found["spec"]["template"]["metadata"]["annotations"] = {at: "2026-03-01T12:00:00Z"}
    noted(found, {"f:metadata": {"f:annotations": {".": {}, f"f:{at}": {}}}}, "kubectl-rollout")
    assert edits_of(found) == Edits(
        (f"spec.template.metadata.annotations.{at}",), ("kubectl-rollout",)
    )


def test_a_field_that_was_removed_is_named_although_nobody_owns_it() -> None:
    found = stored(env=[{"name": "A", "value": "b"}], nodeSelector={"gpu": "a100"})
    server_of(found)["env"] = []
    del found["spec"]["template"]["spec"]["nodeSelector"]
    assert edits_of(found).fields == (
        "spec.template.spec.containers[server].env[A]",
        "spec.template.spec.nodeSelector",
    )


def test_a_field_that_was_put_back_is_no_edit() -> None:
    found = stored()
    noted(found, in_server({".": {}, "f:image": {}}))
    assert edits_of(found) == Edits()
    limits = in_server({"f:resources": {"f:limits": {"f:nvidia.com/gpu": {}}}})
    noted(found, limits)
    assert edits_of(found) == Edits()
    server_of(found)["resources"]["limits"]["nvidia.com/gpu"] = "2"
    assert edits_of(found).fields == (
        "spec.template.spec.containers[server].resources.limits.nvidia.com/gpu",
    )


@pytest.mark.parametrize(
    ("name", "written", "now", "same"),
    [
        ("cpu", "1000m", "1", True),
        ("cpu", "500m", "1", False),
        ("cpu", "1.5", "1500m", True),
        ("memory", "1024Mi", "1Gi", True),
        ("memory", "1Gi", "1G", False),
        ("memory", "1000", "1e3", True),
        ("memory", "1k", "what", False),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_a_quantity_is_the_same_however_it_is_written(
    name: str, written: str, now: str, *, same: bool, whole: bool
) -> None:
    found = stored(resources={"limits": {name: written}})
    server_of(found)["resources"] = {"limits": {name: now}}
    limits = {"f:limits": {} if whole else {f"f:{name}": {}}}
    noted(found, in_server({"f:resources": limits}))
    assert (edits_of(found) == Edits()) is same


def test_text_that_looks_like_a_quantity_is_text() -> None:
    found = stored(env=[{"name": "CPUS", "value": "1000m"}])
    server_of(found)["env"][0]["value"] = "1"
    noted(found, in_server({"f:env": {'k:{"name":"CPUS"}': {"f:value": {}}}}))
    assert edits_of(found).fields == ("spec.template.spec.containers[server].env[CPUS].value",)


@pytest.mark.parametrize("subresource", ["status", "scale"])
def test_scaling_and_its_status_are_no_edits(subresource: str) -> None:
    found = stored()
    noted(found, in_server({"f:image": {}}), "kube-controller-manager")
    found["metadata"]["managedFields"][-1]["subresource"] = subresource
    server_of(found)["image"] = "other:1"
    assert edits_of(found) == Edits()


def test_other_parts_of_a_deployment_are_not_the_template() -> None:
    found = stored()
    found["metadata"]["managedFields"].append(
        {"manager": "kubectl-label", "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}}}
    )
    found["metadata"]["managedFields"].append({"manager": "kubectl-scale", "fieldsV1": None})
    assert edits_of(found) == Edits()


def test_a_deployment_that_was_restored_from_a_backup_is_not_edited() -> None:
    found = stored()
    found["metadata"]["managedFields"] = []
    noted(found, in_server({"f:image": {}, "f:terminationMessagePolicy": {}}), "velero-server")
    assert edits_of(found) == Edits()
