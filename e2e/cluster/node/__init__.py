"""The node: control plane, kubelet, containerd, network, DNS, S3 and GPUs that do not exist."""

from cluster.node.cluster import Cluster, down

__all__ = ["Cluster", "down"]
