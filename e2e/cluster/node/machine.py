"""What the node needs to know of this machine, and what must not be on it."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from cluster import controlplane, debian, proc, tools
from cluster.errors import ClusterError
from cluster.node import leftovers
from cluster.node.layout import Binaries, Layout, ports
from cluster.ports import is_free

GIVEN_ADDRESS = "SLIPWAY_NODE_IP"
# An address of a range that is nobody's; see `own_address`.
NOBODY = ("198.51.100.1", 9)
DEBIAN_PROGRAMS = ("runc", "nft", "ip")


def check_may() -> None:
    """Refuses a user who may not make namespaces, mounts and network rules.

    Raises:
        ClusterError: says so.
    """
    if os.geteuid() != 0:
        raise ClusterError(
            "the local cluster mounts, makes network namespaces and writes nftables, so it runs as "
            "root only; use a machine where you may be, or an existing cluster by KUBECONFIG"
        )


def own_address() -> str:
    """The machine's own IPv4 address, by which its pods can reach it.

    Raises:
        ClusterError: it has none besides loopback.
    """
    given = os.environ.get(GIVEN_ADDRESS)
    if given:
        return given
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket only picks a route: nothing is sent.
            probe.connect(NOBODY)
            return str(probe.getsockname()[0])
        except OSError as error:
            raise ClusterError(
                "this machine has no route to anywhere, so its own address cannot be told; "
                f"set {GIVEN_ADDRESS} to an address of one of its interfaces, not 127.0.0.1"
            ) from error


def binaries() -> Binaries:
    """Finds every program, building and installing what is missing."""
    debian.ensure(DEBIAN_PROGRAMS)
    plane = controlplane.Binaries(
        etcd=tools.find("etcd"),
        apiserver=tools.find("kube-apiserver"),
        controllers=tools.find("kube-controller-manager"),
        scheduler=tools.find("kube-scheduler"),
    )
    plugins = {tools.find(name).parent for name in ("bridge", "host-local", "loopback")}
    if len(plugins) != 1:
        raise ClusterError(f"the CNI plugins must lie in one folder, not in {sorted(plugins)}")
    runc = shutil.which("runc", path=debian.ADMINISTRATOR_PATH)
    if runc is None:
        raise ClusterError("runc is not on the PATH although its package is installed")
    return Binaries(
        plane=plane,
        containerd=tools.find("containerd"),
        shim=tools.find("containerd-shim-runc-v2"),
        kubelet=tools.find("kubelet"),
        proxy=tools.find("kube-proxy"),
        coredns=tools.find("coredns"),
        s3=tools.find("versitygw"),
        plugins=plugins.pop(),
        runc=Path(runc),
        python=Path(sys.executable),
        kubectl=tools.find("kubectl"),
        ctr=tools.find("ctr"),
        pause=tools.find("pause"),
    )


def check_no_other_node(state: Path) -> None:
    """Refuses a machine on which another Kubernetes node runs.

    Raises:
        ClusterError: names the process.
    """
    other = leftovers.foreign_node(proc.processes(), state)
    if other is not None:
        raise ClusterError(
            f"another Kubernetes node runs on this machine (pid {other.stat.pid}: "
            f"{other.arguments[0]}), and two would overwrite each other's nftables; stop it, or use "
            "its cluster by setting KUBECONFIG"
        )


def check_ports(layout: Layout) -> None:
    """Refuses to start when something else listens where the node's programs would.

    Raises:
        ClusterError: names the ports and who holds them.
    """
    taken = [(address, port) for address, port in ports(layout) if not is_free(port, address)]
    if not taken:
        return
    wanted = " or ".join(f"sport = :{port}" for _, port in taken)
    holders = subprocess.run(
        ["ss", "-ltnpH", wanted], capture_output=True, text=True, check=False
    ).stdout
    named = ", ".join(f"{address}:{port}" for address, port in taken)
    raise ClusterError(f"these ports are taken: {named}; stop what holds them:\n{holders.rstrip()}")
