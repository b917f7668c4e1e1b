"""What annotations make of a rollout."""

import pytest

from fleet import BROKEN_IMAGE, Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.status import VersionState, VersionStatus
from slipway_operator.model.actions import Plan
from slipway_operator.planning.versions.verbs import NO_EFFECT

ROLLBACK = "slipway.dev/rollback"
RETRY = "slipway.dev/retry"
ABORT = "slipway.dev/abort"


def row(fleet: Fleet, version: int) -> VersionStatus:
    return next(row for row in fleet.status.versions if row.version == version)


def served(fleet: Fleet) -> set[int]:
    """Versions that have pods."""
    return {version for version in range(10) if fleet.pods_of(version)}


def in_transition(policy: str = "AvailabilityPreserving") -> Fleet:
    """Version 3 serves; version 4 has a pod, which hangs while it loads."""
    fleet = serving(transition={"policy": policy})
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    assert served(fleet) >= {4}
    return fleet


def failed() -> Fleet:
    """Version 3 serves, and version 4 has failed; it would load now."""
    fleet = serving()
    fleet.upload(4, Behaviour.CORRUPT)
    run(fleet)
    assert row(fleet, 4).state is VersionState.FAILED
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
    assert run(fleet).status.serving == "3"
    return fleet


def reasons(planned: Plan) -> list[str]:
    return [event.reason.value for event in planned.events]


def condition(fleet: Fleet, kind: ConditionType) -> tuple[str, str, str]:
    [found] = [c for c in fleet.status.conditions if c.type is kind]
    return found.status, found.reason, found.message


# abort --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
@pytest.mark.parametrize("value", ["4", "4/9"])
def test_an_aborted_transition_is_given_up_and_what_served_goes_on(policy: str, value: str) -> None:
    fleet = in_transition(policy)
    fleet.annotations[ABORT] = value
    assert "RequestHonoured" in reasons(fleet.plan())
    run(fleet)
    assert served(fleet) == {3}
    assert len(fleet.in_rotation()) == 2
    assert (row(fleet, 4).state, row(fleet, 4).reason) == (VersionState.ROLLED_BACK, Reason.ABORTED)
    assert (fleet.status.serving, fleet.status.phase) == ("3", "Aborted 4")
    assert "slipway.dev/retry" in fleet.status.message


def test_an_abort_is_not_repeated_when_the_version_is_uploaded_again_or_the_spec_changes() -> None:
    fleet = in_transition()
    fleet.annotations[ABORT] = "4"
    run(fleet)
    fleet.upload(4)
    assert run(fleet).status.serving == "4"
    fleet.edit(serving={"env": [{"name": "A", "value": "b"}]})
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
    before = row(fleet, 4).available_key
    assert run(fleet).status.serving == "4"
    assert row(fleet, 4).available_key != before


def test_a_change_of_the_spec_is_aborted_while_its_version_goes_on() -> None:
    fleet = serving()
    fleet.edit(serving={"image": BROKEN_IMAGE})
    fleet.poll()
    fleet.operate()
    fleet.annotations[ABORT] = "3"
    run(fleet)
    assert len(fleet.in_rotation()) == 2
    assert "aborted" in row(fleet, 3).message
    assert all(pod.image != BROKEN_IMAGE for pod in fleet.pods.values())


def test_a_transition_whose_new_pods_take_requests_already_is_aborted() -> None:
    fleet = serving(transition={"policy": "ResourcePreserving"})
    fleet.upload(4)
    while not [pod for pod in fleet.in_rotation() if pod in fleet.pods_of(4)]:
        run(fleet, 1)
    fleet.annotations[ABORT] = "4"
    run(fleet)
    assert (served(fleet), fleet.status.serving) == ({3}, "3")


@pytest.mark.parametrize("value", ["3", "2", "9"])
def test_there_is_nothing_to_abort_where_nothing_is_replaced(value: str) -> None:
    fleet = serving()
    fleet.annotations[ABORT] = value
    planned = fleet.operate()
    assert reasons(planned) == ["RequestWithoutEffect"]
    assert NO_EFFECT in planned.events[0].message
    assert f"no transition to version {value}" in planned.events[0].message
    assert run(fleet).status.serving == "3"
    # It is about this moment, not about whatever comes later.
    fleet.upload(9)
    assert run(fleet).status.serving == "9"


def test_the_first_version_is_aborted_before_it_serves() -> None:
    fleet = Fleet()
    fleet.upload(1, Behaviour.HANGING)
    run(fleet)
    fleet.annotations[ABORT] = "1"
    assert run(fleet).pods == {}
    assert fleet.status.phase == "Aborted 1"


def draining(fleet: Fleet, version: int) -> Fleet:
    """Its pods are being deleted, and shut down."""
    for _ in range(40):
        fleet.poll()
        fleet.operate()
        for _ in fleet.turn():
            if any(pod.terminating for pod in fleet.pods_of(version)):
                fleet.operate()
                assert fleet.status.transition is not None
                return fleet
    raise AssertionError(f"version {version} never drains")


def test_what_serves_again_while_its_successor_drains_is_not_aborted() -> None:
    fleet = in_transition()
    fleet.annotations[ABORT] = "4"
    draining(fleet, 4)
    fleet.annotations[ABORT] = "3"
    fleet.operate()
    told = fleet.status.honoured.message if fleet.status.honoured else ""
    assert f"{NO_EFFECT}: there is no transition to version 3" in told
    assert "slipway.dev/rollback" in told
    assert not row(fleet, 3).failed_key
    run(fleet)
    assert (served(fleet), fleet.status.serving) == ({3}, "3")


def test_the_newest_of_two_that_serve_is_not_aborted_while_another_one_drains() -> None:
    fleet = serving(versions={"latest": 3})
    for version in (4, 5):
        fleet.upload(version)
        run(fleet)
    assert served(fleet) == {3, 4, 5}
    fleet.edit(versions={"latest": 2})
    draining(fleet, 3)
    fleet.annotations[ABORT] = "5"
    fleet.operate()
    assert NO_EFFECT in (fleet.status.honoured.message if fleet.status.honoured else "")
    run(fleet)
    assert (served(fleet), fleet.status.serving) == ({4, 5}, "5")


# retry --------------------------------------------------------------------------------------------


def test_a_failed_version_is_tried_again() -> None:
    fleet = failed()
    fleet.annotations[RETRY] = "4"
    assert "RequestHonoured" in reasons(fleet.plan())
    assert run(fleet).status.serving == "4"


def test_an_aborted_version_is_tried_again_although_the_abort_still_stands_there() -> None:
    fleet = in_transition()
    fleet.annotations[ABORT] = "4"
    run(fleet)
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
    fleet.annotations[RETRY] = "4"
    assert run(fleet).status.serving == "4"


def test_a_version_that_was_rejected_after_its_download_is_tried_again() -> None:
    fleet = serving()
    fleet.upload(4, Behaviour.REJECTED)
    run(fleet)
    assert row(fleet, 4).state is VersionState.REJECTED
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
    fleet.annotations[RETRY] = "4"
    assert run(fleet).status.serving == "4"


def test_a_change_of_the_spec_that_failed_is_tried_again() -> None:
    fleet = serving()
    [revision] = fleet.behaviours
    fleet.behaviours[revision] = Behaviour.CORRUPT
    fleet.edit(serving={"env": [{"name": "A", "value": "b"}]})
    run(fleet)
    assert row(fleet, 3).reason == Reason.ROLLED_BACK
    before = row(fleet, 3).available_key
    fleet.behaviours[revision] = Behaviour.GOOD
    fleet.annotations[RETRY] = "3"
    run(fleet)
    assert (fleet.status.phase, row(fleet, 3).reason) == ("Available", "")
    assert row(fleet, 3).available_key != before


def test_each_value_of_retry_is_one_try() -> None:
    fleet = failed()
    tries = []
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.CORRUPT)
    for value in ("4", "4", "4/1", "4/2", None, "4/2", "4"):
        if value is None:
            del fleet.annotations[RETRY]
        else:
            fleet.annotations[RETRY] = value
        pods = fleet._count
        run(fleet)
        fleet.restart_operator()
        run(fleet)
        assert row(fleet, 4).state is VersionState.FAILED
        tries.append(fleet._count > pods)
    assert tries == [True, False, False, True, False, True, True]


def test_a_retry_answers_no_failure_that_comes_later() -> None:
    fleet = serving()
    fleet.upload(4)
    fleet.annotations[RETRY] = "4"
    run(fleet)
    assert fleet.status.serving == "4"
    fleet.upload(5, Behaviour.CORRUPT)
    fleet.annotations[RETRY] = "5"
    fleet.operate()  # Version 5 is not known yet.
    assert "not known" in (fleet.status.honoured.message if fleet.status.honoured else "")
    run(fleet)
    assert row(fleet, 5).state is VersionState.FAILED
    pods = fleet._count
    assert run(fleet)._count == pods


def test_asked_to_abort_and_to_retry_at_once_a_version_is_not_tried() -> None:
    fleet = failed()
    fleet.annotations |= {RETRY: "4", ABORT: "4"}
    run(fleet)
    assert served(fleet) == {3}
    assert row(fleet, 4).reason == Reason.ABORTED


# rollback -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
def test_a_rollback_pins_a_version_until_it_is_lifted(policy: str) -> None:
    fleet = serving(transition={"policy": policy})
    fleet.upload(4)
    assert run(fleet).status.serving == "4"
    fleet.annotations[ROLLBACK] = "3"
    run(fleet)
    assert (served(fleet), fleet.status.serving, fleet.status.phase) == ({3}, "3", "Pinned")
    fleet.upload(5)
    run(fleet)
    assert served(fleet) == {3}
    told = "annotation slipway.dev/rollback pins version 3: versions 5, 4 wait until it is removed"
    assert condition(fleet, ConditionType.PROGRESSING) == ("False", Reason.PINNED, told)
    assert fleet.status.message == told
    assert condition(fleet, ConditionType.READY)[0] == "True"
    del fleet.annotations[ROLLBACK]
    run(fleet)
    assert (fleet.status.serving, fleet.status.phase) == ("5", "Available")


def test_a_rollback_does_what_the_same_version_in_the_spec_does() -> None:
    def world() -> Fleet:
        fleet = serving()
        fleet.upload(4)
        return run(fleet)

    edited, annotated = world(), world()
    edited.edit(versions={"specific": [3]})
    annotated.annotations[ROLLBACK] = "3"
    for _ in range(40):
        assert edited.operate().actions == annotated.operate().actions
        for fleet in (edited, annotated):
            fleet.poll()
            list(fleet.turn())
    assert edited.status.serving == annotated.status.serving == "3"


def test_a_rollback_to_a_version_that_is_not_there_takes_nothing_away() -> None:
    fleet = serving()
    fleet.annotations[ROLLBACK] = "9"
    run(fleet)
    assert (served(fleet), fleet.status.serving) == ({3}, "3")
    status, reason, message = condition(fleet, ConditionType.DEGRADED)
    assert (status, reason) == ("True", Reason.PINNED)
    assert message.startswith("annotation slipway.dev/rollback pins version 9, which is not in the")
    fleet.upload(9)
    assert run(fleet).status.serving == "9"
    assert condition(fleet, ConditionType.DEGRADED)[0] == "False"


def test_a_rollback_to_a_version_that_failed_says_so_and_takes_nothing_away() -> None:
    fleet = failed()
    fleet.annotations[ROLLBACK] = "4"
    run(fleet)
    assert (fleet.status.serving, fleet.status.phase) == ("3", "RolledBack from 4")


def test_a_label_of_a_version_that_waits_behind_a_pin_says_what_to_do() -> None:
    fleet = serving(labels={"stable": 4})
    fleet.upload(4)
    run(fleet)
    fleet.annotations[ROLLBACK] = "3"
    run(fleet)
    assert (
        "remove that annotation, or change spec.labels"
        in condition(fleet, ConditionType.DEGRADED)[2]
    )


# what cannot be used ------------------------------------------------------------------------------


def test_an_annotation_that_cannot_be_used_is_told_and_stops_nothing() -> None:
    fleet = serving()
    fleet.annotations |= {ABORT: "now", ROLLBACK: "v3", "slipway.dev/approve": "4"}
    fleet.upload(4)
    run(fleet)
    assert fleet.status.serving == "4"
    status, reason, message = condition(fleet, ConditionType.DEGRADED)
    assert (status, reason) == ("True", Reason.INVALID_ANNOTATION)
    assert message.count("write VERSION") == 3
    assert fleet.status.message == message
    fleet.annotations.clear()
    assert condition(run(fleet), ConditionType.DEGRADED)[0] == "False"


def test_at_rest_an_annotation_that_was_acted_on_leads_to_no_write() -> None:
    fleet = failed()
    fleet.annotations |= {RETRY: "4", ABORT: "9", ROLLBACK: "4", "slipway.dev/promote": "x"}
    run(fleet)
    before = fleet.status
    planned = fleet.plan()
    assert (planned.status, planned.actions, planned.events) == (before, (), ())
