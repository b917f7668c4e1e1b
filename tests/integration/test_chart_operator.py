"""The operator's process with what the chart gives it: its flags, its variables, its rights.

Forbidden is what it must never hear, from RBAC or from the chart's admission policy; a namespace with
restricted Pod Security is where it must be able to serve.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from chart_operator import GROUPS, Running, complaints, refused, running, writes
from charts import NAMESPACE, Helm, admission_policy_holds, one
from cloud_iam import ROLE, CloudIam
from cluster.controlplane import ControlPlane
from cluster.kubectl import Kubectl
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from local_stores import NETWORK
from prometheus import Target, panels, rules, scraping
from world import BUCKET, Bucket, Kube, eventually, tiny_export

SERVED = "served"
RELEASES = {
    "slipway": ("slipway-operator", ()),
    "ml": (
        "ml-slipway-operator",
        ("crds.install=false", "clusterRoles.install=false", f"namespaces={{{SERVED}}}"),
    ),
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("plane")
    with ControlPlane.start(directory, controllers=True, audit=True) as started:
        yield started


@pytest.fixture(scope="module")
def kube(plane: ControlPlane) -> Kube:
    return Kube(str(plane.kubeconfig))


@pytest.fixture(scope="module")
def installed(plane: ControlPlane, kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Both releases, and the namespace that they serve."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.core.create_namespace({"metadata": {"name": SERVED, "labels": labels}})
    helm = Helm(tmp_path_factory.mktemp("helm"), plane.kubeconfig)
    for release, (_, settings) in RELEASES.items():
        helm.install(*settings, f"sources.allowedNetworks={{{NETWORK}}}", release=release)
    eventually("the Model kind is served", kube.serves_models)
    for name, _ in RELEASES.values():
        account = Kube(
            str(plane.kubeconfig_for(f"system:serviceaccount:{NAMESPACE}:{name}", GROUPS))
        )
        holds = partial(admission_policy_holds, account, SERVED)
        eventually("its policy is in force", holds)


@pytest.fixture
def kubelet(plane: ControlPlane) -> Iterator[FakeKubelet]:
    with FakeKubelet(str(plane.kubeconfig)) as running:
        yield running


@pytest.fixture(params=list(RELEASES), ids=["everywhere", "listed"])
def operator(
    request: pytest.FixtureRequest, kube: Kube, plane: ControlPlane, installed: None, tmp_path: Path
) -> Iterator[Running]:
    """One release's operator at a time: both serve the same namespace."""
    del installed
    name, _ = RELEASES[request.param]
    with running(kube, plane, name, tmp_path) as started:
        yield started


def test_it_gets_ready_leads_and_gives_the_lease_back(operator: Running, kube: Kube) -> None:
    eventually(
        "it is ready", lambda: operator.get("/readyz")[0] == 200, state=operator.log.read_text
    )
    assert operator.get("/livez") == (200, "ok\n")
    eventually("it leads", operator.leads, state=operator.log.read_text)
    lease = kube.custom.get_namespaced_custom_object(
        "coordination.k8s.io", "v1", NAMESPACE, "leases", operator.name
    )
    assert lease["spec"]["holderIdentity"]
    assert operator.stop() == 0
    lease = kube.custom.get_namespaced_custom_object(
        "coordination.k8s.io", "v1", NAMESPACE, "leases", operator.name
    )
    assert not lease["spec"].get("holderIdentity")
    assert complaints(operator) == []
    assert {entry["level"] for entry in operator.entries()} == {"info"}


def test_the_charts_own_test_asks_it(operator: Running, tmp_path: Path) -> None:
    [release] = [release for release, (name, _) in RELEASES.items() if name == operator.name]
    pod = one(Helm(tmp_path).render(release=release), "Pod")
    interpreter, flag, script = pod["spec"]["containers"][0]["command"]
    assert (interpreter, flag) == ("python", "-c")
    service = f"http://{operator.name}.{NAMESPACE}.svc:8080"
    assert service in script
    here = script.replace(service, f"http://127.0.0.1:{operator.port}")
    said = subprocess.run(
        [sys.executable, "-c", here], capture_output=True, text=True, timeout=100, check=True
    )
    assert said.stdout.endswith("/readyz says ok\n")
    operator.stop()
    impatient = here.replace("+ 90", "+ 1")
    ended = subprocess.run([sys.executable, "-c", impatient], capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"/readyz is not ready" in ended.stderr


def test_without_the_definition_it_says_what_to_install(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path / "bare") as bare:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "slipway_operator", "run", "--port=0"),
                *("--server-image=server:test", "--sync-image=sync:test"),
            ],
            env=os.environ | {"KUBECONFIG": str(bare.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 78
    assert "does not know models.slipway.dev: install the CustomResourceDefinition" in ended.stderr


def test_the_other_replica_waits_and_then_leads(
    operator: Running, kube: Kube, plane: ControlPlane, tmp_path: Path
) -> None:
    eventually("the first leads", operator.leads, state=operator.log.read_text)
    other = tmp_path / "other"
    other.mkdir()
    with running(kube, plane, operator.name, other) as second:
        eventually("it is ready", lambda: second.get("/readyz")[0] == 200)
        assert not second.leads()
        operator.stop()
        eventually("the second leads", second.leads, state=second.log.read_text)


def test_with_its_rights_alone_it_serves_and_replaces_a_version(
    operator: Running, kube: Kube, plane: ControlPlane, kubelet: FakeKubelet, tmp_path: Path
) -> None:
    del kubelet
    kubectl = Kubectl(plane.kubeconfig)
    name = "digits" if operator.name == "slipway-operator" else "letters"

    def status() -> dict[str, Any]:
        return kube.status(SERVED, name)

    def condition(kind: str) -> dict[str, Any]:
        found = [c for c in status().get("conditions", ()) if c["type"] == kind]
        return dict(found[0]) if found else {}

    def wait(what: str, serving: str) -> None:
        eventually(
            what,
            lambda: (status().get("serving"), status().get("phase")) == (serving, "Available"),
            seconds=60,
            state=lambda: kube.describe(SERVED) + operator.log.read_text(),
        )

    labels = {"namespace": NAMESPACE, "pod": "operator-x"}
    target = Target(f"127.0.0.1:{operator.port}", "/metrics", labels)
    with S3Server.start(tmp_path / "s3") as s3, scraping(tmp_path, target) as prometheus:
        s3.create_bucket(BUCKET)
        bucket = Bucket(s3.client())
        bucket.upload(f"{name}/1", tiny_export(1))
        kube.secret(SERVED, f"{name}-s3", s3.access_key, s3.secret_key)
        source = {
            "uri": f"s3://{BUCKET}/{name}",
            "endpoint": s3.endpoint,
            "credentialsSecret": f"{name}-s3",
            "pollInterval": "1s",
            "settle": "0s",
        }
        claim = {"claimTemplate": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}}
        serving = {"replicas": 2, "cache": claim}
        spec = {"source": source, "serving": serving, "labels": {"stable": 1}}
        kube.create_model(SERVED, name, spec)

        eventually(
            "it says that it may not read the Secret",
            lambda: condition("SourceReady").get("reason") == "CredentialsForbidden",
            state=operator.log.read_text,
        )
        # The message holds the very command that allows it.
        _, _, command = condition("SourceReady")["message"].partition("allow it with: ")
        program, *arguments = shlex.split(command)
        assert program == "kubectl"
        kubectl.run(*arguments)
        wait("version 1 serves", "1")
        bucket.upload(f"{name}/2", tiny_export(2))
        wait("version 2 serves", "2")
        cache = f"{name}-cache"
        eventually(
            "the list of what its cache keeps follows",
            lambda: '"2-' in kube.core.read_namespaced_config_map(cache, SERVED).data["keep.json"],
        )
        assert kube.core.read_namespaced_persistent_volume_claim(cache, SERVED)
        kube.patch_model(SERVED, name, {"serving": {"replicas": 1}})
        eventually(
            "one pod needs no budget",
            lambda: (
                name
                not in {
                    budget.metadata.name
                    for budget in kube.policy.list_namespaced_pod_disruption_budget(SERVED).items
                }
            ),
        )

        for expression in panels("operator", namespace=NAMESPACE).values():
            assert prometheus.wait_for(expression)
        for rule in rules("slipway-operator"):
            prometheus.wait_for(rule["expr"].split(" > ")[0].split(" < ")[0])

        # The other release's operator has to find it gone.
        kubectl.run("delete", "rolebinding", "slipway-credentials", f"--namespace={SERVED}")
        events = kube.core.list_namespaced_event(SERVED).items
        kube.custom.delete_namespaced_custom_object(
            "slipway.dev", "v1alpha1", SERVED, "models", name
        )
    assert any(e.involved_object.name == name and e.involved_object.kind == "Model" for e in events)
    done = {(e["objectRef"]["resource"], e["verb"]) for e in writes(plane, operator)}
    for resource, verbs in {
        "deployments": "create patch delete",
        "services": "create patch delete",
        "poddisruptionbudgets": "create delete",
        "configmaps": "create patch",
        "persistentvolumeclaims": "create",
        "pods": "patch",
    }.items():
        assert {(resource, verb) for verb in verbs.split()} <= done
    assert refused(plane, operator) == []
    assert [line for line in complaints(operator) if "may not read Secret" not in line] == []


def test_with_its_rights_alone_it_lists_a_volume_and_leaves_it(
    operator: Running, kube: Kube, plane: ControlPlane
) -> None:
    name = f"shelf-{operator.name.partition('-')[0]}"
    size = {"requests": {"storage": "1Gi"}}
    claim = {"accessModes": ["ReadWriteMany"], "resources": size}
    kube.core.create_namespaced_persistent_volume_claim(
        SERVED, {"metadata": {"name": name}, "spec": claim}
    )
    kube.create_model(SERVED, name, {"source": {"uri": f"pvc://{name}/here"}})

    def listed(directory: str) -> bool:
        found = kube.apps.list_namespaced_deployment(
            SERVED, label_selector=f"slipway.dev/source={name}"
        )
        return any(
            f"--path={directory}" in item.spec.template.spec.containers[0].args
            for item in found.items
        )

    eventually("a pod lists it", lambda: listed("here"), state=operator.log.read_text)
    kube.patch_model(SERVED, name, {"source": {"uri": f"pvc://{name}/there"}})
    eventually("it lists the other folder", lambda: listed("there"), state=operator.log.read_text)
    kube.patch_model(SERVED, name, {"source": {"uri": "s3://nowhere/m"}})
    eventually("nothing lists it", lambda: not listed("there"), state=operator.log.read_text)
    kube.custom.delete_namespaced_custom_object("slipway.dev", "v1alpha1", SERVED, "models", name)
    assert refused(plane, operator) == []


def test_a_service_account_reads_the_source_once_its_namespace_allows_it(
    operator: Running, kube: Kube, plane: ControlPlane, tmp_path: Path
) -> None:
    """Discovery and sync alike: the tokens are the API server's own, and it judges them."""
    kubectl = Kubectl(plane.kubeconfig)
    account = f"reader-{operator.name.partition('-')[0]}"

    def source_ready() -> dict[str, Any]:
        conditions = kube.status(SERVED, account).get("conditions", ())
        found = [c for c in conditions if c["type"] == "SourceReady"]
        return dict(found[0]) if found else {}

    def wait(reason: str) -> None:
        eventually(
            f"SourceReady says {reason}",
            lambda: source_ready().get("reason") == reason,
            state=lambda: f"{source_ready()}\n{operator.log.read_text()}",
        )

    def deployments() -> list[Any]:
        labels = f"slipway.dev/model={account}"
        return list(kube.apps.list_namespaced_deployment(SERVED, label_selector=labels).items)

    subject = f"system:serviceaccount:{SERVED}:{account}"
    with (
        TemporaryDirectory(prefix="iam") as directory,
        CloudIam(Path(directory), kube.api, subject) as cloud,
    ):
        cloud.client().make_bucket(BUCKET)
        Bucket(cloud.client()).upload(f"{account}/1", tiny_export(1))
        source = {
            "uri": f"s3://{BUCKET}/{account}",
            "endpoint": cloud.endpoint,
            "identity": "ServiceAccount",
            "pollInterval": "1s",
            "settle": "0s",
        }
        kube.create_model(
            SERVED, account, {"source": source, "serving": {"serviceAccount": account}}
        )

        # One obstacle after the other, each with what to do about it.
        wait("CredentialsForbidden")
        _, _, command = source_ready()["message"].partition("allow it with: ")
        kubectl.run(*shlex.split(command)[1:])
        wait("CredentialsMissing")
        assert f"ServiceAccount {SERVED}/{account} does not exist" in source_ready()["message"]
        kubectl.run("create", "serviceaccount", account, f"--namespace={SERVED}")
        eventually(
            "it names the annotation",
            lambda: "no annotation eks.amazonaws.com/role-arn" in source_ready()["message"],
        )
        assert deployments() == []
        kubectl.run(
            *("annotate", "serviceaccount", account, f"--namespace={SERVED}"),
            f"eks.amazonaws.com/role-arn={ROLE}",
            f"slipway.dev/sts-endpoint={cloud.sts.url}",
        )
        wait("Listed")
        eventually("a Deployment is there", lambda: len(deployments()) == 1)
        pod = deployments()[0].spec.template.spec
        done = synced(kube, pod, tmp_path / "pod", pod_account=account)
        assert done.returncode == 0, done.stdout + done.stderr
        [version] = [path for path in (tmp_path / "pod" / account).iterdir() if path.name == "1"]
        assert (version / "saved_model.pb").is_file()

        refused_audience = synced(
            kube, pod, tmp_path / "other", pod_account=account, audience="elsewhere"
        )
        assert refused_audience.returncode == 77
        assert "InvalidIdentityToken" in refused_audience.stdout

        kubectl.run("delete", "rolebinding", "slipway-identities", f"--namespace={SERVED}")
        kube.custom.delete_namespaced_custom_object(
            "slipway.dev", "v1alpha1", SERVED, "models", account
        )
    assert refused(plane, operator) == []


def synced(
    kube: Kube, pod: Any, directory: Path, *, pod_account: str, audience: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the sync of a pod's template with the token that the kubelet would put there."""
    directory.mkdir()
    [volume] = [volume for volume in pod.volumes if volume.name == "identity"]
    [projected] = volume.projected.sources
    wanted = projected.service_account_token
    spec = {
        "audiences": [audience or wanted.audience],
        "expirationSeconds": wanted.expiration_seconds,
    }
    assert pod.service_account_name == pod_account
    token = kube.core.create_namespaced_service_account_token(pod_account, SERVED, {"spec": spec})
    (directory / "token").write_text(token.status.token)
    [container] = pod.init_containers
    places = {
        "/var/run/slipway/identity/": f"{directory}/",
        "--destination=/models/": f"--destination={directory}/",
        "/dev/termination-log": f"{directory}/ended",
    }
    arguments = container.args
    for place, here in places.items():
        arguments = [argument.replace(place, here) for argument in arguments]
    return subprocess.run(
        [sys.executable, "-m", "slipway_sync.agent", *arguments],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
