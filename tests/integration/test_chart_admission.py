"""The policy by which the API server holds the operator to the objects that a Model owns.

What the operator does write is let through: test_chart_operator.py, where nothing may be refused.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from chart_operator import GROUPS
from charts import NAMESPACE, Helm, admission_policy_holds
from cluster.controlplane import ControlPlane
from world import Kube, eventually

SERVED = "served"
RELEASES = {
    "slipway": ("slipway-operator", ()),
    "ml": (
        "ml-slipway-operator",
        ("crds.install=false", "clusterRoles.install=false", f"namespaces={{{SERVED}}}"),
    ),
}
REFUSED = "ValidatingAdmissionPolicy 'slipway-system.(ml-)?slipway-operator'.* denied request: "
ANY = dict.fromkeys((200, 201, 202), "object")
Manifest = dict[str, Any]

KINDS = {
    "configmaps": ("v1", "ConfigMap"),
    "services": ("v1", "Service"),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim"),
    "pods": ("v1", "Pod"),
    "deployments": ("apps/v1", "Deployment"),
    "jobs": ("batch/v1", "Job"),
    "poddisruptionbudgets": ("policy/v1", "PodDisruptionBudget"),
}


class Writer:
    """Writes to the served namespace as one user."""

    def __init__(self, kubeconfig: Path) -> None:
        self._api = Kube(str(kubeconfig)).api

    def _call(self, method: str, plural: str, name: str = "", body: Any = None) -> Any:
        version, _ = KINDS[plural]
        root = "/apis" if "/" in version else "/api"
        kind = "strategic-merge-patch+json" if method == "PATCH" else "json"
        return self._api.call_api(
            f"{root}/{version}/namespaces/{SERVED}/{plural}" + (f"/{name}" if name else ""),
            method, body=body, response_types_map=ANY, auth_settings=["BearerToken"],
            header_params={"Content-Type": f"application/{kind}"}, _return_http_data_only=True,
        )  # fmt: skip

    def create(self, plural: str, manifest: Manifest) -> Any:
        version, kind = KINDS[plural]
        return self._call("POST", plural, body={"apiVersion": version, "kind": kind, **manifest})

    def get(self, plural: str, name: str) -> Any:
        return self._call("GET", plural, name)

    def patch(self, plural: str, name: str, patch: Manifest) -> Any:
        return self._call("PATCH", plural, name, patch)

    def delete(self, plural: str, name: str) -> Any:
        return self._call("DELETE", plural, name)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("plane"), controllers=True) as started:
        kube = Kube(str(started.kubeconfig))
        kube.core.create_namespace({"metadata": {"name": SERVED}})
        helm = Helm(tmp_path_factory.mktemp("helm"), started.kubeconfig)
        for release, (_, settings) in RELEASES.items():
            helm.install(*settings, release=release)
        eventually("the Model kind is served", kube.serves_models)
        eventually(
            "the namespace has its default account",
            lambda: kube.core.list_namespaced_service_account(SERVED).items,
        )
        yield started


@pytest.fixture(scope="module")
def administrator(plane: ControlPlane) -> Writer:
    return Writer(plane.kubeconfig)


@pytest.fixture(scope="module", params=list(RELEASES), ids=["everywhere", "listed"])
def operator(request: pytest.FixtureRequest, plane: ControlPlane) -> Writer:
    account = f"system:serviceaccount:{NAMESPACE}:{RELEASES[request.param][0]}"
    kubeconfig = plane.kubeconfig_for(account, GROUPS)
    kube = Kube(str(kubeconfig))
    eventually("the policy is in force", lambda: admission_policy_holds(kube, SERVED))
    return Writer(kubeconfig)


@pytest.fixture(scope="module")
def owner(plane: ControlPlane) -> Manifest:
    """The reference to a Model, as its children carry it."""
    kube = Kube(str(plane.kubeconfig))
    made = kube.create_model(SERVED, "digits", {"source": {"uri": "s3://models/digits"}})
    reference = {"name": "digits", "uid": made["metadata"]["uid"], "controller": True}
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": "Model", **reference}


SHOP = {"app": "shop"}
OURS = {"app.kubernetes.io/managed-by": "slipway", "slipway.dev/model": "digits"}
APP = {"containers": [{"name": "app", "image": "app"}]}
EVIL = {"containers": [{"name": "app", "image": "evil"}]}
FOREIGN: dict[str, tuple[Manifest, Manifest]] = {
    "configmaps": ({"data": {"key": "theirs"}}, {"data": {"key": "ours"}}),
    "services": (
        {"spec": {"selector": SHOP, "ports": [{"port": 80}]}},
        {"spec": {"selector": {"app": None, "slipway.dev/model": "digits"}}},
    ),
    "persistentvolumeclaims": (
        {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
        {"metadata": {"labels": OURS}},
    ),
    "pods": ({"spec": APP}, {"spec": EVIL}),
    "deployments": (
        {
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": SHOP},
                "template": {"metadata": {"labels": SHOP}, "spec": APP},
            }
        },
        {"spec": {"template": {"spec": EVIL}}},
    ),
    "poddisruptionbudgets": (
        {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": SHOP}}},
        {"spec": {"maxUnavailable": 0}},
    ),
}
DELETED = ("services", "deployments", "poddisruptionbudgets")
"""What RBAC lets the operator delete."""


def named(manifest: Manifest, name: str, **metadata: Any) -> Manifest:
    return copy.deepcopy(manifest) | {"metadata": {"name": name, **metadata}}


@pytest.mark.parametrize("plural", list(FOREIGN))
def test_what_no_model_owns_stays_as_it_is(
    operator: Writer, administrator: Writer, owner: Manifest, plural: str
) -> None:
    manifest, patch = FOREIGN[plural]
    made = administrator.create(plural, named(manifest, "shop", labels=SHOP))
    try:
        with pytest.raises(ApiException, match=REFUSED):
            operator.patch(plural, "shop", patch)
        # An owner and labels in the same write are no way around.
        claimed = {"ownerReferences": [owner], "labels": OURS}
        with pytest.raises(ApiException, match=REFUSED):
            operator.patch(plural, "shop", patch | {"metadata": claimed})
        if plural in DELETED:
            with pytest.raises(ApiException, match=REFUSED):
                operator.delete(plural, "shop")
        found = administrator.get(plural, "shop")
        assert found["metadata"]["uid"] == made["metadata"]["uid"]
        assert found["metadata"]["labels"] == SHOP
        assert "ownerReferences" not in found["metadata"]
    finally:
        administrator.delete(plural, "shop")


@pytest.mark.parametrize("plural", [plural for plural in FOREIGN if plural != "pods"])
def test_nothing_is_created_that_no_model_owns(
    operator: Writer, owner: Manifest, plural: str
) -> None:
    manifest, _ = FOREIGN[plural]
    other = owner | {"apiVersion": "apps/v1", "kind": "Deployment"}
    for metadata in ({}, {"labels": OURS}, {"ownerReferences": [other]}):
        with pytest.raises(ApiException, match=f"{REFUSED}.*that a Model owns"):
            operator.create(plural, named(manifest, "orphan", **metadata))


@pytest.mark.parametrize("plural", [plural for plural in FOREIGN if plural != "pods"])
def test_what_a_model_owns_is_written(
    operator: Writer, administrator: Writer, owner: Manifest, plural: str
) -> None:
    manifest = copy.deepcopy(FOREIGN[plural][0])
    if plural == "services":
        manifest["spec"]["selector"] = OURS
    elif plural == "poddisruptionbudgets":
        manifest["spec"]["selector"]["matchLabels"] = OURS
    operator.create(plural, named(manifest, "digits", labels=OURS, ownerReferences=[owner]))
    operator.patch(plural, "digits", {"metadata": {"annotations": {"seen": "yes"}}})
    assert administrator.get(plural, "digits")["metadata"]["annotations"]["seen"] == "yes"
    (operator if plural in DELETED else administrator).delete(plural, "digits")


def test_of_a_models_pod_only_the_rotation_changes(operator: Writer, administrator: Writer) -> None:
    administrator.create("pods", named({"spec": APP}, "digits-1", labels=OURS))
    rotation = {"slipway.dev/rotation": "in"}
    try:
        operator.patch("pods", "digits-1", {"metadata": {"labels": rotation}})
        assert administrator.get("pods", "digits-1")["metadata"]["labels"] == OURS | rotation
        for refused in (
            {"spec": EVIL},
            {"metadata": {"labels": SHOP}},
            {"metadata": {"labels": {"slipway.dev/model": "letters"}}},
            {"metadata": {"labels": {"slipway.dev/model": None}}},
        ):
            with pytest.raises(ApiException, match=f"{REFUSED}.*slipway.dev/rotation"):
                operator.patch("pods", "digits-1", refused)
        operator.patch("pods", "digits-1", {"metadata": {"labels": {"slipway.dev/rotation": None}}})
        assert administrator.get("pods", "digits-1")["metadata"]["labels"] == OURS
    finally:
        administrator.delete("pods", "digits-1")


@pytest.mark.parametrize(
    "part",
    [
        {"hostNetwork": True},
        {"hostPID": True},
        {"hostIPC": True},
        {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]},
        {"containers": [{"name": "a", "image": "a", "securityContext": {"privileged": True}}]},
        {
            "containers": [
                {"name": "a", "image": "a", "securityContext": {"capabilities": {"add": ["X"]}}}
            ]
        },
        {"initContainers": [{"name": "i", "image": "i", "securityContext": {"privileged": True}}]},
    ],
    ids=lambda part: next(iter(part)),
)
def test_no_deployment_reaches_the_node(
    operator: Writer, administrator: Writer, owner: Manifest, part: Manifest
) -> None:
    manifest, _ = FOREIGN["deployments"]
    good = named(manifest, "digits-v1", ownerReferences=[owner])
    bad = copy.deepcopy(good)
    bad["spec"]["template"]["spec"] |= part
    with pytest.raises(ApiException, match=f"{REFUSED}.*access to the node"):
        operator.create("deployments", bad)
    operator.create("deployments", good)
    try:
        template = {"spec": {"template": {"spec": bad["spec"]["template"]["spec"]}}}
        with pytest.raises(ApiException, match=f"{REFUSED}.*access to the node"):
            operator.patch("deployments", "digits-v1", template)
        operator.patch("deployments", "digits-v1", {"spec": {"replicas": 0}})
    finally:
        administrator.delete("deployments", "digits-v1")


def test_no_job_reaches_the_node_and_none_is_created_that_no_model_owns(
    operator: Writer, administrator: Writer, owner: Manifest
) -> None:
    spec = {**APP, "restartPolicy": "Never"}
    good = named(
        {"spec": {"suspend": True, "template": {"spec": spec}}}, "try", ownerReferences=[owner]
    )
    with pytest.raises(ApiException, match=f"{REFUSED}.*that a Model owns"):
        operator.create("jobs", named({"spec": good["spec"]}, "try"))
    bad = copy.deepcopy(good)
    bad["spec"]["template"]["spec"]["hostPID"] = True
    with pytest.raises(ApiException, match=f"{REFUSED}.*access to the node"):
        operator.create("jobs", bad)
    operator.create("jobs", good)
    operator.delete("jobs", "try")
    administrator.create("jobs", named({"spec": good["spec"]}, "theirs"))
    try:
        with pytest.raises(ApiException, match=REFUSED):
            operator.delete("jobs", "theirs")
    finally:
        administrator.delete("jobs", "theirs")


@pytest.mark.parametrize(
    "spec",
    [
        {"selector": SHOP},
        {"selector": {"slipway.dev/model": "letters"}},
        {"selector": None},
        {"type": "ExternalName", "externalName": "elsewhere.example.com"},
        {"type": "NodePort"},
        {"externalIPs": ["10.0.0.1"]},
    ],
    ids=["foreign", "another-model", "none", "ExternalName", "NodePort", "externalIPs"],
)
def test_a_service_reaches_only_its_own_model(
    operator: Writer, administrator: Writer, owner: Manifest, spec: Manifest
) -> None:
    good = {"selector": {"slipway.dev/model": "digits"}, "ports": [{"port": 80}]}
    metadata = {"ownerReferences": [owner]}
    with pytest.raises(ApiException, match=f"{REFUSED}.*ClusterIP Service"):
        operator.create("services", named({"spec": good | spec}, "digits", **metadata))
    operator.create("services", named({"spec": good}, "digits", **metadata))
    administrator.delete("services", "digits")


def test_a_budget_covers_only_its_own_model(operator: Writer, owner: Manifest) -> None:
    for selector in ({}, {"matchLabels": SHOP}):
        manifest = {"spec": {"maxUnavailable": 0, "selector": selector}}
        with pytest.raises(ApiException, match=f"{REFUSED}.*PodDisruptionBudget"):
            operator.create(
                "poddisruptionbudgets", named(manifest, "digits", ownerReferences=[owner])
            )


def test_everybody_else_writes_as_before(operator: Writer, administrator: Writer) -> None:
    del operator
    administrator.create("configmaps", {"metadata": {"name": "anyones"}})
    administrator.patch("configmaps", "anyones", {"data": {"key": "value"}})
    administrator.delete("configmaps", "anyones")


def test_the_policies_expressions_have_the_right_types(plane: ControlPlane) -> None:
    """The controllers check them against each kind, and tell in the status what they find."""
    kube = Kube(str(plane.kubeconfig))

    def checked() -> list[Any]:
        found = kube.api.call_api(
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", "GET",
            response_types_map=ANY, auth_settings=["BearerToken"], _return_http_data_only=True,
        )  # fmt: skip
        return [item["status"] for item in found["items"] if item.get("status")]

    eventually("both are checked", lambda: len(checked()) == len(RELEASES))
    assert [status.get("typeChecking") or {} for status in checked()] == [{}, {}]
