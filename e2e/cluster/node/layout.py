"""Where the node keeps its things and what it is called: what every command line follows from. Pure."""

from dataclasses import dataclass
from pathlib import Path

from cluster import controlplane, paths, s3
from cluster.errors import ClusterError

NODE = "node-1"
POD_SUBNET = "10.244.0.0/24"
DNS_ADDRESS = "10.96.0.10"
DNS_DOMAIN = "cluster.local"
BRIDGE = "slipway0"
NETWORK = "slipway"
"""The CNI network's name; libcni's cached results carry it in their file names."""

CGROUP = "/slipway"
"""All pods' cgroups are below it, in every hierarchy, so that what they leave can be told as ours."""

GPU_RESOURCE = "nvidia.com/gpu"
PAUSE_IMAGE = "localhost/pause:1"

# Machine-wide, short enough for the shims' socket names (64 characters, of 107 that a socket's may have).
SOCKETS = Path("/run/slipway")

APISERVER_PORT = 6443
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
CONTROLLERS_PORT = 10257
SCHEDULER_PORT = 10259
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
PROXY_HEALTH_PORT = 10256
PROXY_METRICS_PORT = 10249
DNS_PORT = 1053
DNS_READY_PORT = 8185
S3_PORT = 7070


@dataclass(frozen=True, slots=True)
class Binaries:
    """The node's programs, and the folder that holds the CNI plugins."""

    plane: controlplane.Binaries
    containerd: Path
    shim: Path
    kubelet: Path
    proxy: Path
    coredns: Path
    s3: Path
    plugins: Path
    runc: Path
    python: Path
    kubectl: Path
    ctr: Path
    pause: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """One node on this machine."""

    state: Path
    address: str
    """The machine's own address, by which pods and the host reach the API server, DNS and S3."""

    binaries: Binaries
    audit: bool = False

    @property
    def plane(self) -> controlplane.Layout:
        ports = controlplane.Ports(
            apiserver=APISERVER_PORT,
            etcd=ETCD_PORT,
            etcd_peer=ETCD_PEER_PORT,
            controllers=CONTROLLERS_PORT,
            scheduler=SCHEDULER_PORT,
        )
        return controlplane.Layout(
            self.state, ports, self.binaries.plane, address=self.address, audit=self.audit
        )

    @property
    def s3(self) -> s3.Layout:
        return s3.Layout(self.state, self.binaries.s3, self.address, S3_PORT)

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def containerd(self) -> Path:
        return self.state / "containerd"

    @property
    def images(self) -> Path:
        """containerd's images, unpacked: kept when the node goes, for they take long to bring in."""
        return images_folder(self.state)

    @property
    def containerd_socket(self) -> Path:
        return SOCKETS / "containerd.sock"

    @property
    def kubelet(self) -> Path:
        return self.state / "kubelet"

    @property
    def pod_logs(self) -> Path:
        return self.state / "logs" / "pods"

    @property
    def gpu_socket(self) -> Path:
        return self.kubelet / "plugins_registry" / "gpu.sock"

    @property
    def gpu_count(self) -> Path:
        return self.state / "gpus"


def images_folder(state: Path) -> Path:
    return state.parent / "containerd"


def ports(layout: Layout) -> tuple[tuple[str, int], ...]:
    """Every address and port that the node's programs listen on."""
    local = "127.0.0.1"
    return (
        (layout.address, APISERVER_PORT),
        (local, ETCD_PORT),
        (local, ETCD_PEER_PORT),
        (local, CONTROLLERS_PORT),
        (local, SCHEDULER_PORT),
        (layout.address, KUBELET_PORT),
        (local, KUBELET_HEALTH_PORT),
        (local, PROXY_HEALTH_PORT),
        (local, PROXY_METRICS_PORT),
        (layout.address, DNS_PORT),
        (layout.address, DNS_READY_PORT),
        (layout.address, S3_PORT),
    )


def check_state(state: Path) -> None:
    """Refuses a state folder in which the kubelet could not make its sockets or logs.

    Raises:
        ClusterError: says what is wrong with the path.
    """
    text = str(state)
    if len(text) > paths.LONGEST_STATE:
        raise ClusterError(
            f"the path {text} has {len(text)} characters, and sockets below it may have 107 in all; "
            f"move the repository to where its .local/cluster has at most {paths.LONGEST_STATE}"
        )
    if not text.isascii() or any(character in text for character in " \"'\\"):
        raise ClusterError(
            f"the path {text} holds spaces, quotes or characters beyond ASCII, which the kubelet "
            "refuses; move the repository"
        )
