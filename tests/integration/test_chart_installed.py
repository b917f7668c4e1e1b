"""The chart on a real API server: installed, upgraded, uninstalled, and what its roles allow."""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from chart_operator import GROUPS
from charts import CHART, NAMESPACE, Helm, HelmError
from cluster.controlplane import ControlPlane
from cluster.errors import ClusterError
from cluster.kubectl import Kubectl
from world import Kube, eventually

EVERYWHERE = "slipway-operator"
LISTED = "ml-slipway-operator"
SERVED, OTHER = "served", "other"


@contextmanager
def running(directory: Path) -> Iterator[ControlPlane]:
    with ControlPlane.start(directory, controllers=True) as plane:
        yield plane


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With the chart installed twice: for the whole cluster, and for one listed namespace."""
    with running(tmp_path_factory.mktemp("plane")) as started:
        kube = Kube(str(started.kubeconfig))
        for name in (SERVED, OTHER):
            kube.core.create_namespace({"metadata": {"name": name}})
        helm = Helm(tmp_path_factory.mktemp("helm"), started.kubeconfig)
        helm.install()
        helm.install(
            *("crds.install=false", "clusterRoles.install=false", f"namespaces={{{SERVED}}}"),
            release="ml",
        )
        yield started


@pytest.fixture(scope="module")
def kube(plane: ControlPlane) -> Kube:
    return Kube(str(plane.kubeconfig))


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Kubectl:
    return Kubectl(plane.kubeconfig)


class Subject:
    """Someone with rights."""

    def __init__(self, plane: ControlPlane, user: str, groups: tuple[str, ...]) -> None:
        self._kube = Kube(str(plane.kubeconfig_for(user, groups)))
        self._reviews = client.AuthorizationV1Api(self._kube.api)

    def may(self, verb: str, resource: str, namespace: str = "", name: str = "") -> bool:
        """Whether the API server lets it; `resource` is `plural.group/subresource`."""
        path, _, subresource = resource.partition("/")
        plural, _, group = path.partition(".")
        asked = {
            "verb": verb,
            "group": group,
            "resource": plural,
            "subresource": subresource,
            "namespace": namespace,
            "name": name,
        }
        review = self._reviews.create_self_subject_access_review(
            {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
            | {"spec": {"resourceAttributes": asked}}
        )
        return bool(review.status.allowed)

    def all_rules(self, namespace: str) -> list[client.V1ResourceRule]:
        """Everything it may do in a namespace."""
        review = self._reviews.create_self_subject_rules_review(
            {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
            | {"spec": {"namespace": namespace}}
        )
        return list(review.status.resource_rules)


def operator(plane: ControlPlane, account: str) -> Subject:
    return Subject(plane, f"system:serviceaccount:{NAMESPACE}:{account}", GROUPS)


@pytest.fixture(scope="module")
def everywhere(plane: ControlPlane) -> Subject:
    return operator(plane, EVERYWHERE)


@pytest.fixture(scope="module")
def listed(plane: ControlPlane) -> Subject:
    return operator(plane, LISTED)


NEEDED = [
    (verb, resource)
    for resource, verbs in {
        "models.slipway.dev": "get list watch",
        "models.slipway.dev/status": "patch",
        "deployments.apps": "get list watch create patch delete",
        "jobs.batch": "list create delete",
        "services": "get list watch create patch delete",
        "poddisruptionbudgets.policy": "get list watch create patch delete",
        "endpointslices.discovery.k8s.io": "list watch",
        "pods": "list watch patch",
        "pods/log": "get",
        "persistentvolumeclaims": "get create patch",
        "configmaps": "get create patch",
        "events.events.k8s.io": "create",
        "httproutes.gateway.networking.k8s.io": "get list watch create patch delete",
        "grpcroutes.gateway.networking.k8s.io": "get list watch create patch delete",
    }.items()
    for verb in verbs.split()
]
NOT_NEEDED = [
    ("get", "secrets"),
    ("list", "secrets"),
    ("create", "secrets"),
    ("create", "models.slipway.dev"),
    ("patch", "models.slipway.dev"),
    ("delete", "models.slipway.dev"),
    ("deletecollection", "deployments.apps"),
    ("create", "pods"),
    ("delete", "pods"),
    ("create", "pods/exec"),
    ("create", "pods/eviction"),
    ("list", "configmaps"),
    ("delete", "configmaps"),
    ("list", "persistentvolumeclaims"),
    ("delete", "persistentvolumeclaims"),
    ("create", "serviceaccounts/token"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("bind", "clusterroles.rbac.authorization.k8s.io"),
    ("impersonate", "users"),
]


@pytest.mark.parametrize(("verb", "resource"), NEEDED)
def test_the_operator_may_do_its_work(
    everywhere: Subject, listed: Subject, verb: str, resource: str
) -> None:
    assert everywhere.may(verb, resource, SERVED)
    assert everywhere.may(verb, resource, OTHER)
    assert listed.may(verb, resource, SERVED)
    assert not listed.may(verb, resource, OTHER)
    assert not listed.may(verb, resource)


@pytest.mark.parametrize(("verb", "resource"), NOT_NEEDED)
def test_the_operator_may_do_no_more(
    everywhere: Subject, listed: Subject, verb: str, resource: str
) -> None:
    for namespace in (SERVED, OTHER, NAMESPACE, ""):
        assert not everywhere.may(verb, resource, namespace)
        assert not listed.may(verb, resource, namespace)


def test_nothing_of_the_cluster_is_the_operators(everywhere: Subject, listed: Subject) -> None:
    for subject in (everywhere, listed):
        for resource in (
            *("namespaces", "nodes", "persistentvolumes"),
            "customresourcedefinitions.apiextensions.k8s.io",
            "clusterroles.rbac.authorization.k8s.io",
        ):
            for verb in ("get", "list", "watch", "create", "patch", "delete"):
                assert not subject.may(verb, resource)


@pytest.mark.parametrize("account", [EVERYWHERE, LISTED])
def test_every_rule_of_the_operator_is_a_needed_one(plane: ControlPlane, account: str) -> None:
    """What `kubectl auth can-i --list` shows, less what everyone may: nothing but the matrix."""
    subject = operator(plane, account)
    reviews = ("authorization.k8s.io", "authentication.k8s.io")
    allowed = {
        (
            verb,
            f"{resource.partition('/')[0]}.{group}".rstrip(".")
            + resource[len(resource.partition("/")[0]) :],
        )
        for rule in subject.all_rules(SERVED)
        for group in rule.api_groups
        if group not in reviews
        for resource in rule.resources
        for verb in rule.verbs
    }
    assert allowed == set(NEEDED)


@pytest.mark.parametrize("account", [EVERYWHERE, LISTED])
def test_the_lease_is_the_only_one_the_operator_touches(plane: ControlPlane, account: str) -> None:
    subject = operator(plane, account)
    leases = "leases.coordination.k8s.io"
    assert subject.may("create", leases, NAMESPACE)
    for verb in ("get", "update"):
        assert subject.may(verb, leases, NAMESPACE, account)
        assert not subject.may(verb, leases, NAMESPACE, "kube-scheduler")
        assert not subject.may(verb, leases, "kube-system", account)
    for verb in ("list", "watch", "delete", "patch"):
        assert not subject.may(verb, leases, NAMESPACE, account)


def test_a_namespace_that_binds_the_credentials_role_lends_its_secrets(
    kube: Kube, kubectl: Kubectl, everywhere: Subject
) -> None:
    lender = kube.namespace()
    kubectl.run(
        *("create", "rolebinding", "slipway-credentials", f"--namespace={lender}"),
        *("--clusterrole=slipway-credentials", f"--serviceaccount={NAMESPACE}:{EVERYWHERE}"),
    )
    eventually("it may read there", lambda: everywhere.may("get", "secrets", lender, "s3"))
    assert not everywhere.may("list", "secrets", lender)
    assert not everywhere.may("update", "secrets", lender, "s3")
    assert not everywhere.may("get", "secrets", OTHER, "s3")


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("view", {"get", "list", "watch"}, {"create", "patch", "delete"}),
        ("edit", {"get", "list", "watch", "create", "update", "patch", "delete"}, {"bind"}),
        ("admin", {"get", "list", "watch", "create", "update", "patch", "delete"}, {"bind"}),
    ],
)
def test_models_belong_to_view_edit_and_admin(
    plane: ControlPlane, kubectl: Kubectl, role: str, may: set[str], may_not: set[str]
) -> None:
    user = f"jane-{role}"
    kubectl.run(
        *("create", "rolebinding", user, f"--namespace={SERVED}"),
        *(f"--clusterrole={role}", f"--user={user}"),
    )
    jane = Subject(plane, user, ("system:authenticated",))
    models = "models.slipway.dev"
    eventually("the role is bound and filled", lambda: jane.may("get", models, SERVED))
    eventually(f"may {may}", lambda: all(jane.may(verb, models, SERVED) for verb in may))
    for verb in may_not:
        assert not jane.may(verb, models, SERVED)
    assert jane.may("get", f"{models}/scale", SERVED)
    assert jane.may("patch", f"{models}/scale", SERVED) == (role != "view")
    assert not jane.may("patch", f"{models}/status", SERVED)
    assert not jane.may("get", models, OTHER)


def test_restricted_pod_security_admits_the_operator_and_the_test(
    kube: Kube, plane: ControlPlane, tmp_path: Path
) -> None:
    name = f"strict-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.core.create_namespace({"metadata": {"name": name, "labels": labels}})
    manifests = Helm(tmp_path, plane.kubeconfig).render()
    specs = [m["spec"] for m in manifests if m["kind"] == "Pod"]
    specs += [m["spec"]["template"]["spec"] for m in manifests if m["kind"] == "Deployment"]
    assert len(specs) == 2
    for spec in specs:
        pod = {"metadata": {"generateName": "try-"}, "spec": spec}
        pod["spec"].pop("serviceAccountName", None)  # it lives in the operator's namespace
        eventually(
            "the namespace has its default account",
            lambda: kube.core.list_namespaced_service_account(name).items,
        )
        kube.core.create_namespaced_pod(name, pod, dry_run="All")
        del pod["spec"]["containers"][0]["securityContext"]["capabilities"]
        with pytest.raises(client.ApiException, match="violates PodSecurity"):
            kube.core.create_namespaced_pod(name, pod, dry_run="All")


def test_the_api_server_takes_every_network_policy(
    plane: ControlPlane, kubectl: Kubectl, tmp_path: Path
) -> None:
    manifests = Helm(tmp_path, plane.kubeconfig).render(
        *("networkPolicy.enabled=true", f"networkPolicy.modelNamespaces={{{SERVED},{OTHER}}}"),
        *("webhook.enabled=true", "webhook.tokenSecret.name=hook"),
        "sources.allowedNetworks={169.254.20.0/24,fe80:0:0:1::/64}",
        "networkPolicy.ingress.metrics[0].ipBlock.cidr=192.0.2.0/24",
        "networkPolicy.ingress.models[0].namespaceSelector.matchLabels.team=web",
    )
    policies = [manifest for manifest in manifests if manifest["kind"] == "NetworkPolicy"]
    assert len(policies) == 7
    kubectl.run("apply", "--filename=-", "--dry-run=server", stdin=yaml.safe_dump_all(policies))


# ---- install, upgrade, uninstall


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[ControlPlane]:
    with running(tmp_path / "fresh") as started:
        yield started


def older_chart(directory: Path) -> Path:
    """The chart as an earlier release had it: its CRD lacks a column and a field."""
    chart = directory / "older"
    shutil.copytree(CHART, chart)
    path = chart / "files" / "models.slipway.dev.yaml"
    crd = yaml.safe_load(path.read_text())
    [version] = crd["spec"]["versions"]
    version["additionalPrinterColumns"].pop()
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["paused"]
    path.write_text(yaml.safe_dump(crd))
    return chart


def test_the_chart_comes_grows_and_goes(fresh: ControlPlane, tmp_path: Path) -> None:
    helm = Helm(tmp_path, fresh.kubeconfig)
    kubectl = Kubectl(fresh.kubeconfig)
    kube = Kube(str(fresh.kubeconfig))
    columns = "--output=jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}"
    crd = ("get", "crd", "models.slipway.dev", columns)

    helm.run(
        *("install", "slipway", str(older_chart(tmp_path))),
        *(f"--namespace={NAMESPACE}", "--create-namespace"),
    )
    assert "Message" not in kubectl.run(*crd)
    eventually("Models are served", lambda: "mnist" in try_create(kubectl))

    more = ("--set=replicas=3", "--set=networkPolicy.enabled=true")
    helm.run("upgrade", "slipway", str(CHART), f"--namespace={NAMESPACE}", *more)
    assert "networkpolicy" in kubectl.run("get", "netpol", "-n", NAMESPACE, "--output=name")
    assert kube.apps.read_namespaced_deployment(EVERYWHERE, NAMESPACE).spec.replicas == 3
    assert "Message" in kubectl.run(*crd)
    eventually("the new field is stored", lambda: paused(kube))

    said = helm.run("uninstall", "slipway", f"--namespace={NAMESPACE}")
    assert "CustomResourceDefinition] models.slipway.dev" in said
    assert kubectl.run("get", "models", "--output=name") == "model.slipway.dev/mnist\n"
    assert not kube.apps.list_namespaced_deployment(NAMESPACE).items
    made = "clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,services"
    policies = "validatingadmissionpolicies,validatingadmissionpolicybindings,networkpolicies"
    left = kubectl.run(
        *("get", f"{made},{policies}"),
        *("--all-namespaces", "--output=name", "--selector=app.kubernetes.io/part-of=slipway"),
    )
    assert left == ""

    notes = helm.install()
    assert f"--serviceaccount={NAMESPACE}:{EVERYWHERE}" in notes
    _, _, manifest = notes.partition("<<'EOF'\n")
    kubectl.run("apply", "--filename=-", stdin=manifest.partition("EOF\n")[0])
    assert kubectl.run("get", "models", "--output=name").split() == [
        "model.slipway.dev/digits",
        "model.slipway.dev/mnist",
    ]


def paused(kube: Kube) -> bool:
    """Whether a Model can be paused; the field is dropped while the API server has the older CRD."""
    kube.patch_model("default", "mnist", {"paused": True})
    return bool(kube.model("default", "mnist")["spec"].get("paused"))


def try_create(kubectl: Kubectl) -> str:
    """A Model; empty while the API server does not serve the kind yet."""
    manifest = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "mnist"},
        "spec": {"source": {"uri": "s3://models/mnist"}},
    }
    try:
        return kubectl.run("apply", "--filename=-", stdin=json.dumps(manifest))
    except ClusterError:
        return ""


def test_a_second_release_says_whose_the_crd_is(
    kube: Kube, plane: ControlPlane, tmp_path: Path
) -> None:
    del kube
    helm = Helm(tmp_path, plane.kubeconfig)
    with pytest.raises(HelmError, match=r"models.slipway.dev.* exists and cannot be imported"):
        helm.install(release="third", namespace="third")
