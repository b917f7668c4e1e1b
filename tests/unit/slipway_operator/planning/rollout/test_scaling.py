"""Arithmetic of a step: two versions come to their numbers, from above or below, and the rest goes."""

from dataclasses import replace

import pytest

from slipway_operator.planning.capacity.scaling import Fleet, Limits
from slipway_operator.planning.rollout.scaling import scale_split
from slipway_operator.planning.rollout.split import Split, pods_of

SURGING = Limits(replicas=4, surge=1, floor=4)
FRUGAL = Limits(replicas=4, surge=0, floor=3, awaits_drains=True)


def fleet(name: str, replicas: int, taking: int | None = None, terminating: int = 0) -> Fleet:
    serves = replicas if taking is None else taking
    return Fleet(
        id=name,
        version=int(name[1]),
        desired=name == "v2",
        exists=True,
        replicas=replicas,
        live=replicas,
        ready=serves,
        endpoints=serves,
        matched=serves,
        terminating=terminating,
        selected=True,
    )


@pytest.mark.parametrize(
    ("stable", "canary", "after"),
    [
        (fleet("v1", 4), fleet("v2", 0), (3, 0)),
        (fleet("v1", 3, terminating=1), fleet("v2", 0), (3, 0)),  # the old pod still has its place
        (fleet("v1", 3), fleet("v2", 0), (3, 1)),
        (fleet("v1", 3), fleet("v2", 1, taking=0), (3, 1)),
        (fleet("v1", 3), fleet("v2", 1), (2, 1)),  # only now may the next old pod go
        (fleet("v1", 2), fleet("v2", 1), (2, 2)),
        (fleet("v1", 2), fleet("v2", 2), (2, 2)),
    ],
)
def test_from_the_pods_that_serve_one_goes_after_the_other(
    stable: Fleet, canary: Fleet, after: tuple[int, int]
) -> None:
    scaled = scale_split([canary, stable], FRUGAL, Split("v2", "v1", 2, 2))
    assert (scaled["v1"], scaled["v2"]) == after


def test_with_an_extra_pod_what_serves_stays_whole() -> None:
    split = Split("v2", "v1", 1, 4)
    assert scale_split([fleet("v2", 0), fleet("v1", 4)], SURGING, split) == {"v1": 4, "v2": 1}


def test_what_serves_grows_before_the_canary() -> None:
    limits = replace(SURGING, replicas=6, floor=6)
    split = Split("v2", "v1", 1, 6)
    assert scale_split([fleet("v2", 0), fleet("v1", 4, terminating=3)], limits, split) == {
        "v1": 6,
        "v2": 1,
    }
    frugal = Limits(replicas=4, surge=0, floor=3, awaits_drains=True)
    busy = [fleet("v2", 0), fleet("v1", 2), fleet("v3", 1)]
    assert scale_split(busy, frugal, Split("v2", "v1", 1, 3)) == {"v1": 3, "v2": 0, "v3": 1}


def test_another_version_goes_when_enough_take_requests_without_it() -> None:
    there = [fleet("v2", 0), fleet("v1", 4), fleet("v3", 1)]
    assert scale_split(there, SURGING, Split("v2", "v1", 1, 4)) == {"v1": 4, "v2": 0, "v3": 0}


def test_a_canary_that_has_no_pods_yet_and_may_have_none_is_left_out() -> None:
    missing = replace(fleet("v2", 0), exists=False)
    assert scale_split([missing, fleet("v1", 1)], FRUGAL, Split("v2", "v1", 0, 1)) == {"v1": 1}


@pytest.mark.parametrize(
    ("weight", "limits", "pods"),
    [
        (1, Limits(2, 1, 2), (1, 2)),
        (99, Limits(2, 1, 2), (1, 2)),
        (50, Limits(4, 4, 4), (4, 4)),
        (20, Limits(8, 2, 8), (2, 8)),
        (10, Limits(10, 0, 9), (1, 9)),
        (50, Limits(3, 0, 2), (1, 2)),  # a third and two thirds are as near: the smaller one
        (99, Limits(4, 0, 3), (3, 1)),  # one of the old version stays
        (50, Limits(1, 0, 0), (0, 1)),  # the only pod cannot be shared
        (50, Limits(1, 1, 1), (1, 1)),
        (50, Limits(0, 1, 0), (0, 0)),
    ],
)
def test_the_numbers_of_pods_that_come_nearest_to_a_weight(
    weight: int, limits: Limits, pods: tuple[int, int]
) -> None:
    assert pods_of(weight, limits) == pods
