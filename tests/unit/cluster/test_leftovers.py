"""Telling what of a node is on the machine, and whose it is."""

import json
from pathlib import Path

import pytest

from cluster.daemons import OWNER
from cluster.mounts import mounts_under
from cluster.node import clearing, leftovers
from cluster.proc import Process, Stat

STATE = Path("/repo/.local/cluster")

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/unified rw shared:4 master:2 - cgroup2 cgroup2 rw
40 22 0:30 / /repo/.local/cluster/kubelet rw - ext4 /dev/vda rw
41 40 0:31 / /repo/.local/cluster/kubelet/pods/a/volumes/token rw - tmpfs tmpfs rw
42 22 0:32 / /repo/.local/cluster-of-another/x rw - tmpfs tmpfs rw
43 22 0:33 / /repo/.local/cluster/kubelet rw - tmpfs tmpfs rw
44 22 0:4 net:[4026532300] /run/slipway/with\\040space rw - nsfs nsfs rw
"""


def process(
    *arguments: str,
    pid: int = 1,
    state: str = "S",
    owner: str | None = None,
    cgroup: str = "/",
) -> Process:
    environment = {} if owner is None else {OWNER: owner}
    stat = Stat(pid=pid, command="x", state=state, parent=1, started=5)
    return Process(stat, arguments, environment, (cgroup,))


def test_programs_are_ours_by_environment_and_pods_by_cgroup() -> None:
    ours = [
        process("etcd", pid=1, owner=str(STATE)),
        process("app", pid=2, cgroup="/slipway/kubepods/burstable/pod1/c"),
    ]
    others = [
        process("etcd", pid=3),
        process("etcd", pid=4, owner="/elsewhere/.local/cluster"),
        process("app", pid=5, cgroup="/kubepods/burstable/pod1"),
        process("app", pid=6, cgroup="/slipway-other/x"),
        process("app", pid=7, owner=str(STATE), state="Z"),
    ]
    found = leftovers.owned_processes([*others, *ours], STATE)
    assert [p.stat.pid for p in found] == [1, 2]


@pytest.mark.parametrize("program", ["/usr/bin/kubelet", "kube-proxy", "/usr/local/bin/k3s"])
def test_another_node_on_the_machine_is_noticed(program: str) -> None:
    other = process(program, "--flag", pid=9)
    assert leftovers.foreign_node([process("bash"), process(), other], STATE) is other


def test_our_own_kubelet_and_a_dead_one_are_no_other_node() -> None:
    ours = process("/cache/kubelet", owner=str(STATE))
    dead = process("/usr/bin/kubelet", state="Z")
    assert leftovers.foreign_node([ours, dead], STATE) is None


def test_mounts_are_listed_last_mounted_first_and_only_below_the_folders() -> None:
    found = mounts_under(MOUNTINFO, [STATE, Path("/run/slipway")])
    assert found == (
        "/run/slipway/with space",
        "/repo/.local/cluster/kubelet",
        "/repo/.local/cluster/kubelet/pods/a/volumes/token",
        "/repo/.local/cluster/kubelet",
    )


def test_both_versions_of_cgroups_are_found() -> None:
    assert leftovers.cgroup_hierarchies(MOUNTINFO) == (
        Path("/sys/fs/cgroup/memory"),
        Path("/sys/fs/cgroup/unified"),
    )


def test_links_are_the_bridge_and_what_is_plugged_in() -> None:
    links = [
        {"ifname": "eth0"},
        {"ifname": "slipway0"},
        {"ifname": "veth1", "master": "slipway0"},
        {"ifname": "veth2", "master": "docker0"},
    ]
    assert leftovers.node_links(json.dumps(links)) == ("veth1", "slipway0")
    assert leftovers.node_links("") == ()


def test_tables_are_those_of_the_proxy_and_the_bridge_plugin() -> None:
    listing = "table ip nat\ntable ip kube-proxy\ntable inet cni_plugins_masquerade\n"
    assert leftovers.node_tables(listing) == (
        ("ip", "kube-proxy"),
        ("inet", "cni_plugins_masquerade"),
    )


def test_an_empty_table_is_told_from_one_with_chains() -> None:
    assert leftovers.is_empty_table("table ip nat {\n}\n")
    assert not leftovers.is_empty_table("table ip nat {\n\tchain A {\n\t}\n}\n")


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        (json.dumps({"netns": f"{STATE}/containerd/state/netns/cni-1"}), True),
        (json.dumps({"netns": "/run/netns/cni-1"}), False),
        (json.dumps({"netns": "/repo/.local/cluster2/netns/cni-1"}), False),
        ("{}", False),
        ("not json", False),
        ("[1]", False),
    ],
)
def test_cached_network_results_are_ours_by_their_namespace(content: str, ours: bool) -> None:  # noqa: FBT001
    assert leftovers.is_result_of(content, STATE) is ours


def test_nothing_found_is_false_and_anything_found_is_described() -> None:
    assert not leftovers.Leftovers()
    found = leftovers.Leftovers(
        processes=(process("etcd", "--x", pid=3),),
        mounts=("/m",),
        links=("l",),
        tables=(("ip", "t"),),
        cgroups=(Path("/c"),),
    )
    assert found
    assert found.describe() == [
        "process 3 etcd --x",
        "mount /m",
        "link l",
        "nft table ip t",
        "cgroup /c",
    ]


def test_a_machine_without_the_nodes_programs_has_nothing_of_a_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(clearing, "SYSTEM_PATH", str(tmp_path))
    found = clearing.find(tmp_path / "node")
    assert (found.links, found.tables) == ((), ())
