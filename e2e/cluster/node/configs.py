"""The configuration files of the node's programs. Pure: layout in, text out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.node.layout import (
    BRIDGE,
    CGROUP,
    DNS_ADDRESS,
    DNS_DOMAIN,
    DNS_PORT,
    DNS_READY_PORT,
    KUBELET_HEALTH_PORT,
    KUBELET_PORT,
    NETWORK,
    PAUSE_IMAGE,
    POD_SUBNET,
    SOCKETS,
    Layout,
)

CONTAINERD = "containerd.toml"
KUBELET = "kubelet.json"
COREFILE = "Corefile"


def files(layout: Layout) -> Mapping[Path, str]:
    """Every configuration file, by its path."""
    return {
        layout.config / CONTAINERD: containerd(layout),
        layout.config / "cni" / "10-slipway.conflist": json.dumps(cni(layout), indent=2),
        layout.config / KUBELET: json.dumps(kubelet(layout), indent=2),
        layout.config / COREFILE: corefile(layout),
    }


def containerd(layout: Layout) -> str:
    return f"""\
version = 3
root = "{layout.images}"
state = "{layout.containerd / "state"}"

# Snapshotters that this machine need not have.
disabled_plugins = [
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "{SOCKETS / "s"}"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  # Under the state folder, where a killed run's namespaces are found again.
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{layout.binaries.plugins}"]
    conf_dir = "{layout.config / "cni"}"

  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{layout.binaries.runc}"
      Root = "{layout.containerd / "runc"}"
      SystemdCgroup = false
"""


def cni(layout: Layout) -> dict[str, Any]:
    """One bridge; addresses are written down under the state folder."""
    return {
        "cniVersion": "1.0.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "ipMasq": True,
                # Said outright: otherwise a machine with an iptables program gets iptables rules.
                "ipMasqBackend": "nftables",
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(layout.state / "addresses"),
                    "ranges": [[{"subnet": POD_SUBNET}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
        ],
    }


def kubelet(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.address,
        "port": KUBELET_PORT,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": KUBELET_HEALTH_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.pki / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "podLogsDir": str(layout.pod_logs),
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DNS_DOMAIN,
        "resolvConf": "",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": CGROUP,
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        # Chains of iptables would stay behind; pods and Services work without them.
        "makeIPTablesUtilChains": False,
        # A changed number of devices shows in the node within this time.
        "nodeStatusUpdateFrequency": "2s",
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1Gi",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1Gi",
        },
        # No registry could bring an image back.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 100,
    }


def corefile(layout: Layout) -> str:
    """The cluster's names are answered from the API server, all others do not exist.

    Two blocks, for `template` comes before `kubernetes` in CoreDNS's fixed order of plugins.
    """
    return f"""\
{DNS_DOMAIN}:{DNS_PORT} 10.in-addr.arpa:{DNS_PORT} {{
    bind {layout.address}
    errors
    ready {layout.address}:{DNS_READY_PORT}
    kubernetes {DNS_DOMAIN} 10.in-addr.arpa {{
        kubeconfig {layout.pki / "dns.kubeconfig"} slipway
        ttl 5
    }}
    cache 5
}}
.:{DNS_PORT} {{
    bind {layout.address}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


def manifests(layout: Layout) -> list[dict[str, Any]]:
    """What the cluster itself needs in the API: DNS as a Service, and leave for CoreDNS to look."""
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "slipway-local-dns"},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "slipway-local-dns"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "slipway-local-dns",
            },
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "coredns"}
            ],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {
                "clusterIP": DNS_ADDRESS,
                "ports": [
                    {
                        "name": f"dns-{protocol.lower()}",
                        "port": 53,
                        "protocol": protocol,
                        "targetPort": DNS_PORT,
                    }
                    for protocol in ("UDP", "TCP")
                ],
            },
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [layout.address]}],
            "ports": [
                {"name": f"dns-{protocol.lower()}", "port": DNS_PORT, "protocol": protocol}
                for protocol in ("UDP", "TCP")
            ],
        },
    ]
