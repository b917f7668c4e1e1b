"""Which servables should serve: what the policy selects of what can be had, and what is kept."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from slipway_operator.api.conditions import Reason
from slipway_operator.api.spec import VersionPolicy
from slipway_operator.api.status import VersionState
from slipway_operator.model.observed import Observed
from slipway_operator.model.source import Readiness, SourceObservation
from slipway_operator.planning.versions.desired import (
    DesiredVersions,
    asked_for,
    desired_versions,
    select,
)
from snapshots import (
    deployment,
    key,
    listed,
    listed_as,
    model,
    observed,
    pods,
    row,
)

MODEL = model()
OLD = "0ld0ld00"
"""A key that the present spec does not ask for."""


@pytest.mark.parametrize(
    ("policy", "versions", "selected"),
    [
        ({"latest": 1}, {1, 3, 9}, [9]),
        ({"latest": 2}, {1, 3, 9}, [9, 3]),
        ({"latest": 5}, {1}, [1]),
        ({"latest": 1}, set(), []),
        ({"specific": [3, 1, 7]}, {1, 3, 9}, [3, 1]),
        ({"specific": [7]}, {1, 3}, []),
        ({"all": True}, {0, 2**63 - 1}, [2**63 - 1, 0]),
    ],
)
def test_the_three_policies_of_tensorflow_serving(
    policy: dict[str, Any], versions: set[int], selected: list[int]
) -> None:
    assert select(VersionPolicy.model_validate(policy), versions) == selected


def versions(desired: DesiredVersions) -> list[int]:
    return [servable.version for servable in desired.servables]


def serving(
    version: int, polled: SourceObservation, rows: Sequence[Any] = (), **spec: Any
) -> Observed:
    """A Model whose version serves, rendered from the present spec."""
    of = model(rows, **spec)
    found = deployment(of, version)
    return observed(of, source=polled, deployments=(found,), pods=pods(found))


@pytest.mark.parametrize(
    ("source", "aspired"),
    [
        (listed(3, 4), [4]),
        (listed(3, others=[listed_as(4, Readiness.SETTLING)]), [3]),
        (listed(3, others=[listed_as(4, Readiness.INCOMPLETE)]), [3]),
        (listed(3, others=[listed_as(4, Readiness.REJECTED)]), [3]),
        (listed(4, others=[listed_as(3, Readiness.UNSEEN)]), [4]),
        (listed(), [3]),  # emptied
        (listed(2), [3]),  # only 3 was deleted
        (SourceObservation(), [3]),  # not polled yet
        (replace(listed(), error_reason="Unavailable"), [3]),
        (replace(listed(2), error_reason="AccessDenied"), [3]),
    ],
)
def test_what_serves_stays_until_something_better_is_proven(
    source: SourceObservation, aspired: list[int]
) -> None:
    assert versions(desired_versions(serving(3, source))) == aspired


def test_the_version_that_takes_requests_is_the_highest_aspired_one() -> None:
    desired = desired_versions(observed(model(versions={"latest": 2}), source=listed(1, 2, 3)))
    assert versions(desired) == [3, 2]
    assert desired.primary == desired.servables[0]
    assert desired.ideal == 3


@pytest.mark.parametrize(
    ("versions", "asked"),
    [
        ({"latest": 1}, {4, 5}),  # 5 is not complete
        ({"latest": 2}, {3, 4, 5}),
        ({"specific": [2, 9]}, {2, 9}),
        ({"specific": [9]}, {9, 4}),  # 4 serves for want of it
        ({"all": True}, {1, 2, 3, 4, 5, 9}),
    ],
)
def test_what_the_spec_asks_for_may_be_bad_or_missing(
    versions: dict[str, Any], asked: set[int]
) -> None:
    of = model(versions=versions)
    v4 = deployment(of, 4)
    incomplete = listed_as(5, Readiness.INCOMPLETE)
    source = listed(1, 2, 3, 4, others=[incomplete])
    desired = desired_versions(observed(of, source=source, deployments=(v4,), pods=pods(v4)))
    numbers = {1, 2, 3, 4, 5, 9} if "latest" not in versions else {1, 2, 3, 4, 5}
    assert {n for n in numbers if asked_for(of.spec.versions, desired, n)} == asked


def test_nothing_is_asked_for_in_vain_where_there_is_nothing() -> None:
    of = model()
    assert asked_for(of.spec.versions, desired_versions(observed(of)), 1)


def test_nothing_is_aspired_where_there_is_nothing() -> None:
    nothing = desired_versions(observed(MODEL))
    assert (nothing.servables, nothing.primary, nothing.ideal) == ((), None, None)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (listed(), Reason.SOURCE_GONE),
        (listed(others=[listed_as(3, Readiness.INCOMPLETE)]), Reason.SOURCE_GONE),
        (listed(others=[listed_as(3, Readiness.REJECTED)]), Reason.SOURCE_GONE),
        (listed(4, others=[listed_as(3, Readiness.UNSEEN)]), None),
        (SourceObservation(), None),
        (replace(listed(), error_reason=Reason.UNAVAILABLE), None),
    ],
)
def test_a_served_export_is_gone_only_when_a_good_listing_says_so(
    source: SourceObservation, reason: Reason | None
) -> None:
    assert desired_versions(serving(3, source)).candidates[3].reason == reason


def test_a_number_that_served_keeps_its_content() -> None:
    mine = key(MODEL, 3)
    rows = [row(3, available_key=mine, key=mine, revision=deployment(MODEL, 3).revision)]
    changed = desired_versions(serving(3, listed(3, content="b"), rows))
    assert changed.servables[0].key == mine
    assert changed.candidates[3].reason == Reason.CONTENT_CHANGED


def test_a_number_that_served_may_change_where_the_spec_allows_it() -> None:
    mine = key(MODEL, 3)
    rows = [row(3, available_key=mine, key=mine, revision=deployment(MODEL, 3).revision)]
    allowing = {"source": {"uri": "s3://models/digits", "allowMutation": True}}
    changed = desired_versions(serving(3, listed(3, content="b"), rows, **allowing))
    assert changed.servables[0].key == key(MODEL, 3, "b")


def test_a_number_that_never_served_may_change() -> None:
    rows = [row(3, VersionState.LOADING, key=key(MODEL, 3), revision=deployment(MODEL, 3).revision)]
    changed = desired_versions(serving(3, listed(3, content="b"), rows))
    assert changed.servables[0].key == key(MODEL, 3, "b")


def test_a_version_that_failed_is_passed_over_until_its_revision_or_the_spec_changes() -> None:
    failed = [row(4, VersionState.FAILED, failed_key=key(MODEL, 4))]
    assert versions(desired_versions(serving(3, listed(3, 4), failed))) == [3]
    assert desired_versions(serving(3, listed(3, 4), failed)).ideal == 4
    assert versions(desired_versions(serving(3, listed(3, 4, content="b"), failed))) == [4]
    edited = {"serving": {"replicas": 2, "image": "other:1"}}
    assert versions(desired_versions(serving(3, listed(3, 4), failed, **edited))) == [4]


def test_a_change_of_the_spec_that_failed_goes_back_to_what_served() -> None:
    rows = [row(3, failed_key=key(MODEL, 3), available_key=OLD)]
    before, after = deployment(MODEL, 3, 0, rendered=OLD), deployment(MODEL, 3)
    desired = desired_versions(
        observed(
            model(rows),
            source=listed(3),
            deployments=(before, after),
            pods=pods(after, ready=False),
        )
    )
    assert desired.servables[0].key == OLD
    assert desired.candidates[3].reason == Reason.ROLLED_BACK


def test_there_is_no_way_back_to_what_never_served() -> None:
    """Two changes of the spec in a row that fail: the older version is the way back."""
    rows = [row(4, VersionState.FAILED, failed_key=key(MODEL, 4))]
    never, bad, good = (
        deployment(MODEL, 4, 0, rendered=OLD),
        deployment(MODEL, 4),
        deployment(MODEL, 3, 1),
    )
    state = observed(
        model(rows), source=listed(3, 4), deployments=(never, bad, good), pods=pods(good, 1)
    )
    assert versions(desired_versions(state)) == [3]


def test_a_restarted_operator_goes_on_with_a_change_that_was_begun() -> None:
    """It has not polled, so it knows no revision but those of the Deployments."""
    before, after = deployment(MODEL, 3, rendered=OLD), deployment(MODEL, 3, 1)
    state = observed(
        MODEL, deployments=(before, after), pods=(*pods(before), *pods(after, 1, ready=False))
    )
    assert desired_versions(state).servables[0].key == after.key


def test_a_change_that_cannot_be_synced_any_more_is_not_gone_on_with() -> None:
    before, after = deployment(MODEL, 3, rendered=OLD), deployment(MODEL, 3, 1)
    state = observed(
        MODEL,
        source=listed(),
        deployments=(before, after),
        pods=(*pods(before), *pods(after, 1, ready=False)),
    )
    assert desired_versions(state).servables[0].key == OLD


def starting(state: Observed, *, ready: int = 0, rows: Sequence[Any] = ()) -> Observed:
    """The same Model with version 4 beside, of whose two pods so many are ready."""
    found = deployment(MODEL, 4)
    new = (*pods(found, ready), *pods(found, 2 - ready, first=ready, ready=False))
    return replace(
        state,
        model=model(rows),
        deployments=(*state.deployments, found),
        pods=(*state.pods, *new),
    )


class TestAVersionThatNeverWasAvailableAndWhoseExportIsGone:
    """Its pods can never sync, and what is there of it is no reason to wait for it."""

    @pytest.mark.parametrize("ready", [0, 1])
    def test_is_given_up_for_the_one_that_serves(self, ready: int) -> None:
        state = starting(serving(3, listed(3)), ready=ready)
        assert versions(desired_versions(state)) == [3]
        assert desired_versions(state).ideal == 3

    def test_is_given_up_for_a_good_one_beside_it_that_has_no_pods_yet(self) -> None:
        state = starting(observed(MODEL, source=listed(3)))
        assert versions(desired_versions(state)) == [3]

    def test_is_given_up_where_there_is_nothing_else(self) -> None:
        assert versions(desired_versions(starting(observed(MODEL, source=listed())))) == []

    def test_stays_where_its_pods_are_the_only_ones_that_can_serve(self) -> None:
        state = starting(observed(MODEL, source=listed()), ready=1)
        assert versions(desired_versions(state)) == [4]

    @pytest.mark.parametrize(
        "source", [SourceObservation(), replace(listed(3), error_reason=Reason.UNAVAILABLE)]
    )
    def test_is_waited_for_until_a_good_listing_says_so(self, source: SourceObservation) -> None:
        assert versions(desired_versions(starting(serving(3, source)))) == [4]

    def test_stays_when_it_was_available_once(self) -> None:
        rows = [row(4, available_key=key(MODEL, 4))]
        assert versions(desired_versions(starting(serving(3, listed(3)), rows=rows))) == [4]

    def test_stays_when_all_its_pods_are_ready_and_the_status_does_not_know_it_yet(self) -> None:
        assert versions(desired_versions(starting(serving(3, listed(3)), ready=2))) == [4]


class TestAnEditToVersionsThatDoNotExist:
    def test_keeps_what_serves(self) -> None:
        state = serving(3, listed(1, 3), versions={"specific": [7]})
        assert versions(desired_versions(state)) == [3]

    def test_keeps_what_serves_through_a_moment_without_a_ready_pod(self) -> None:
        state = serving(3, listed(1, 3), versions={"specific": [7]})
        resting = replace(state, pods=tuple(replace(pod, ready=False) for pod in state.pods))
        assert versions(desired_versions(resting)) == [3]

    def test_brings_back_what_was_taken_away_for_a_version_that_failed(self) -> None:
        """ResourcePreserving with one replica: version 3 has no pod left when 7 fails."""
        rows = [
            row(7, VersionState.FAILED, failed_key=key(MODEL, 7)),
            row(3, VersionState.DRAINING, available_key=key(MODEL, 3)),
        ]
        of = model(rows, versions={"specific": [7]})
        state = observed(
            of,
            source=listed(3, 5, 7),
            deployments=(deployment(of, 3, 0), deployment(of, 5, 0), deployment(of, 7)),
        )
        assert versions(desired_versions(state)) == [3]
