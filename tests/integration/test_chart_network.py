"""The chart's NetworkPolicies, and the ports and networks among its values."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from charts import NAMESPACE, Helm, HelmError, Manifest, kinds, one
from slipway_operator.api import names
from slipway_sync.stores.addresses import AddressPolicy

ON = "networkPolicy.enabled=true"
MODELS = "networkPolicy.modelNamespaces={team-a,team-b}"
HOOK = ("webhook.enabled=true", "webhook.tokenSecret.name=hook")


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(tmp_path)


def policies(manifests: list[Manifest]) -> dict[tuple[str, str], Any]:
    """The specs, by namespace and name."""
    return {
        (m["metadata"]["namespace"], m["metadata"]["name"]): m["spec"]
        for m in manifests
        if m["kind"] == "NetworkPolicy"
    }


def lets(rules: list[dict[str, Any]], port: int, address: str = "", pod: str = "") -> bool:
    """Whether a rule lets TCP pass to or from an address outside the cluster, or a pod.

    Args:
        rules: Of one direction.
        port: The destination's.
        address: The other side, if it is no pod.
        pod: `namespace/app`, if it is one, where app is its only label.
    """

    def inside(network: str) -> bool:
        return ip_address(address) in ip_network(network)

    def is_peer(peer: dict[str, Any]) -> bool:
        if block := peer.get("ipBlock"):
            return (
                bool(address)
                and inside(block["cidr"])
                and not any(inside(network) for network in block.get("except", ()))
            )
        namespace, _, app = pod.partition("/")
        own = "namespaceSelector" in peer or namespace == NAMESPACE
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        wanted = labels.get("app.kubernetes.io/name", app)
        return bool(pod) and own and wanted == app

    return any(
        (not rule.get("ports") or {"port": port, "protocol": "TCP"} in rule["ports"])
        and (
            not (peers := rule.get("from") or rule.get("to"))
            or any(is_peer(peer) for peer in peers)
        )
        for rule in rules
    )


def test_without_being_asked_for_there_is_none(helm: Helm) -> None:
    assert "NetworkPolicy" not in kinds(helm.render())


def test_policies_of_models_without_the_operators_are_a_mistake(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"modelNamespaces is set, but networkPolicy\.enabled"):
        helm.render(MODELS)


def test_the_operators_policy_covers_the_operator_alone(helm: Helm) -> None:
    manifests = helm.render(ON)
    [((namespace, name), spec)] = policies(manifests).items()
    assert (namespace, name) == (NAMESPACE, "slipway-operator")
    deployment = one(manifests, "Deployment")
    assert spec["podSelector"] == deployment["spec"]["selector"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [8080]
    assert lets(spec["ingress"], 8080, pod="monitoring/prometheus")
    assert not lets(spec["ingress"], 8090, pod="monitoring/prometheus")


def test_metrics_and_notifications_are_for_those_whom_the_values_name(helm: Helm) -> None:
    scraper = "networkPolicy.ingress.metrics[0].podSelector.matchLabels.app\\.kubernetes\\.io/name=scraper"
    gateway = "networkPolicy.ingress.webhook[0].ipBlock.cidr=198.51.100.0/24"
    [spec] = policies(helm.render(ON, *HOOK)).values()
    assert lets(spec["ingress"], 8090, address="203.0.113.1")
    [spec] = policies(helm.render(ON, *HOOK, scraper, gateway)).values()
    ingress = spec["ingress"]
    assert lets(ingress, 8080, pod=f"{NAMESPACE}/scraper")
    assert lets(ingress, 8080, pod=f"{NAMESPACE}/slipway-test"), "helm test goes on"
    assert not lets(ingress, 8080, pod=f"{NAMESPACE}/other")
    assert lets(ingress, 8090, address="198.51.100.7")
    assert not lets(ingress, 8090, address="203.0.113.1")
    for direction in (ingress, spec["egress"]):
        assert lets(direction, 8090, pod=f"{NAMESPACE}/slipway-operator"), "replicas pass them on"


def test_the_status_page_is_for_those_whom_the_values_name_and_open_with_a_service_only(
    helm: Helm,
) -> None:
    page, service = "ui.enabled=true", "ui.service.enabled=true"
    proxy = "networkPolicy.ingress.ui[0].podSelector.matchLabels.app\\.kubernetes\\.io/name=proxy"
    [spec] = policies(helm.render(ON, page)).values()
    assert not lets(spec["ingress"], 8091, pod=f"{NAMESPACE}/proxy")
    [spec] = policies(helm.render(ON, page, service)).values()
    assert lets(spec["ingress"], 8091, pod=f"{NAMESPACE}/other")
    [spec] = policies(helm.render(ON, page, service, proxy)).values()
    assert lets(spec["ingress"], 8091, pod=f"{NAMESPACE}/proxy")
    assert not lets(spec["ingress"], 8091, pod=f"{NAMESPACE}/other")


METADATA = [
    *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("fe80::1", "fe80::a9fe:a9fe", "fd00:ec2::254", "fd20:ce::254", "64:ff9b::a9fe:a9fe"),
]


@pytest.mark.parametrize("address", METADATA)
def test_what_is_no_source_is_out_of_reach(helm: Helm, address: str) -> None:
    """The operator refuses such an address itself; a policy does so for whatever runs in the pod."""
    assert AddressPolicy().refusal(ip_address(address))
    found = policies(helm.render(ON, MODELS))
    for key in ((NAMESPACE, "slipway-operator"), ("team-a", "slipway-operator-models")):
        egress = found[key]["egress"]
        assert not lets(egress, 80, address=address)
        assert lets(egress, 53, address=address), "a node's DNS cache"
        for good in ("10.96.0.1", "192.0.2.7", "2001:db8::1"):
            assert lets(egress, 443, address=good)
        assert lets(egress, 9000, pod="storage/minio")


def test_an_allowed_network_is_reached(helm: Helm) -> None:
    allowed = "sources.allowedNetworks={169.254.20.0/24}"
    for spec in policies(helm.render(ON, MODELS, allowed)).values():
        if spec.get("egress"):
            assert lets(spec["egress"], 80, address="169.254.20.10")
            assert not lets(spec["egress"], 80, address="169.254.169.254")


def test_sources_that_the_values_name_are_the_only_ones(helm: Helm) -> None:
    sources = "networkPolicy.egress.sources[0].ipBlock.cidr=192.0.2.0/24"
    server = "networkPolicy.egress.apiServer[0].ipBlock.cidr=10.96.0.1/32"
    found = policies(helm.render(ON, MODELS, sources, server))
    operator = found[NAMESPACE, "slipway-operator"]["egress"]
    model = found["team-b", "slipway-operator-models"]["egress"]
    for egress in (operator, model):
        assert lets(egress, 443, address="192.0.2.7")
        assert not lets(egress, 443, address="198.51.100.7")
        assert not lets(egress, 9000, pod="storage/minio")
        assert lets(egress, 53, pod="kube-system/coredns")
    assert lets(operator, 443, address="10.96.0.1")
    assert not lets(model, 443, address="10.96.0.1")
    # The metrics of a canary and of what it takes over from.
    [metrics] = [
        rule for rule in operator if rule.get("ports") == [{"port": 8501, "protocol": "TCP"}]
    ]
    [models] = metrics["to"]
    labelled = {"key": names.MODEL_LABEL, "operator": "Exists"}
    assert models["podSelector"] == {"matchExpressions": [labelled]}


def test_pods_of_models_serve_and_those_that_list_a_volume_do_nothing(helm: Helm) -> None:
    found = policies(helm.render(ON, MODELS))
    assert set(found) == {
        (NAMESPACE, "slipway-operator"),
        *(
            (team, f"slipway-operator-{of}")
            for team in ("team-a", "team-b")
            for of in ("models", "preflights", "volumes")
        ),
    }
    models = found["team-a", "slipway-operator-models"]
    labelled = {"key": names.MODEL_LABEL, "operator": "Exists"}
    assert models["podSelector"] == {"matchExpressions": [labelled]}
    for port in (names.GRPC_PORT, names.REST_PORT):
        assert lets(models["ingress"], port, pod="web/client")
    assert not lets(models["ingress"], 8080, pod="web/client")
    preflights = found["team-a", "slipway-operator-preflights"]
    labelled = {"key": names.PREFLIGHT_LABEL, "operator": "Exists"}
    assert preflights["podSelector"] == {"matchExpressions": [labelled]}
    assert "ingress" not in preflights
    assert preflights["egress"] == models["egress"]
    volumes = found["team-a", "slipway-operator-volumes"]
    labelled = {"key": names.SOURCE_LABEL, "operator": "Exists"}
    assert volumes == {
        "podSelector": {"matchExpressions": [labelled]},
        "policyTypes": ["Ingress", "Egress"],
    }
    clients = (
        "networkPolicy.ingress.models[0].podSelector.matchLabels.app\\.kubernetes\\.io/name=web"
    )
    models = policies(helm.render(ON, MODELS, clients))["team-a", "slipway-operator-models"]
    [by_clients, by_the_operator] = models["ingress"]
    assert by_clients["from"] == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "web"}}}
    ]
    assert by_the_operator["ports"] == [{"port": names.REST_PORT, "protocol": "TCP"}]
    [operator] = by_the_operator["from"]
    assert operator["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": NAMESPACE
    }
    assert operator["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "slipway-operator"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("networkPolicy.enable=true", "'enable' not allowed"),
        ("networkPolicy.modelNamespaces={Team A}", "at '/networkPolicy/modelNamespaces/0'"),
        ("networkPolicy.ingress.models[0].cidr=10.0.0.0/8", "'cidr' not allowed"),
        ("networkPolicy.egress.sources[0]=10.0.0.0/8", "got string, want object"),
    ],
)
def test_a_peer_that_cannot_be_is_refused(helm: Helm, setting: str, words: str) -> None:
    with pytest.raises(HelmError) as refusal:
        helm.render(setting)
    assert words in str(refusal.value)


# ---- ports and networks


def test_two_things_do_not_listen_on_one_port(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"webhook\.port must not be 8080: the operator serves its"):
        helm.render(*HOOK, "webhook.port=8080")
    helm.render("webhook.port=8080")
    helm.render(*HOOK, "webhook.port=8081")
    for taken in (8080, 8090):
        with pytest.raises(HelmError, match=rf"ui\.port must not be {taken}: the operator serves "):
            helm.render(*HOOK, "ui.enabled=true", f"ui.port={taken}")
    helm.render("ui.enabled=true", "ui.port=8090")


NETWORKS = [
    *("169.254.20.0/24", "169.254.20.1/32", "0.0.0.0/0", "10.0.0.0/8", "169.254.20.128/25"),
    *("fe80::/64", "FE80::/10", "::/0", "::1/128", "1:2:3:4:5:6:7:8/128", "fd00:10:0:8000::/49"),
    *("1:2:3:4:5:6:7::/112", "2001:db8:8::/45"),
    *("::ffff:169.254.0.0/112", "64:ff9b::169.254.0.0/112", "1:2:3:4:5:6:7.8.9.0/120"),
    *("::ffff:169.254.0.1/112", "::ffff:1.2.3/128", "1.2.3.4::/64", "::1.2.3.4:5/128"),
    *("::1.2.3.256/128", "1:2:3:4:5:6:7:8.9.10.11/128"),
    *("169.254.0.0/99", "169.254.0.0/33", "256.0.0.0/8", "1.2.3/24", "1.2.3.4.5/24", "01.2.3.0/24"),
    *("169.254.20.1/24", "169.254.20.128/24", "10.1.0.0/8", "128.0.0.0/0"),
    *("fe80::/129", "fe80::1/64", ":::/64", "1::2::/64", "1:2:3:4:5:6:7/128", "12345::/64"),
    *("1:2:3:4:5:6:7:8::/128", "1:2:3:4:5:6:7:8:9/128", "fe80:/10", "fd00:10:0:8000::/48"),
]  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_is_what_the_operator_takes_for_one(helm: Helm, network: str) -> None:
    setting = f"sources.allowedNetworks={{{network}}}"
    try:
        ip_network(network)
    except ValueError:
        with pytest.raises(
            HelmError, match=f"sources.allowedNetworks: {network} (is not|has host bits)"
        ):
            helm.render(setting)
    else:
        helm.render(setting)
