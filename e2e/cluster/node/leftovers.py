"""What of a node is on this machine, told from what the kernel and the tools say. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cluster.daemons import OWNER
from cluster.mounts import unescaped
from cluster.node.layout import BRIDGE, CGROUP
from cluster.proc import Process

TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"), ("inet", "cni_plugins_masquerade"))
"""nftables that kube-proxy and the bridge plugin make, by family and name."""

NODE_PROGRAMS = frozenset({"kubelet", "kube-proxy", "k3s", "k0s", "rke2"})


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Everything that `clear` takes away besides files. Empty when the machine is clean."""

    processes: tuple[Process, ...] = ()
    mounts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    tables: tuple[tuple[str, str], ...] = ()
    cgroups: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return any((self.processes, self.mounts, self.links, self.tables, self.cgroups))

    def describe(self) -> list[str]:
        """One line for each thing."""
        return [
            *(f"process {p.stat.pid} {' '.join(p.arguments)[:100]}" for p in self.processes),
            *(f"mount {mount}" for mount in self.mounts),
            *(f"link {link}" for link in self.links),
            *(f"nft table {family} {name}" for family, name in self.tables),
            *(f"cgroup {cgroup}" for cgroup in self.cgroups),
        ]


def owned_processes(processes: Iterable[Process], state: Path) -> tuple[Process, ...]:
    """The node's programs and shims (by their environment) and the pods' processes (by cgroup)."""
    return tuple(
        process
        for process in processes
        if process.stat.running
        and (
            process.environment.get(OWNER) == str(state)
            or any(path == CGROUP or path.startswith(CGROUP + "/") for path in process.cgroups)
        )
    )


def foreign_node(processes: Iterable[Process], state: Path) -> Process | None:
    """A process of another Kubernetes node on this machine: two would fight over nftables."""
    for process in processes:
        if not process.arguments or not process.stat.running:
            continue
        program = process.arguments[0].rpartition("/")[2]
        if program in NODE_PROGRAMS and process.environment.get(OWNER) != str(state):
            return process
    return None


def cgroup_hierarchies(mountinfo: str) -> tuple[Path, ...]:
    """Where cgroup hierarchies are mounted, of either version."""
    found = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        if separator and after.split(" ")[0] in ("cgroup", "cgroup2"):
            found.append(Path(unescaped(before.split(" ")[4])))
    return tuple(found)


def node_links(links: str) -> tuple[str, ...]:
    """The bridge and what is plugged into it.

    Args:
        links: what `ip -json link show` prints.
    """
    found = json.loads(links or "[]")
    plugged = [link["ifname"] for link in found if link.get("master") == BRIDGE]
    return (*plugged, *(link["ifname"] for link in found if link["ifname"] == BRIDGE))


def node_tables(tables: str) -> tuple[tuple[str, str], ...]:
    """Those of the node's nftables that are there.

    Args:
        tables: what `nft list tables` prints, lines `table FAMILY NAME`.
    """
    there = listed_tables(tables)
    return tuple(table for table in TABLES if table in there)


def listed_tables(tables: str) -> tuple[tuple[str, str], ...]:
    """Family and name of every line `table FAMILY NAME`."""
    words = (line.split() for line in tables.splitlines())
    return tuple((line[1], line[2]) for line in words if len(line) == 3 and line[0] == "table")


def is_empty_table(listing: str) -> bool:
    """Whether `nft list table` shows nothing between the braces."""
    return not listing.partition("{")[2].strip().removesuffix("}").strip()


def is_result_of(content: str, state: Path) -> bool:
    """Whether a result that libcni cached is of a pod of the node with this state folder."""
    try:
        return str(json.loads(content)["netns"]).startswith(f"{state}/")
    except (ValueError, KeyError, TypeError):
        return False
