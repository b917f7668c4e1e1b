"""The scale subresource, as the controller of HorizontalPodAutoscalers computes with it."""

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from fleet import Fleet, SimPod
from fleets_at_rest import run

SAVING = {"policy": "AvailabilityPreserving"}
FRUGAL = {"policy": "ResourcePreserving"}
CANARY = {"steps": [{"weight": 30, "pause": {"duration": "1m"}}, {"weight": 50}]}
TOLERANCE = 0.1
"""--horizontal-pod-autoscaler-tolerance"""
STABILISED = timedelta(minutes=5)
"""The highest proposal of this time counts: --horizontal-pod-autoscaler-downscale-stabilization"""


def serving(first: int = 3, latest: int = 1, **edits: Any) -> Fleet:
    """So many versions serve, from the first one on, and there is room for more."""
    fleet = Fleet()
    fleet.gpus = 200
    fleet.edit(versions={"latest": latest}, **edits)
    for version in range(first, first + latest):
        fleet.upload(version)
        run(fleet)
    return fleet


def selected(fleet: Fleet) -> list[SimPod]:
    wanted = dict(pair.split("=") for pair in fleet.status.selector.split(","))
    return [p for p in fleet.pods.values() if wanted.items() <= p.labels.items()]


def by_pods(fleet: Fleet, load: float) -> int:
    """Metrics of type Resource or Pods, one replica being meant for a load of 1: what the pods that the
    selector finds do on average, times their number."""
    taking = fleet.in_rotation()
    ready = [pod for pod in selected(fleet) if pod.ready and not pod.terminating]
    now: int = fleet.model.spec.serving.replicas
    if not ready or not taking:
        return now  # "did not receive metrics for any ready pods"
    ratio = load / len(taking) * sum(pod in taking for pod in ready) / len(ready)
    return now if abs(1 - ratio) <= TOLERANCE else math.ceil(round(ratio * len(ready), 6))


def by_total(fleet: Fleet, load: float) -> int:
    """Metrics of type External or Object with an AverageValue, as KEDA's are: what is about right stays what
    status.replicas says."""
    status = fleet.status.replicas
    if status and abs(1 - load / status) <= TOLERANCE:
        return status
    return math.ceil(load)


def moments(fleet: Fleet, target: int) -> Iterator[None]:
    """Every one until a version serves alone."""
    for _ in range(150):
        if (fleet.status.serving, fleet.status.phase) == (str(target), "Available"):
            return
        fleet.poll()
        fleet.operate()
        yield
        for _ in fleet.turn():
            yield
        fleet.now += timedelta(seconds=10)


@pytest.mark.parametrize("replicas", [1, 2, 3, 10, 21])
@pytest.mark.parametrize("latest", [1, 2, 3])
def test_replicas_are_those_of_one_version_however_many_serve(latest: int, replicas: int) -> None:
    fleet = serving(1, latest, serving={"replicas": replicas})
    assert len(fleet.in_rotation()) == replicas
    assert len(fleet.pods) == latest * replicas
    assert fleet.status.replicas == len(selected(fleet)) == replicas
    for load in (replicas, 0.95 * replicas, 1.05 * replicas):
        assert (by_pods(fleet, load), by_total(fleet, load)) == (replicas, replicas)
    for load in (replicas / 2, 2 * replicas):
        assert (by_pods(fleet, load), by_total(fleet, load)) == (math.ceil(load), math.ceil(load))


@pytest.mark.parametrize("replicas", [2, 4, 10])
@pytest.mark.parametrize("policy", [SAVING, {**SAVING, "maxSurge": "100%"}, FRUGAL])
@pytest.mark.parametrize(("latest", "rollout"), [(1, None), (1, CANARY), (2, None)])
def test_a_transition_is_no_reason_to_scale(
    policy: dict[str, Any], replicas: int, latest: int, rollout: dict[str, Any] | None
) -> None:
    fleet = serving(
        3,
        latest,
        serving={"replicas": replicas},
        transition=policy,
        **({"rollout": rollout} if rollout else {}),
    )
    fleet.upload(3 + latest)
    proposed = [(fleet.now, replicas)]
    for _ in moments(fleet, 3 + latest):
        assert by_total(fleet, replicas) == replicas
        proposed.append((fleet.now, by_pods(fleet, replicas)))
        # Between a flip of NAME and the next pass, the selector finds pods that nobody asks.
        assert max(n for at, n in proposed if fleet.now - at <= STABILISED) == replicas
    assert fleet.status.serving == str(3 + latest)
    assert len(proposed) > 20


@pytest.mark.parametrize("policy", [SAVING, FRUGAL])
def test_a_load_that_grows_in_a_transition_is_seen_whole(policy: dict[str, Any]) -> None:
    fleet = serving(serving={"replicas": 4}, transition=policy)
    fleet.upload(4)
    grown = 0
    for _ in moments(fleet, 4):
        if fleet.status.transition is not None and grown < 30:
            grown += 1
            assert abs(by_pods(fleet, 8) - 8) <= 2
            assert by_total(fleet, 8) == 8
            if grown == 30:
                fleet.edit(serving={"replicas": 8})
        assert len(fleet.in_rotation()) >= (3 if policy is FRUGAL else 4)
    assert (grown, fleet.status.serving, fleet.status.replicas) == (30, "4", 8)


def test_a_model_without_a_pod_yet_says_where_they_will_be() -> None:
    fleet = Fleet()
    fleet.edit(serving={"replicas": 2})
    fleet.poll()
    fleet.operate()
    assert (fleet.status.replicas, fleet.status.selector) == (0, "slipway.dev/model=digits")
    fleet.upload(1)
    fleet.poll()
    fleet.operate()
    fleet.poll()
    fleet.operate()
    [servable] = {d.labels["slipway.dev/servable"] for d in fleet.deployments.values()}
    assert fleet.status.selector == f"slipway.dev/model=digits,slipway.dev/servable={servable}"


def test_at_zero_replicas_there_are_none() -> None:
    fleet = serving()
    fleet.edit(serving={"replicas": 0})
    assert run(fleet).status.replicas == 0
