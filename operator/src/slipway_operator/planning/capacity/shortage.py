"""What the scheduler found too little of for a pod, and whether it is a GPU that the pod asks for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_RESOURCE: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_INSUFFICIENT: Final = re.compile(rf"\b(\d+) Insufficient ({_RESOURCE})")
_NODES: Final = re.compile(r"^(\d+)/(\d+) nodes are available")
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


def what_is_short(sentence: str, requests: Mapping[str, str]) -> str:
    """What no node has enough of, in a few words: the GPU, where one is short; empty when it is not known.

    Args:
        sentence: The scheduler's message about the pod.
        requests: What the pod requests, by resource.

    >>> what_is_short("0/3 nodes are available: 3 Insufficient cpu.", {"cpu": "4"})
    '0/3 nodes have 4 more cpu'
    """
    nodes = _NODES.match(sentence)
    missing = [s.resource for s in shortages(sentence) if s.resource in requests]
    if nodes is None or not missing:
        return ""
    resource = next((name for name in missing if is_gpu(name)), missing[0])
    return f"{nodes[1]}/{nodes[2]} nodes have {requests[resource]} more {resource}"


def lacks_gpu(sentence: str, requests: Mapping[str, str]) -> bool:
    """Whether a pod cannot be scheduled for want of a GPU that it requests.

    Args:
        sentence: The scheduler's message about the pod.
        requests: What the pod requests, by resource.
    """
    missing = (shortage.resource for shortage in shortages(sentence))
    return any(is_gpu(resource) and resource in requests for resource in missing)
