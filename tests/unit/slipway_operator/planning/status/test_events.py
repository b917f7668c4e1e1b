"""Which Events a change of the status makes."""

from collections.abc import Collection
from typing import Any

import pytest

from fleet import Behaviour
from fleets_at_rest import run, serving
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.status import Condition, ModelStatus, VersionState, timestamp
from slipway_operator.model.actions import KubernetesEvent
from slipway_operator.planning.plan import plan
from slipway_operator.planning.status.degraded import Trouble
from slipway_operator.planning.status.events import events
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, deployment, key, listed, model, observed, pods, row, service, uids


def made_of(
    before: ModelStatus, after: ModelStatus, asked: Collection[int] = range(99)
) -> tuple[KubernetesEvent, ...]:
    told = [c for c in after.conditions if (c.type, c.status) == (ConditionType.DEGRADED, "True")]
    troubles = [Trouble(Reason(condition.reason), condition.message) for condition in told]
    return events(before, after, lambda version: version in asked, troubles)


def noted(before: ModelStatus, after: ModelStatus) -> list[tuple[str, bool]]:
    return [(event.reason, event.warning) for event in made_of(before, after)]


def test_an_event_is_recorded_once_for_what_is_new() -> None:
    fleet = serving()
    before = fleet.status
    assert made_of(before, before) == ()
    fleet.upload(4, Behaviour.CORRUPT)
    after = run(fleet).status
    assert noted(before, after) == [("VersionFailed", True)]
    assert noted(ModelStatus(), before) == [("SourceReady", False), ("VersionAvailable", False)]


def test_trouble_with_the_source_is_an_event_and_so_is_its_end() -> None:
    fleet = serving()
    well = fleet.status
    fleet.store_down = True
    down = run(fleet).status
    assert noted(well, down) == [("Unavailable", True)], "once, not for each condition"
    assert noted(down, well) == [("SourceReady", False)]


@pytest.mark.parametrize("versions", [{"latest": 1}, {"all": True}])
def test_what_an_outage_only_hid_is_not_told_again_after_it(versions: dict[str, Any]) -> None:
    fleet = serving(versions=versions, serving={"replicas": 1})
    fleet.upload(4, Behaviour.CORRUPT)
    fleet.gpus = 1
    for version in (5, 6):
        fleet.upload(version, Behaviour.CORRUPT if "latest" in versions else Behaviour.GOOD)
    well = run(fleet).status
    told = [c.message for c in well.conditions if c.type is ConditionType.DEGRADED]
    fleet.store_down = True
    down = run(fleet).status
    fleet.store_down = False
    assert noted(well, down) == [("Unavailable", True)]
    lines = []
    for _ in range(12):
        fleet.poll()
        lines += fleet.operate().events
        list(fleet.turn())
    assert [(event.reason, event.warning) for event in lines] == [("SourceReady", False)]
    assert told == [c.message for c in fleet.status.conditions if c.type is ConditionType.DEGRADED]


def degraded(reason: Reason, message: str) -> Condition:
    return Condition(
        type=ConditionType.DEGRADED,
        status="True",
        observed_generation=1,
        last_transition_time=timestamp(T0),
        reason=reason,
        message=message,
    )


def test_a_crash_that_becomes_urgent_beside_other_trouble_is_told() -> None:
    loading = row(4, VersionState.LOADING, reason="Crashed", message="crashed 1 time(s)")
    label = degraded(Reason.LABEL_NOT_SERVED, "label canary: version 7 is not in the source")
    killed = degraded(Reason.CRASHED, "version 4: Crashed: it needs more than its memory limit")
    before = ModelStatus(versions=[loading], conditions=[label])
    after = ModelStatus(versions=[loading], conditions=[killed])
    assert noted(before, after) == [("Crashed", True)]
    assert noted(after, after) == []


def test_a_row_that_was_never_seen_in_between_is_told_as_it_is() -> None:
    before = ModelStatus(versions=[row(3)])
    after = ModelStatus(versions=[row(4, VersionState.ROLLED_BACK, message="why"), row(3)])
    [event] = made_of(before, after)
    assert (event.reason, event.message, event.warning) == (
        "VersionRolledBack",
        "version 4: why",
        True,
    )


def test_a_version_that_comes_back_is_not_called_available_before_it_is() -> None:
    before = ModelStatus(versions=[row(3, VersionState.RETIRED)])
    missing = {"reason": "ReplicasNotReady", "message": "0 of 3 replicas are ready"}
    assert made_of(before, ModelStatus(versions=[row(3, **missing)])) == ()
    some = {**missing, "ready_replicas": 1}
    [event] = made_of(before, ModelStatus(versions=[row(3, **some)]))
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
    assert ("VersionStarting" in [event.reason for event in made_of(was, now)]) is told


def test_causes_are_told_before_effects() -> None:
    before = ModelStatus(versions=[row(4, VersionState.SYNCING), row(3)])
    after = ModelStatus(
        versions=[
            row(5, VersionState.SYNCING),
            row(4, VersionState.FAILED, message="why"),
            row(3, VersionState.RETIRED),
            row(2),
        ]
    )
    assert [event.reason for event in made_of(before, after)] == [
        "VersionFailed",
        "VersionStarting",
        "VersionAvailable",
        "VersionRetired",
    ]


def test_versions_with_the_same_to_tell_share_an_event() -> None:
    gone = [row(n, VersionState.SOURCE_GONE, message="its export is gone") for n in range(9, 0, -1)]
    [event] = made_of(ModelStatus(), ModelStatus(versions=gone))
    assert event.message == "versions 9, 8, 7, 6, 5 and 4 more: its export is gone"
    bad = [row(n, VersionState.FAILED, message=f"why {n}") for n in (2, 1)]
    assert [e.message for e in made_of(ModelStatus(), ModelStatus(versions=bad))] == [
        "version 2: why 2",
        "version 1: why 1",
    ]


def test_nobody_is_warned_of_a_version_that_nobody_asked_for() -> None:
    after = ModelStatus(versions=[row(n, VersionState.REJECTED, message="why") for n in (4, 3)])
    assert [e.message for e in made_of(ModelStatus(), after, asked={4})] == ["version 4: why"]
    retired = ModelStatus(versions=[row(3, VersionState.RETIRED)])
    assert len(made_of(ModelStatus(), retired, asked=())) == 1, "what is no warning is told"


@pytest.mark.parametrize(
    ("versions", "warned"),
    [({"latest": 1}, False), ({"latest": 2}, True), ({"specific": [4]}, False), ({"all": True}, True)],
)  # fmt: skip
def test_a_retired_version_that_changes_is_trouble_only_where_it_is_asked_for(
    versions: dict[str, Any],
    warned: bool,  # noqa: FBT001
) -> None:
    blank = model(versions=versions)
    rows = [
        row(
            4,
            key=key(blank, 4),
            available_key=key(blank, 4),
            revision=deployment(blank, 4).revision,
        ),
        row(3, VersionState.RETIRED, key="k", available_key="k", revision="before"),
    ]
    of = model(rows, versions=versions)
    v4 = deployment(of, 4)
    there = pods(v4)
    state = observed(
        of,
        source=listed(3, 4),
        deployments=(v4,),
        pods=there,
        services=service(of, v4.servable),
        endpoints={"digits": uids(*there)},
    )
    planned = plan(state, RenderSettings("server:1", "sync:1"), T0)
    assert planned.status.versions[1].reason == Reason.CONTENT_CHANGED
    degraded = next(c for c in planned.status.conditions if c.type is ConditionType.DEGRADED)
    assert (degraded.status == "True") is warned
    assert bool([e for e in planned.events if e.warning]) is warned


@pytest.mark.parametrize(
    "transition",
    [
        {"policy": "AvailabilityPreserving"},
        {"policy": "AvailabilityPreserving", "maxSurge": "100%"},
        {"policy": "ResourcePreserving"},
    ],
)
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_a_healthy_rollout_is_three_lines(transition: dict[str, Any], replicas: int) -> None:
    """Looked at after every step of every component, as an operator is that misses nothing."""
    fleet = serving(serving={"replicas": replicas}, transition=transition)
    fleet.upload(4)
    lines = []
    while fleet.status.serving != "4" or fleet.status.phase != "Available":
        fleet.poll()
        lines += fleet.operate().events
        for _ in fleet.turn():
            lines += fleet.operate().events
    gap = transition["policy"] == "ResourcePreserving" and replicas == 1
    assert [f"{e.reason} {e.message}" for e in lines if e.reason != "ServingGap"] == [
        "VersionStarting version 4",
        "VersionAvailable version 4",
        "VersionRetired version 3",
    ]
    assert [e.reason for e in lines].count("ServingGap") == gap
