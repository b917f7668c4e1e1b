"""What the chart renders, without a cluster."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from charts import CHART, NAMESPACE, OPERATOR_PODS, ROOT, Helm, HelmError, Manifest, kinds, one
from slipway_operator.__main__ import app


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(tmp_path)


def test_lint_finds_nothing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(CHART))


def test_tests_find_the_operators_pods_by_labels_that_they_have(helm: Helm) -> None:
    key, value = OPERATOR_PODS.split("=")
    template = one(helm.render(), "Deployment")["spec"]["template"]
    assert template["metadata"]["labels"][key] == value


def test_the_crd_is_the_generated_one() -> None:
    generated = subprocess.run(
        [sys.executable, "-m", "slipway_operator", "crd"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "crds" / "models.slipway.dev.yaml").read_text() == generated
    assert (CHART / "files" / "models.slipway.dev.yaml").read_text() == generated


def test_the_crd_is_upgraded_with_the_chart_and_kept_when_that_goes(helm: Helm) -> None:
    crd = one(helm.render(), "CustomResourceDefinition")
    assert crd == yaml.safe_load((CHART / "files" / "models.slipway.dev.yaml").read_text())
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "CustomResourceDefinition" not in kinds(helm.render("crds.install=false"))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("replica=3", "'replica' not allowed"),
        ("replicas=0", "at '/replicas': minimum"),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("image.agent.tag=1", "'agent' not allowed"),
        ("imagePullPolicy=Sometimes", "'Always', 'IfNotPresent', 'Never'"),
        ("namespaces=team-a", "at '/namespaces': got string, want array"),
        ("namespaces={Team A}", "at '/namespaces/0'"),
        ("namespaces={a,a}", "at '/namespaces'"),
        ("sources.allowedNetworks={169.254.20.1}", "at '/sources/allowedNetworks/0'"),
        ("sources.proxy=http://ada:word@proxy:3128", "at '/sources/proxy'"),
        ("sources.proxy=https://proxy", "at '/sources/proxy'"),
        ("crds=false", "at '/crds': got boolean, want object"),
        ("admissionPolicy.enable=false", "'enable' not allowed"),
        ("crds.install=1", "at '/crds/install': got number, want boolean"),
        ("webhook.port=80", "at '/webhook/port': minimum"),
        ("ui.port=80", "at '/ui/port': minimum"),
        ("ui.hosts={a b}", "at '/ui/hosts/0'"),
        ("webhook.token=secret", "'token' not allowed"),
        ("webhook.service.type=External", "at '/webhook/service/type'"),
        ("logLevel=loud", "at '/logLevel'"),
        ("serviceAccount.create=false", "'create' not allowed"),
        ("resources.claims=1", "'claims' not allowed"),
        ("image.sync.digest=sha256:12", "at '/image/sync/digest'"),
        ("imagePrefix=-/", "at '/imagePrefix'"),
        ("extraEnv[0].name=SLIPWAY_SYNC_IMAGE", "at '/extraEnv/0/name'"),
        ("extraEnv[0].name=POD_IP", "at '/extraEnv/0/name'"),
        ("extraEnv[0].nme=A", "'nme' not allowed"),
        (r"podLabels.app\.kubernetes\.io/name=x", "at '/podLabels/app.kubernetes.io"),
    ],
)
def test_a_value_that_cannot_be_is_refused(helm: Helm, setting: str, words: str) -> None:
    with pytest.raises(HelmError) as refusal:
        helm.render(setting)
    assert words in str(refusal.value)


def images(manifests: list[Manifest]) -> list[str]:
    """Those of the operator, the server and the sync agent, and that of the test."""
    [operator] = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    [test] = one(manifests, "Pod")["spec"]["containers"]
    given = {entry["name"]: entry.get("value") for entry in operator["env"]}
    return [
        operator["image"],
        given["SLIPWAY_SERVER_IMAGE"],
        given["SLIPWAY_SYNC_IMAGE"],
        test["image"],
    ]


@pytest.mark.parametrize(
    ("settings", "operator", "server"),
    [
        ((), "localhost/slipway-operator:0.1.0", "localhost/slipway-server:0.1.0"),
        (("imageTag=dev",), "localhost/slipway-operator:dev", "localhost/slipway-server:dev"),
        (
            ("imagePrefix=registry.example.com:5000/ml/", "image.server.tag=cuda"),
            "registry.example.com:5000/ml/slipway-operator:0.1.0",
            "registry.example.com:5000/ml/slipway-server:cuda",
        ),
        (
            ("imagePrefix=", "image.operator.repository=mirror.example.com/op", "imageTag=1.2"),
            "mirror.example.com/op:1.2",
            "slipway-server:1.2",
        ),
        (
            ("imagePrefix=registry.example.com/ml", "image.server.tag=cuda"),
            "registry.example.com/ml/slipway-operator:0.1.0",
            "registry.example.com/ml/slipway-server:cuda",
        ),
    ],
)
def test_images_are_prefix_repository_and_tag(
    helm: Helm, settings: tuple[str, ...], operator: str, server: str
) -> None:
    rendered = images(helm.render(*settings))
    assert rendered[0] == rendered[3] == operator
    assert rendered[1] == server
    assert rendered[2] == server.replace("slipway-server", "slipway-sync").replace("cuda", "0.1.0")


def test_an_image_with_a_digest_is_pulled_by_it(helm: Helm) -> None:
    digest = f"sha256:{'0123456789abcdef' * 4}"
    rendered = images(
        helm.render(
            f"image.operator.digest={digest}", f"image.sync.digest={digest}", "imageTag=dev"
        )
    )
    assert rendered[0] == rendered[3] == f"localhost/slipway-operator@{digest}"
    assert rendered[1] == "localhost/slipway-server:dev"
    assert rendered[2] == f"localhost/slipway-sync@{digest}"


def test_pods_spread_over_nodes_or_as_the_values_say(helm: Helm) -> None:
    def spread(*settings: str) -> list[Manifest]:
        deployment = one(helm.render(*settings), "Deployment")
        constraints: list[Manifest] = deployment["spec"]["template"]["spec"][
            "topologySpreadConstraints"
        ]
        assert all(c["labelSelector"] == deployment["spec"]["selector"] for c in constraints)
        return constraints

    [usual] = spread()
    assert (usual["topologyKey"], usual["maxSkew"]) == ("kubernetes.io/hostname", 1)
    own = "topologySpreadConstraints[0]"
    [zones] = spread(
        f"{own}.topologyKey=zone", f"{own}.maxSkew=2", f"{own}.whenUnsatisfiable=DoNotSchedule"
    )
    assert (zones["topologyKey"], zones["maxSkew"]) == ("zone", 2)
    assert zones["whenUnsatisfiable"] == "DoNotSchedule"


def test_the_operator_knows_every_flag_and_variable_it_is_given(helm: Helm) -> None:
    command: Any = typer.main.get_command(app)
    parameters = command.commands["run"].params
    flags = {option for parameter in parameters for option in parameter.opts}
    variables = {p.envvar for p in parameters if p.envvar}
    networks = "sources.allowedNetworks={169.254.20.0/24,fe80::/64}"
    ambient = "sources.allowAmbientIdentity=true"
    proxies = ("sources.proxy=http://proxy:3128", "sources.noProxy={.svc,10.0.0.0/8}")
    hook = ("webhook.enabled=true", "webhook.tokenSecret.name=hook")
    page = ("ui.enabled=true", "ui.service.enabled=true", "ui.hosts={models.example.com}")
    settings = (networks, ambient, *proxies, *hook, *page)
    rendered = one(helm.render("namespaces={a,b}", *settings), "Deployment")
    [container] = rendered["spec"]["template"]["spec"]["containers"]
    verb, *arguments = container["args"]
    assert verb == "run"
    assert {argument.partition("=")[0] for argument in arguments} <= flags
    assert {entry["name"] for entry in container["env"]} == variables
    assert [a for a in arguments if "proxy" in a] == [
        "--proxy=http://proxy:3128",
        "--no-proxy=.svc",
        "--no-proxy=10.0.0.0/8",
    ]
    assert [a for a in arguments if a.startswith("--namespace")] == [
        "--namespace=a",
        "--namespace=b",
    ]


def test_the_surroundings_are_used_only_where_the_values_say_so(helm: Helm) -> None:
    def arguments(*settings: str) -> list[str]:
        spec = one(helm.render(*settings), "Deployment")["spec"]["template"]["spec"]
        return list(spec["containers"][0]["args"])

    assert "--allow-ambient-identity" not in arguments()
    assert "--allow-ambient-identity" in arguments("sources.allowAmbientIdentity=true")


def rules(manifests: list[Manifest]) -> list[tuple[Manifest, dict[str, Any]]]:
    return [
        (manifest, rule)
        for manifest in manifests
        if manifest["kind"] in ("Role", "ClusterRole")
        for rule in manifest["rules"]
    ]


@pytest.mark.parametrize("settings", [(), ("namespaces={a,b}",)], ids=["cluster", "listed"])
def test_no_wildcard_and_no_secret_nor_token(helm: Helm, settings: tuple[str, ...]) -> None:
    for role, rule in rules(helm.render(*settings)):
        granted = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not any("*" in item for item in granted), role["metadata"]["name"]
        if "secrets" in rule["resources"]:
            assert role["metadata"]["name"] == "slipway-credentials"
            assert rule["verbs"] == ["get"]
        if "serviceaccounts" in rule["resources"]:
            assert role["metadata"]["name"] == "slipway-identities"
            assert rule["verbs"] == ["get"]
        if "serviceaccounts/token" in rule["resources"]:
            assert role["metadata"]["name"] == "slipway-identities"
            assert rule["verbs"] == ["create"]


@pytest.mark.parametrize("settings", [(), ("namespaces={a,b}",)], ids=["cluster", "listed"])
def test_the_roles_for_secrets_and_tokens_are_bound_by_nobody(
    helm: Helm, settings: tuple[str, ...]
) -> None:
    bindings = [m for m in helm.render(*settings) if m["kind"].endswith("RoleBinding")]
    assert bindings
    unbound = {"slipway-credentials", "slipway-identities"}
    assert not unbound & {binding["roleRef"]["name"] for binding in bindings}


def test_listed_namespaces_get_roles_of_their_own_and_the_cluster_nothing(helm: Helm) -> None:
    manifests = helm.render(
        *("namespaces={a,b}", "clusterRoles.install=false", "crds.install=false"),
        "admissionPolicy.enabled=false",
    )
    assert not kinds(manifests) & {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    assert all("namespace" in m["metadata"] for m in manifests)
    where = {m["metadata"]["namespace"] for m in manifests if m["kind"] == "Role"}
    assert where == {"a", "b", NAMESPACE}
    [leases] = [rule for m, rule in rules(manifests) if rule["verbs"] == ["get", "update"]]
    assert leases["resourceNames"] == ["slipway-operator"]


def test_the_policy_is_about_this_releases_account_alone(helm: Helm) -> None:
    for settings, account in (
        ((), "slipway-operator"),
        (("serviceAccount.name=boss",), "boss"),
    ):
        manifests = helm.render(*settings)
        policy = one(manifests, "ValidatingAdmissionPolicy")
        [condition] = policy["spec"]["matchConditions"]
        assert condition["expression"] == (
            f"request.userInfo.username == 'system:serviceaccount:{NAMESPACE}:{account}'"
        )
        binding = one(manifests, "ValidatingAdmissionPolicyBinding")
        assert binding["spec"]["policyName"] == policy["metadata"]["name"]
        assert binding["spec"]["validationActions"] == ["Deny"]


def test_two_replicas_are_guarded_and_one_is_not(helm: Helm) -> None:
    manifests = helm.render()
    deployment = one(manifests, "Deployment")
    budget = one(manifests, "PodDisruptionBudget")
    assert deployment["spec"]["replicas"] == 2
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert "PodDisruptionBudget" not in kinds(helm.render("replicas=1"))


def test_pods_take_what_the_values_say(helm: Helm) -> None:
    manifests = helm.render(
        "nodeSelector.pool=system",
        "tolerations[0].key=system",
        "affinity.nodeAffinity.x=y",
        "priorityClassName=high",
        "podLabels.team=ml",
        "podAnnotations.note=hi",
        "imagePullSecrets[0].name=registry",
        "serviceAccount.name=boss",
        "resources.limits.memory=1Gi",
        "extraEnv[0].name=SSL_CERT_DIR",
        "extraEnv[0].value=/certs",
    )
    template = one(manifests, "Deployment")["spec"]["template"]
    spec = template["spec"]
    assert template["metadata"]["labels"]["team"] == "ml"
    assert template["metadata"]["annotations"] == {"note": "hi"}
    assert spec["nodeSelector"] == {"pool": "system"}
    assert spec["tolerations"] == [{"key": "system"}]
    assert spec["affinity"] == {"nodeAffinity": {"x": "y"}}
    assert spec["priorityClassName"] == "high"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["serviceAccountName"] == "boss"
    assert {"name": "SSL_CERT_DIR", "value": "/certs"} in spec["containers"][0]["env"]
    assert spec["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    assert one(manifests, "ServiceAccount")["metadata"]["name"] == "boss"
    subjects = [s["name"] for m in manifests for s in m.get("subjects", ())]
    assert set(subjects) == {"boss"}


def test_a_release_of_another_name_has_names_of_its_own(helm: Helm) -> None:
    for release, name in (("slipway", "slipway-operator"), ("ml", "ml-slipway-operator")):
        manifests = helm.render(release=release)
        deployment = one(manifests, "Deployment")
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        assert deployment["metadata"]["name"] == name
        assert f"--lease={name}" in container["args"]
        assert one(manifests, "Role")["rules"][1]["resourceNames"] == [name]


def test_notifications_are_off_until_they_have_a_token(helm: Helm) -> None:
    plain = helm.render()
    assert "webhook" not in yaml.safe_dump([m for m in plain if m["kind"] == "Deployment"])
    assert [m["metadata"]["name"] for m in plain if m["kind"] == "Service"] == ["slipway-operator"]
    with pytest.raises(HelmError, match=r"webhook\.tokenSecret\.name: name a Secret"):
        helm.render("webhook.enabled=true")
    rendered = helm.render("webhook.enabled=true", "webhook.tokenSecret.name=hook")
    [service] = [m for m in rendered if m["metadata"]["name"] == "slipway-operator-webhook"]
    assert service["spec"]["ports"] == [{"name": "webhook", "port": 8090, "targetPort": "webhook"}]
    [container] = one(rendered, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert "--webhook-token-file=/var/run/slipway/webhook/token" in container["args"]
    assert {"name": "webhook", "containerPort": 8090} in container["ports"]


def test_the_status_page_is_off_then_on_loopback_and_then_a_service(helm: Helm) -> None:
    def told(*settings: str) -> tuple[list[str], list[str], list[int]]:
        rendered = helm.render(*settings)
        [container] = one(rendered, "Deployment")["spec"]["template"]["spec"]["containers"]
        flags = [argument for argument in container["args"] if argument.startswith("--ui-")]
        services = [m["metadata"]["name"] for m in rendered if m["kind"] == "Service"]
        return flags, services, [port["containerPort"] for port in container["ports"]]

    assert told() == ([], ["slipway-operator"], [8080])
    assert told("ui.enabled=true") == (["--ui-port=8091"], ["slipway-operator"], [8080])
    assert told("ui.enabled=true", "ui.service.enabled=true", "ui.hosts={a.example}") == (
        ["--ui-port=8091", "--ui-address=", "--ui-host=a.example"],
        ["slipway-operator", "slipway-operator-ui"],
        [8080, 8091],
    )
    with pytest.raises(HelmError, match=r"ui\.service\.enabled is true, but ui\.enabled is false"):
        helm.render("ui.service.enabled=true")
