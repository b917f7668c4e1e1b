"""What tries a version out before the first old pod goes for it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fleet import Behaviour, Fleet
from fleets_at_rest import run
from slipway_operator.api.verbs import Verb
from slipway_operator.model.actions import CreateJob, Plan
from slipway_operator.model.observed import Preflights
from slipway_operator.planning.plan import plan

FRUGAL = {"policy": "ResourcePreserving"}
LOAD = {**FRUGAL, "preflight": "Load"}


def serving(transition: dict[str, Any], **edits: Any) -> Fleet:
    """Version 3 serves, and no Job was needed for that."""
    fleet = Fleet(preflights=True)
    fleet.edit(transition=transition, **edits)
    fleet.upload(3)
    run(fleet)
    assert fleet.status.phase == "Available"
    return fleet


def whole(fleet: Fleet, rounds: int = 40) -> bool:
    """Let everything happen, and tell whether all pods of version 3 have taken requests all the time."""
    kept = True
    for _ in range(rounds):
        run(fleet, 1)
        kept &= sum(pod in fleet.pods_of(3) for pod in fleet.in_rotation()) == 2
    return kept


@pytest.mark.parametrize("transition", [FRUGAL, LOAD])
def test_no_old_pod_goes_before_the_new_version_was_tried_out(transition: dict[str, Any]) -> None:
    fleet = serving(transition)
    assert fleet.jobs.created == 0
    fleet.upload(4)
    while not fleet.jobs.jobs:
        run(fleet, 1)
    assert fleet.status.phase == "Preflight 4"
    assert fleet.status.transition
    assert fleet.status.transition.preflight
    assert fleet.status.transition.preflight.state == "Running"
    [name] = fleet.deployments
    assert fleet.deployments[name].replicas == 2
    run(fleet)
    assert (fleet.status.serving, fleet.status.phase) == ("4", "Available")
    assert (fleet.jobs.created, fleet.jobs.jobs) == (1, {})


def test_a_version_that_fails_in_its_preflight_costs_no_capacity() -> None:
    fleet = serving(LOAD)
    fleet.upload(4, Behaviour.CORRUPT)
    assert whole(fleet)
    row = fleet.status.versions[0]
    assert (row.version, row.state, row.reason) == (4, "Failed", "LoadFailed")
    assert "before any old pod went" in row.message
    assert "the graph cannot be parsed" in row.message
    assert fleet.jobs.jobs == {}
    assert fleet.status.history[0].outcome == "RolledBack"
    assert fleet.status.history[0].outage_seconds == 0
    assert fleet.status.transition is None
    whole(fleet)
    assert fleet.jobs.created == 1  # It is not tried again …
    fleet.upload(4)
    run(fleet)
    assert fleet.status.serving == "4"  # … until its content has changed.


@pytest.mark.parametrize("bad", [Behaviour.CRASHING, Behaviour.STARVED])
def test_a_server_that_crashes_again_and_again_in_a_preflight_has_failed(bad: Behaviour) -> None:
    fleet = serving(LOAD)
    fleet.upload(4, bad)
    assert whole(fleet)
    assert fleet.status.versions[0].reason == "Crashed"


def test_verify_finds_what_is_wrong_with_the_files_and_not_what_only_a_load_shows() -> None:
    fleet = serving(FRUGAL)
    fleet.upload(4, Behaviour.REJECTED)
    assert whole(fleet)
    assert fleet.status.versions[0].state == "Rejected"
    fleet.upload(5, Behaviour.CORRUPT)
    assert not whole(fleet)
    assert fleet.status.serving == "3"


def test_a_preflight_that_hangs_fails_at_the_progress_deadline() -> None:
    fleet = serving(LOAD)
    fleet.upload(4, Behaviour.HANGING)
    assert whole(fleet)
    assert fleet.status.phase == "Preflight 4"
    fleet.now += timedelta(minutes=10)
    assert whole(fleet)
    assert fleet.status.versions[0].reason == "ProgressDeadlineExceeded"
    assert fleet.jobs.jobs == {}


@pytest.mark.parametrize("then", ["Wait", "ResourcePreserving", "Abort"])
def test_a_job_without_room_says_so_and_holds_nothing_up_for_ever(then: str) -> None:
    fleet = serving({**LOAD, "whenUnschedulable": {"after": "2m", "then": then}})
    fleet.cpus = False
    fleet.upload(4)
    assert whole(fleet)
    row = fleet.status.versions[0]
    assert (row.state, row.reason) == ("Unschedulable", "Unschedulable")
    assert fleet.plan().requeue is not None
    fleet.now += timedelta(minutes=2)
    seen = fleet.operate().events
    run(fleet)
    if then == "Abort":
        assert fleet.status.versions[0].reason == "UnschedulableTooLong"
        assert fleet.status.serving == "3"
    else:
        assert fleet.status.serving == "4"
        told = [event.message for event in seen if event.reason == "PreflightSkipped"]
        assert "no room for 2m" in told[0]
        assert "Insufficient" in told[0]


def test_where_no_job_can_be_created_the_transition_goes_on_and_says_so() -> None:
    fleet = serving(LOAD)
    fleet.jobs_refused = True
    fleet.upload(4)
    events = []
    for _ in range(40):
        fleet.poll()
        events += fleet.operate().events
        list(fleet.turn())
    assert fleet.status.serving == "4"
    told = [event.message for event in events if event.reason == "PreflightSkipped"]
    assert len(told) == 1
    assert "exceeded quota" in told[0]


def test_a_newer_version_takes_the_place_of_one_in_its_preflight() -> None:
    fleet = serving(LOAD)
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    [first] = fleet.jobs.jobs
    fleet.upload(5)
    run(fleet)
    assert fleet.status.serving == "5"
    assert (fleet.jobs.created, first in fleet.jobs.jobs) == (2, False)
    assert not [name for name in fleet.deployments if "-v4-" in name]


def test_a_person_gives_up_a_version_in_its_preflight() -> None:
    fleet = serving(LOAD)
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    fleet.annotate(Verb.ABORT.annotation, "4/1")
    assert whole(fleet)
    assert fleet.status.phase == "Aborted 4"
    assert fleet.jobs.jobs == {}


def test_an_edit_of_what_is_tried_out_begins_anew() -> None:
    fleet = serving(LOAD)
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    fleet.edit(transition=FRUGAL | {"preflight": "Verify"})
    run(fleet)
    assert fleet.jobs.created == 2
    assert fleet.pods_of(4)


def test_without_extra_pods_for_want_of_room_a_version_is_tried_out_first() -> None:
    fallback = {"after": "2m", "then": "ResourcePreserving"}
    fleet = serving({"whenUnschedulable": fallback, "preflight": "Load"})
    fleet.gpus = 2
    fleet.upload(4, Behaviour.CORRUPT)
    assert whole(fleet)
    assert fleet.jobs.created == 0  # Extra pods are still hoped for.
    fleet.now += timedelta(minutes=2)
    assert whole(fleet)
    assert fleet.jobs.created == 1
    assert fleet.status.versions[0].reason == "LoadFailed"
    fleet.upload(4)
    run(fleet)
    fleet.now += timedelta(minutes=2)
    run(fleet)
    assert (fleet.jobs.created, fleet.status.serving) == (2, "4")


def test_extra_pods_show_themselves_what_a_preflight_would() -> None:
    fleet = serving({"policy": "AvailabilityPreserving", "preflight": "Load"})
    fleet.upload(4)
    run(fleet)
    assert (fleet.status.serving, fleet.jobs.created) == ("4", 0)


def test_an_export_that_pods_have_synced_is_not_verified_again() -> None:
    fleet = serving(FRUGAL)
    fleet.edit(serving={"image": "registry.test/other:1"})
    run(fleet)
    assert fleet.jobs.created == 0
    fleet.edit(transition=LOAD, serving={"image": "registry.test/third:1"})
    run(fleet)
    assert fleet.jobs.created == 1


def test_a_transition_under_way_at_an_upgrade_is_not_held_up() -> None:
    """An operator that knew no pre-flight has taken the first old pod away already."""
    fleet = serving(FRUGAL)
    fleet.preflights = False
    fleet.upload(4)
    while len(fleet.deployments) == 1:
        run(fleet, 1)
    fleet.preflights = True
    run(fleet)
    assert (fleet.status.serving, fleet.jobs.created) == ("4", 0)


def test_of_several_versions_each_is_tried_out_before_its_pods_come() -> None:
    fleet = serving(LOAD, versions={"latest": 2})
    fleet.upload(4)
    run(fleet)
    assert fleet.jobs.created == 0  # It takes nobody's place.
    fleet.upload(5)
    fleet.upload(6, Behaviour.CORRUPT)
    run(fleet)
    assert {pod.labels["slipway.dev/version"] for pod in fleet.pods.values()} == {"4", "5"}
    assert fleet.jobs.created == 2


def test_planning_twice_decides_the_same_and_a_paused_model_creates_no_job() -> None:
    fleet = serving(LOAD)
    fleet.edit(paused=True)
    fleet.upload(4)
    run(fleet)
    assert fleet.jobs.created == 0
    fleet.edit(paused=False)
    planned = fleet.plan()
    assert fleet.plan() == planned
    done = {type(action).__name__ for action in planned.actions}
    assert "CreateJob" in done
    assert not done & {"CreateDeployment", "ScaleDeployment"}


def test_the_pod_of_a_deleted_job_waits_until_another_one_can_have_its_name() -> None:
    fleet = serving(LOAD)
    fleet.upload(4)
    while not fleet.jobs.jobs:
        run(fleet, 1)
    [job] = fleet.jobs.jobs.values()
    job.terminating = True
    seen = fleet.observe()
    assert not _jobs(plan(seen, fleet.settings, fleet.now))
    gone = replace(seen, preflights=Preflights())
    assert _jobs(plan(gone, fleet.settings, fleet.now)) == 1


def _jobs(planned: Plan) -> int:
    return sum(isinstance(action, CreateJob) for action in planned.actions)
