"""`status.versions`: which rows there are, and what each says."""

import pytest

from fleets_at_rest import run, serving
from slipway_operator.api.conditions import Reason
from slipway_operator.api.status import ModelStatus, VersionState
from slipway_operator.model.observed import Observed
from slipway_operator.planning.plan import plan
from slipway_operator.planning.status.version_rows import row_reason, shares
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, deployment, listed, model, observed, pods, row

MODEL = model()


def status_of(state: Observed) -> ModelStatus:
    return plan(state, RenderSettings("server:1", "sync:1"), T0).status


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, {}),
        ({3: 2}, {3: 100}),
        ({3: 2, 4: 1}, {3: 67, 4: 33}),
        ({3: 1, 4: 1, 5: 1}, {3: 34, 4: 33, 5: 33}),
        ({3: 6, 4: 1}, {3: 86, 4: 14}),
        ({1: 199, 2: 1}, {1: 100, 2: 0}),
    ],
)
def test_shares_are_whole_percents_that_sum_up(
    counts: dict[int, int], expected: dict[int, int]
) -> None:
    there = [pod for version, n in counts.items() for pod in pods(deployment(MODEL, version), n)]
    assert shares(there) == expected


def test_rows_are_highest_first_and_tell_what_is_known() -> None:
    fleet = serving()
    fleet.upload(4)
    fleet.upload(5, complete=False)
    status = run(fleet).status
    assert [(r.version, r.state, r.weight, r.ready_replicas) for r in status.versions] == [
        (5, VersionState.SETTLING, 0, 0),
        (4, VersionState.AVAILABLE, 100, 2),
        (3, VersionState.RETIRED, 0, 0),
    ]
    assert status.versions[1].digest == "sha256:1"
    assert status.versions[1].revision == fleet.exports[4].revision
    assert status.versions[1].bytes == 9


def test_no_more_rows_are_kept_than_the_schema_allows() -> None:
    many = observed(MODEL, source=listed(*range(1, 400)))
    status = status_of(many)
    assert [r.version for r in status.versions] == list(range(399, 143, -1))
    every = model(versions={"all": True})
    running = observed(
        every,
        source=listed(*range(1, 400)),
        deployments=tuple(deployment(every, n) for n in range(1, 300)),
    )
    assert len(status_of(running).versions) == 256


def test_a_row_of_another_release_still_has_a_reason() -> None:
    state = VersionState.REJECTED
    assert row_reason(row(3, state, reason="MissingShard")) is Reason.MISSING_SHARD
    assert row_reason(row(3, state, reason="OfALaterRelease")) is Reason.REJECTED
    assert row_reason(row(3, state)) is Reason.REJECTED
