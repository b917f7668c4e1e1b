"""Which programs the cluster is made of, and how a build of them is told from any other. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cluster.errors import ClusterError

KUBERNETES = "v1.36.3"


@dataclass(frozen=True, slots=True)
class Group:
    """Programs built from one Go module, which is the folder of that name beside this file."""

    name: str
    programs: Mapping[str, str]
    """Program to Go package, in an order in which later ones reuse what earlier ones compiled."""

    stamps: tuple[str, ...] = ()
    """Linker settings `NAME=VALUE`."""

    @property
    def linker_flags(self) -> str:
        return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in self.stamps)])


GROUPS = (
    Group("versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}),
    Group("rclone", {"rclone": "."}),
    Group("fakegcs", {"fake-gcs-server": "github.com/fsouza/fake-gcs-server"}),
    Group(
        "cluster",
        {
            "etcd": "go.etcd.io/etcd/server/v3",
            **{
                name: f"k8s.io/kubernetes/cmd/{name}"
                for name in (
                    "kube-apiserver",
                    "kubectl",
                    "kube-controller-manager",
                    "kube-scheduler",
                    "kubelet",
                    "kube-proxy",
                )
            },
        },
        (
            f"k8s.io/component-base/version.gitVersion={KUBERNETES}",
            "k8s.io/component-base/version.gitMajor=1",
            f"k8s.io/component-base/version.gitMinor={KUBERNETES.split('.')[1]}",
            f"k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}",
        ),
    ),
    Group("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}),
    Group(
        "node",
        {
            **{
                name: f"github.com/containerd/containerd/v2/cmd/{name}"
                for name in ("containerd", "containerd-shim-runc-v2", "ctr")
            },
            **{
                path.rpartition("/")[2]: f"github.com/containernetworking/plugins/plugins/{path}"
                for path in ("ipam/host-local", "main/bridge", "main/loopback")
            },
        },
    ),
    Group("coredns", {"coredns": "github.com/coredns/coredns"}),
    Group("pause", {"pause": "."}),
)


def group_of(program: str) -> Group:
    """The group that a program is built in.

    Raises:
        ClusterError: no such program; the message lists those there are.
    """
    for group in GROUPS:
        if program in group.programs:
            return group
    known = ", ".join(name for group in GROUPS for name in group.programs)
    raise ClusterError(f"no tool is called {program!r}; there are {known}")


def key(group: Group, files: Iterable[tuple[str, bytes]], go: str) -> str:
    """Names a build: the same for the same module files, flags and Go, whatever the machine.

    Args:
        group: what is built.
        files: name and content of every file of the group's module.
        go: the Go version, such as go1.26.8.
    """
    digest = hashlib.sha256()
    for part in (go, group.linker_flags, *(f"{n}={p}" for n, p in group.programs.items())):
        digest.update(part.encode() + b"\0")
    for name, content in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return f"{group.name}-{digest.hexdigest()[:16]}"
