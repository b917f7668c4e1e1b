"""What the scheduler found too little of, and whether it is a GPU that a pod asks for."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

_RESOURCE: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_INSUFFICIENT: Final = re.compile(rf"\b(\d+) Insufficient ({_RESOURCE})")
_PREEMPTION: Final = "preemption:"
"""What follows is about nodes from which other pods would be evicted, not about the nodes as they are."""

_GPU_DOMAINS: Final = ("nvidia.com/", "gpu.intel.com/")
"""Domains in which every extended resource is a GPU or a part of one."""
_GPU_RESOURCES: Final = frozenset({"amd.com/gpu", "habana.ai/gaudi", "google.com/tpu"})


@dataclass(frozen=True, slots=True)
class Shortage:
    """A resource of which nodes have too little left.

    Attributes:
        resource: Its name, `cpu` or `nvidia.com/gpu` for example.
        nodes: How many nodes have too little of it.
    """

    resource: str
    nodes: int


def shortages(sentence: str) -> tuple[Shortage, ...]:
    """The shortages in the message of a pod's PodScheduled condition; none when it is about others.

    >>> shortages("0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu.")
    (Shortage(resource='cpu', nodes=1), Shortage(resource='nvidia.com/gpu', nodes=2))
    """
    found = sentence.partition(_PREEMPTION)[0]
    return tuple(Shortage(name, int(count)) for count, name in _INSUFFICIENT.findall(found))


def is_gpu(resource: str) -> bool:
    """Whether a resource is a GPU, a part of one, or another accelerator.

    >>> is_gpu("nvidia.com/mig-1g.10gb"), is_gpu("cpu")
    (True, False)
    """
    return resource in _GPU_RESOURCES or resource.startswith(_GPU_DOMAINS)


def lacks_gpu(sentence: str, requests: Collection[str]) -> bool:
    """Whether a pod cannot be scheduled for want of a GPU that it requests.

    Args:
        sentence: The scheduler's message about the pod.
        requests: Names of the resources that the pod requests.
    """
    missing = (shortage.resource for shortage in shortages(sentence))
    return any(is_gpu(resource) and resource in requests for resource in missing)
