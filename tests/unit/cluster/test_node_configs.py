"""The node's configuration files and command lines."""

import dataclasses
import json
import tomllib
from pathlib import Path

import pytest

from cluster import controlplane
from cluster.errors import ClusterError
from cluster.node import configs, programs
from cluster.node.layout import Binaries, Layout, check_state, ports

TOOLS = Path("/cache/tools")
STATE = Path("/repo/.local/cluster")
BINARIES = Binaries(
    plane=controlplane.Binaries(
        TOOLS / "etcd", TOOLS / "kube-apiserver", TOOLS / "kcm", TOOLS / "scheduler"
    ),
    containerd=TOOLS / "containerd",
    shim=TOOLS / "node" / "containerd-shim-runc-v2",
    kubelet=TOOLS / "kubelet",
    proxy=TOOLS / "kube-proxy",
    coredns=TOOLS / "coredns",
    s3=TOOLS / "versitygw",
    plugins=TOOLS / "node",
    runc=Path("/usr/sbin/runc"),
    python=Path("/repo/.venv/bin/python"),
    kubectl=TOOLS / "kubectl",
    ctr=TOOLS / "ctr",
    pause=TOOLS / "pause",
)
LAYOUT = Layout(STATE, "10.1.2.3", BINARIES)


def test_containerd_keeps_everything_where_it_is_found_again() -> None:
    config = tomllib.loads(configs.containerd(LAYOUT))
    assert config["state"] == f"{STATE}/containerd/state"
    assert config["root"] == "/repo/.local/containerd"
    runtime = config["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["netns_mounts_under_state_dir"] is True
    options = runtime["containerd"]["runtimes"]["runc"]["options"]
    assert options["Root"] == f"{STATE}/containerd/runc"
    assert options["SystemdCgroup"] is False
    assert runtime["cni"]["bin_dirs"] == [str(TOOLS / "node")]
    # A shim's socket: 64 characters and a slash below this, of 107.
    assert len(config["plugins"]["io.containerd.shim.v1.manager"]["socket_dir"]) <= 42


def test_containerd_finds_its_shim() -> None:
    path = programs.containerd(LAYOUT).environment["PATH"]
    assert path.split(":")[0] == str(BINARIES.shim.parent)


def test_the_kubelet_leaves_no_iptables_chains_and_no_image_out() -> None:
    config = configs.kubelet(LAYOUT)
    assert config["makeIPTablesUtilChains"] is False
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["cgroupRoot"] == "/slipway"
    assert config["podLogsDir"].startswith(str(STATE))


def test_dns_answers_the_cluster_before_all_else() -> None:
    corefile = configs.corefile(LAYOUT)
    blocks = [line for line in corefile.splitlines() if line.endswith("{") and line[0] != " "]
    assert blocks == ["cluster.local:1053 10.in-addr.arpa:1053 {", ".:1053 {"]
    assert "template" not in corefile.partition(".:1053")[0].partition("cache")[0]
    assert corefile.count("{") == corefile.count("}")


def test_the_dns_service_and_its_endpoints_name_the_same_ports() -> None:
    found = {manifest["kind"]: manifest for manifest in configs.manifests(LAYOUT)}
    service = found["Service"]["spec"]["ports"]
    slices = found["EndpointSlice"]
    assert [p["name"] for p in service] == [p["name"] for p in slices["ports"]]
    assert slices["endpoints"] == [{"addresses": ["10.1.2.3"]}]


def test_every_file_is_below_the_state_folder_and_json_is_json() -> None:
    for path, text in configs.files(LAYOUT).items():
        assert path.is_relative_to(STATE)
        if path.suffix in (".json", ".conflist"):
            json.loads(text)


def test_no_secret_is_on_a_command_line() -> None:
    from cluster import s3

    program = s3.program(LAYOUT.s3, s3.Credentials("public-name", "very-secret"))
    assert not any("very-secret" in word for word in program.argv)
    assert program.environment["ROOT_SECRET_ACCESS_KEY"] == "very-secret"


def test_all_ports_differ() -> None:
    found = [port for _, port in ports(LAYOUT)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(LAYOUT, address="10.1.2.4"),
        dataclasses.replace(LAYOUT, audit=True),
        dataclasses.replace(
            LAYOUT, binaries=dataclasses.replace(BINARIES, kubelet=Path("/other/kubelet"))
        ),
        dataclasses.replace(
            LAYOUT, binaries=dataclasses.replace(BINARIES, s3=Path("/other/versitygw"))
        ),
    ],
    ids=["address", "audit", "kubelet", "s3"],
)
def test_a_node_that_runs_something_else_has_another_fingerprint(other: Layout) -> None:
    assert programs.fingerprint(LAYOUT) == programs.fingerprint(dataclasses.replace(LAYOUT))
    assert programs.fingerprint(other) != programs.fingerprint(LAYOUT)


def test_an_api_server_on_loopback_announces_no_endpoint() -> None:
    alone = controlplane.Layout(STATE, controlplane.Ports(1, 2, 3, 4, 5), BINARIES.plane)
    assert "--endpoint-reconciler-type=none" in controlplane.apiserver(alone).argv
    assert "--advertise-address=10.1.2.3" in controlplane.apiserver(LAYOUT.plane).argv


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/" + "x" * 60, "61 characters"),
        ("/home/jane doe/slipway", "spaces"),
        ("/home/jané/slipway", "beyond ASCII"),
    ],
)
def test_a_state_folder_that_cannot_work_is_refused(path: str, problem: str) -> None:
    check_state(STATE)
    with pytest.raises(ClusterError, match=problem):
        check_state(Path(path))
