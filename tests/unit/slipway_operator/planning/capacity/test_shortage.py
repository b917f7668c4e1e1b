"""What kube-scheduler says, and what is understood of it; the sentences are its own."""

import pytest

from slipway_operator.planning.capacity.shortage import (
    Shortage,
    lacks_gpu,
    shortages,
    what_is_short,
)

TAINT = "had untolerated taint {node-role.kubernetes.io/control-plane: }"
VICTIMS = "No preemption victims found for incoming pod"
UNHELPFUL = "Preemption is not helpful for scheduling"


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", {"nvidia.com/gpu": 1}),
        (
            (
                "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are "
                f"available: 1 {VICTIMS}."
            ),
            {"nvidia.com/gpu": 1},
        ),
        (
            (
                "0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu. no new claims to "
                f"deallocate, preemption: 0/3 nodes are available: 3 {VICTIMS}."
            ),
            {"memory": 1, "cpu": 2},
        ),
        (
            (
                f"0/6 nodes are available: 1 node(s) {TAINT}, 5 Insufficient nvidia.com/mig-1g.10gb. "
                f"preemption: 0/6 nodes are available: 1 {UNHELPFUL}, 5 {VICTIMS}."
            ),
            {"nvidia.com/mig-1g.10gb": 5},
        ),
        (
            (
                "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: "
                f"1 Insufficient nvidia.com/gpu, 1 {UNHELPFUL}."
            ),
            {"cpu": 2},
        ),
        (
            "0/12 nodes are available: 12 Insufficient gpu.intel.com/i915",
            {"gpu.intel.com/i915": 12},
        ),
        (
            (
                "0/4 nodes are available: 1 Insufficient ephemeral-storage, 3 Insufficient "
                "hugepages-2Mi."
            ),
            {"ephemeral-storage": 1, "hugepages-2Mi": 3},
        ),
        ("0/2 nodes are available: 2 node(s) had untolerated taint {nvidia.com/gpu: present}.", {}),
        ("0/4 nodes are available: pod has unbound immediate PersistentVolumeClaims.", {}),
        ("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.", {}),
        ("0/1 nodes are available: 1 Too many pods.", {}),
        ("no nodes available to schedule pods", {}),
        ("", {}),
    ],
)
def test_sentences_of_the_scheduler(sentence: str, found: dict[str, int]) -> None:
    assert shortages(sentence) == tuple(Shortage(name, nodes) for name, nodes in found.items())


def missing(*resources: str) -> str:
    return f"0/9 nodes are available: {', '.join(f'9 Insufficient {r}' for r in resources)}."


@pytest.mark.parametrize(
    "resource",
    [
        "nvidia.com/gpu",
        "nvidia.com/mig-1g.10gb",
        "nvidia.com/gpu.shared",
        "amd.com/gpu",
        "gpu.intel.com/i915",
        "gpu.intel.com/xe",
        "habana.ai/gaudi",
        "google.com/tpu",
    ],
)
def test_a_pod_waits_for_the_gpu_that_it_requests(resource: str) -> None:
    assert lacks_gpu(missing(resource), {"cpu": "4", resource: "1"})
    assert lacks_gpu(missing("cpu", resource), {"cpu": "4", resource: "1"})
    assert not lacks_gpu(missing("cpu"), {"cpu": "4", resource: "1"})
    assert not lacks_gpu(missing(resource), {"cpu": "4"})


@pytest.mark.parametrize("resource", ["cpu", "memory", "amd.com/fpga", "example.com/gpu-like"])
def test_other_resources_are_no_gpus(resource: str) -> None:
    assert not lacks_gpu(missing(resource), {resource: "1"})


def test_a_model_without_gpus_does_not_wait_for_one_on_tainted_gpu_nodes() -> None:
    sentence = (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint "
        "{nvidia.com/gpu: present}."
    )
    assert not lacks_gpu(sentence, {"cpu": "4"})


@pytest.mark.parametrize(
    ("sentence", "requests", "short"),
    [
        ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", {"nvidia.com/gpu": "1"},
         "0/3 nodes have 1 more nvidia.com/gpu"),
        (("0/3 nodes are available: 1 Insufficient cpu, 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are "
         f"available: 3 {VICTIMS}."), {"cpu": "4", "nvidia.com/gpu": "2"},
         "0/3 nodes have 2 more nvidia.com/gpu"),
        ("0/2 nodes are available: 2 Insufficient memory.", {"memory": "8Gi"}, "0/2 nodes have 8Gi more memory"),
        ("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.", {"cpu": "1"}, ""),
        ("0/1 nodes are available: 1 Too many pods.", {"cpu": "1"}, ""),
        ("no nodes available to schedule pods", {"cpu": "1"}, ""),
        ("", {}, ""),
    ],
)  # fmt: skip
def test_what_is_short_in_a_few_words(sentence: str, requests: dict[str, str], short: str) -> None:
    assert what_is_short(sentence, requests) == short
