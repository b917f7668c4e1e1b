"""Arithmetic of the two policies; the first two tables are the worked rows of the module's docstring."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import TransitionStatus
from slipway_operator.planning.capacity.scaling import Fleet, Limits, limits_of, scale

SURGING = Limits(replicas=2, surge=1, floor=2)
FRUGAL = Limits(replicas=2, surge=0, floor=1, awaits_drains=True)


def fleet(  # a fleet at rest, unless said otherwise
    name: str,
    replicas: int,
    *,
    rotating: int | None = None,
    matched: int | None = None,
    ready: int | None = None,
    live: int | None = None,
    terminating: int = 0,
    desired: bool = False,
    selected: bool | None = None,
    failed: bool = False,
) -> Fleet:
    in_rotation = replicas if rotating is None else rotating
    return Fleet(
        id=name,
        version=int(name.removeprefix("v")),
        desired=desired,
        exists=True,
        replicas=replicas,
        live=replicas if live is None else live,
        ready=in_rotation if ready is None else ready,
        endpoints=in_rotation,
        matched=in_rotation if matched is None else matched,
        terminating=terminating,
        selected=not desired if selected is None else selected,
        failed=failed,
    )


def old(replicas: int, **state: int) -> Fleet:
    return fleet("v1", replicas, **state)  # type: ignore[arg-type]


def new(replicas: int, **state: int) -> Fleet:
    return fleet("v2", replicas, desired=True, **state)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((old(2), new(0)), (2, 1)),
        ((old(2), new(1, rotating=0)), (2, 1)),
        ((old(2), new(1)), (1, 1)),  # in rotation: one old pod goes
        ((old(1, terminating=1), new(1)), (1, 2)),  # the next new pod does not wait for its drain
        ((old(1), new(1)), (1, 2)),
        ((old(1, terminating=1), new(2, rotating=1)), (1, 2)),
        ((old(1, terminating=1), new(2)), (0, 2)),  # nor does the next old one
    ],
)
def test_availability_preserving_with_two_replicas_and_one_extra(
    before: tuple[Fleet, Fleet], after: tuple[int, int]
) -> None:
    decided = scale([before[1], before[0]], SURGING)
    assert (decided["v1"], decided["v2"]) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((old(2), new(0)), (1, 0)),
        ((old(1, terminating=1), new(0)), (1, 0)),
        ((old(1), new(0)), (1, 1)),  # gone
        ((old(1), new(1, rotating=0)), (1, 1)),
        ((old(1), new(1)), (0, 1)),  # in rotation
        ((old(0, terminating=1), new(1)), (0, 1)),
        ((old(0), new(1)), (0, 2)),  # gone
    ],
)
def test_resource_preserving_with_two_replicas_and_one_missing(
    before: tuple[Fleet, Fleet], after: tuple[int, int]
) -> None:
    decided = scale([before[1], before[0]], FRUGAL)
    assert (decided["v1"], decided["v2"]) == after


class TestOneReplicaIsLeftInMidTransition:
    """ResourcePreserving, and an autoscaler that touches 1."""

    @staticmethod
    def limits(began: int) -> Limits:
        spec = ModelSpec.model_validate(
            {
                "source": {"uri": "s3://models/digits"},
                "transition": {"policy": "ResourcePreserving"},
                "serving": {"replicas": 1},
            }
        )
        since = "2026-03-01T12:00:00Z"
        return limits_of(spec, transition=TransitionStatus(replicas=began, since=since))

    def test_what_serves_stays_when_the_transition_began_with_more(self) -> None:
        v2 = new(2, rotating=0)
        assert scale([v2, old(1)], self.limits(3)) == {"v2": 1, "v1": 1}
        assert scale([new(1, rotating=0), old(2)], self.limits(3)) == {"v2": 1, "v1": 1}

    def test_it_goes_on_without_a_gap(self) -> None:
        limits = self.limits(2)
        assert scale([new(0), old(1, terminating=1)], limits) == {"v2": 0, "v1": 1}
        assert scale([new(0), old(1)], limits) == {"v2": 1, "v1": 1}
        assert scale([new(1), old(1)], limits) == {"v2": 1, "v1": 0}

    def test_there_is_a_gap_when_it_began_with_one(self) -> None:
        assert scale([new(0), old(1)], self.limits(1)) == {"v2": 0, "v1": 0}


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
def test_a_scale_up_does_not_wait_for_the_drains_of_a_scale_down(policy: str) -> None:
    spec = ModelSpec.model_validate(
        {
            "source": {"uri": "s3://models/digits"},
            "transition": {"policy": policy},
            "serving": {"replicas": 4},
        }
    )
    scaled_down = fleet("v1", 1, terminating=3, desired=True, selected=True)
    assert scale([scaled_down], limits_of(spec)) == {"v1": 4}


@pytest.mark.parametrize(
    ("transition", "replicas", "surge", "floor"),
    [
        ({"policy": "AvailabilityPreserving"}, 2, 1, 2),
        ({"policy": "AvailabilityPreserving"}, 8, 2, 8),
        ({"policy": "AvailabilityPreserving", "maxSurge": "100%"}, 3, 3, 3),
        ({"policy": "AvailabilityPreserving", "maxSurge": 5}, 2, 5, 2),
        ({"policy": "AvailabilityPreserving"}, 0, 1, 0),
        ({"policy": "ResourcePreserving"}, 1, 0, 0),  # the only policy with a gap
        ({"policy": "ResourcePreserving"}, 2, 0, 1),
        ({"policy": "ResourcePreserving", "maxUnavailable": 2}, 2, 0, 1),  # never the last one
        ({"policy": "ResourcePreserving", "maxUnavailable": "100%"}, 4, 0, 1),
        ({"policy": "ResourcePreserving", "maxUnavailable": "50%"}, 5, 0, 2),
        ({"policy": "ResourcePreserving"}, 0, 0, 0),
    ],
)
def test_the_limits_of_a_spec(
    transition: dict[str, object], replicas: int, surge: int, floor: int
) -> None:
    spec = ModelSpec.model_validate(
        {
            "source": {"uri": "s3://models/digits"},
            "transition": transition,
            "serving": {"replicas": replicas},
        }
    )
    assert limits_of(spec) == Limits(replicas, surge, floor)


class TestSeveralVersionsAreStarted:
    """As many as there is room for: the next one when every pod of those before it has its node."""

    LIMITS = Limits(replicas=1, surge=1, floor=1)

    @staticmethod
    def absent(name: str, **state: bool) -> Fleet:
        begun = fleet(name, 0, desired=True)
        return replace(begun, exists=False, **state)

    @staticmethod
    def coming(name: str, unplaced: int = 1) -> Fleet:
        begun = fleet(name, 1, desired=True, rotating=0, ready=0)
        return replace(begun, unplaced=unplaced)

    def test_the_highest_one_comes_first_and_alone(self) -> None:
        assert scale([self.absent(f"v{n}") for n in (3, 2, 1)], self.LIMITS) == {"v3": 1}

    def test_one_that_loads_holds_nobody_up(self) -> None:
        before = [self.coming("v3", unplaced=0), self.absent("v2"), self.absent("v1")]
        assert scale(before, self.LIMITS) == {"v3": 1, "v2": 1}

    def test_one_without_a_node_holds_up_what_has_not_begun(self) -> None:
        serving = fleet("v4", 1, desired=True, selected=True)
        before = [serving, self.coming("v3"), self.absent("v2"), self.absent("v1")]
        assert scale(before, self.LIMITS) == {"v4": 1, "v3": 1}

    def test_a_newer_target_waits_for_nobody(self) -> None:
        assert scale([self.absent("v5"), self.coming("v3")], self.LIMITS) == {"v5": 1, "v3": 1}

    def test_nor_does_what_takes_the_requests(self) -> None:
        selected = self.absent("v4", selected=True)
        before = [self.coming("v5"), selected, self.absent("v1")]
        assert scale(before, self.LIMITS) == {"v5": 1, "v4": 1}

    def test_one_that_cannot_be_created_holds_nobody_up(self) -> None:
        before = [self.coming("v3", unplaced=0), self.absent("v2", barred=True), self.absent("v1")]
        assert scale(before, self.LIMITS)["v1"] == 1

    def test_an_empty_deployment_of_one_that_waits_is_left_as_it_is(self) -> None:
        kept = fleet("v2", 0, desired=True)
        assert scale([self.coming("v3"), kept], self.LIMITS) == {"v3": 1, "v2": 0}


def test_all_new_pods_come_at_once_where_they_fit_beside_the_old_ones() -> None:
    limits = Limits(replicas=3, surge=3, floor=3)
    assert limits.atomic
    assert scale([new(0), old(3)], limits) == {"v1": 3, "v2": 3}


def test_a_loading_version_in_the_rotation_does_not_count_for_one_that_serves() -> None:
    """A newer version comes in mid-rollout: v2 has two pods, of which one serves."""
    v1, v2 = fleet("v1", 1), fleet("v2", 2, rotating=1)
    v3 = fleet("v3", 0, desired=True)
    assert scale([v3, v1, v2], SURGING) == {"v3": 0, "v2": 1, "v1": 1}


def test_a_pod_that_the_slices_do_not_show_yet_may_be_deleted_for_one_that_they_show() -> None:
    """Both are ready, so the ReplicaSet may choose either."""
    v1 = fleet("v1", 2, ready=2, rotating=1)
    assert scale([new(1), v1], SURGING)["v1"] == 2


def test_an_old_version_stays_until_the_slices_show_what_name_was_flipped_to() -> None:
    v1 = fleet("v1", 2, ready=2, rotating=2, matched=0, selected=False)
    v2 = fleet("v2", 2, ready=2, rotating=0, matched=2, desired=True, selected=True)
    assert scale([v2, v1], Limits(2, 2, 2)) == {"v2": 2, "v1": 2}


def test_what_name_was_flipped_to_stays_although_the_slices_do_not_show_it_yet() -> None:
    """A newer version comes at the moment of the flip: v1 takes the requests, v2 is about to."""
    v1 = fleet("v1", 2, ready=2, rotating=2, matched=0, selected=False)
    v2 = fleet("v2", 2, ready=2, rotating=0, matched=2, selected=True)
    v3 = fleet("v3", 0, desired=True)
    assert scale([v3, v1, v2], Limits(2, 2, 2)) == {"v3": 0, "v2": 2, "v1": 2}


def test_fewer_replicas_do_not_cost_the_one_pod_that_the_slices_show() -> None:
    """It has two ready pods, of which one is new; the ReplicaSet may choose either."""
    one = Limits(replicas=1, surge=1, floor=1)
    assert scale([fleet("v1", 2, ready=2, rotating=1, desired=True)], one) == {"v1": 2}
    assert scale([fleet("v1", 2, ready=2, rotating=2, desired=True)], one) == {"v1": 1}


def test_a_failed_version_keeps_only_the_pods_that_serve() -> None:
    v2 = fleet("v2", 2, rotating=1, failed=True)
    v1 = fleet("v1", 1, desired=True, rotating=1)
    assert scale([v1, v2], SURGING) == {"v1": 1, "v2": 1}
    assert scale([v1, replace(v2, endpoints=0, matched=0, ready=0)], SURGING) == {"v1": 1, "v2": 0}


def test_with_nothing_to_take_its_place_what_serves_stays() -> None:
    assert scale([old(2)], SURGING) == {"v1": 2}
    assert scale([old(2, rotating=0)], FRUGAL) == {"v1": 2}


def test_zero_replicas_are_zero_replicas() -> None:
    none = Limits(replicas=0, surge=1, floor=0)
    assert scale([new(2), old(2)], none) == {"v1": 0, "v2": 0}


FLEETS = st.builds(
    lambda version, desired, counts, selected, failed: Fleet(
        id=f"v{version}",
        version=version,
        desired=desired,
        exists=desired or counts[0] > 0,
        replicas=counts[0],
        live=counts[1],
        ready=min(counts[1], counts[2]),
        endpoints=min(counts[1], counts[2], counts[3]),
        matched=min(counts[1], counts[2], counts[5]),
        terminating=counts[4],
        selected=selected,
        failed=failed and not desired,
    ),
    st.integers(1, 9),
    st.booleans(),
    st.tuples(*[st.integers(0, 4)] * 6),
    st.booleans(),
    st.booleans(),
)


@given(
    st.lists(FLEETS, max_size=4, unique_by=lambda f: f.id),
    st.sampled_from([Limits(r, s, r) for r in range(4) for s in (1, 2, 4)]
                    + [Limits(r, 0, max(r > 1, r - m), awaits_drains=drains)
                       for r in range(4) for m in (1, 2) for drains in (False, True)]),
)  # fmt: skip
def test_for_any_fleets_the_floor_and_the_budget_hold(fleets: list[Fleet], limits: Limits) -> None:
    decided = scale(fleets, limits)
    assert all(count >= 0 for count in decided.values())
    after = {f.id: decided.get(f.id, f.replicas) for f in fleets}
    for taking in ({f.id: f.endpoints for f in fleets}, {f.id: f.matched for f in fleets}):
        guaranteed = sum(f.guaranteed(taking[f.id], after[f.id]) for f in fleets)
        before = sum(f.guaranteed(taking[f.id], f.replicas) for f in fleets)
        assert guaranteed >= min(limits.floor, before)
    budget = limits.replicas * sum(f.desired for f in fleets) + limits.surge
    grown = [f.id for f in fleets if after[f.id] > f.replicas]
    draining = sum(f.terminating for f in fleets) if limits.awaits_drains else 0
    allowed = sum(max(after[f.id], f.live) for f in fleets) + draining
    before = sum(max(f.replicas, f.live) for f in fleets) + draining
    assert not grown or allowed <= max(budget, before)
