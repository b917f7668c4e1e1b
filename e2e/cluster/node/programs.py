"""The command lines of the node's own programs. Pure."""

import hashlib
import json

from cluster import controlplane
from cluster.daemons import SYSTEM_PATH, Program
from cluster.node import configs
from cluster.node.layout import (
    NODE,
    PROXY_HEALTH_PORT,
    PROXY_METRICS_PORT,
    Layout,
)
from cluster.paths import REPOSITORY


def containerd(layout: Layout) -> Program:
    return Program(
        "containerd",
        (
            str(layout.binaries.containerd),
            f"--config={layout.config / configs.CONTAINERD}",
            "--log-level=warn",
        ),
        # It looks for its shim on the PATH.
        {"PATH": f"{layout.binaries.shim.parent}:{SYSTEM_PATH}"},
    )


def kubelet(layout: Layout) -> Program:
    return Program(
        "kubelet",
        (
            str(layout.binaries.kubelet),
            f"--config={layout.config / configs.KUBELET}",
            f"--kubeconfig={layout.pki / 'kubelet.kubeconfig'}",
            f"--hostname-override={NODE}",
            f"--node-ip={layout.address}",
            f"--root-dir={layout.kubelet}",
        ),
    )


def proxy(layout: Layout) -> Program:
    return Program(
        "kube-proxy",
        (
            str(layout.binaries.proxy),
            f"--kubeconfig={layout.pki / 'proxy.kubeconfig'}",
            "--proxy-mode=nftables",
            f"--cluster-cidr={controlplane.POD_RANGE}",
            f"--hostname-override={NODE}",
            "--conntrack-max-per-core=0",
            f"--healthz-bind-address=127.0.0.1:{PROXY_HEALTH_PORT}",
            f"--metrics-bind-address=127.0.0.1:{PROXY_METRICS_PORT}",
        ),
    )


def coredns(layout: Layout) -> Program:
    return Program(
        "coredns", (str(layout.binaries.coredns), "-conf", str(layout.config / configs.COREFILE))
    )


def gpus(layout: Layout) -> Program:
    return Program(
        "gpus",
        (
            *(str(layout.binaries.python), "-m", "cluster.node.deviceplugin"),
            *("--socket", str(layout.gpu_socket), "--count-file", str(layout.gpu_count)),
        ),
        {"PYTHONPATH": str(REPOSITORY / "e2e"), "PYTHONDONTWRITEBYTECODE": "1"},
    )


def fingerprint(layout: Layout) -> str:
    """Differs when any program or configuration file would: what runs is then out of date."""
    plane = layout.plane
    programs = (
        controlplane.etcd(plane),
        controlplane.apiserver(plane),
        controlplane.controllers(plane),
        controlplane.scheduler(plane),
        containerd(layout),
        kubelet(layout),
        proxy(layout),
        coredns(layout),
        gpus(layout),
    )
    content = {
        "programs": [[program.name, *program.argv] for program in programs],
        "files": {str(path): text for path, text in configs.files(layout).items()},
        "manifests": configs.manifests(layout),
        "s3": str(layout.s3),
        "audit": controlplane.AUDIT_POLICY,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
