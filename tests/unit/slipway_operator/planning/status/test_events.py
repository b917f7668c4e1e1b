"""Which Events a change of the status makes."""

import pytest

from fleet import Behaviour
from fleets_at_rest import run, serving
from slipway_operator.api.status import ModelStatus, VersionState
from slipway_operator.planning.status.events import events
from snapshots import row


def noted(before: ModelStatus, after: ModelStatus) -> list[tuple[str, bool]]:
    return [(event.reason, event.warning) for event in events(before, after)]


def test_an_event_is_recorded_once_for_what_is_new() -> None:
    fleet = serving()
    before = fleet.status
    assert events(before, before) == ()
    fleet.upload(4, Behaviour.CORRUPT)
    after = run(fleet).status
    assert noted(before, after) == [("VersionFailed", True)]
    assert noted(ModelStatus(), before) == [("VersionAvailable", False), ("SourceReady", False)]


def test_trouble_with_the_source_is_an_event_and_so_is_its_end() -> None:
    fleet = serving()
    well = fleet.status
    fleet.store_down = True
    down = run(fleet).status
    assert noted(well, down) == [("Unavailable", True)], "once, not for each condition"
    assert noted(down, well) == [("SourceReady", False)]


def test_a_row_that_was_never_seen_in_between_is_told_as_it_is() -> None:
    before = ModelStatus(versions=[row(3)])
    after = ModelStatus(versions=[row(4, VersionState.ROLLED_BACK, message="why"), row(3)])
    [event] = events(before, after)
    assert (event.reason, event.message, event.warning) == (
        "VersionRolledBack",
        "version 4: why",
        True,
    )


def test_a_version_that_comes_back_is_not_called_available_before_it_is() -> None:
    before = ModelStatus(versions=[row(3, VersionState.RETIRED)])
    missing = {"reason": "ReplicasNotReady", "message": "0 of 3 replicas are ready"}
    assert events(before, ModelStatus(versions=[row(3, **missing)])) == ()
    some = {**missing, "ready_replicas": 1}
    [event] = events(before, ModelStatus(versions=[row(3, **some)]))
    assert (event.reason, event.message) == ("VersionAvailable", "version 3")


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (None, True),
        (VersionState.DISCOVERED, True),
        (VersionState.RETIRED, True),
        (VersionState.LOADING, False),  # the next pod of the same version
        (VersionState.UNSCHEDULABLE, False),
        (VersionState.SYNCING, False),
    ],
)
def test_that_a_version_starts_is_told_once(before: VersionState | None, *, told: bool) -> None:
    was = ModelStatus(versions=[row(2, before)] if before else [])
    now = ModelStatus(versions=[row(2, VersionState.SYNCING)])
    assert ("VersionStarting" in [event.reason for event in events(was, now)]) is told
