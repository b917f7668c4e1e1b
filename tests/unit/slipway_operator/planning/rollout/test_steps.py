"""Rollouts in steps on a simulated fleet: what each step waits for, and what can happen meanwhile."""

from datetime import timedelta
from typing import Any

import pytest

from fleet import Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.rollout import Rollout, RolloutStep
from slipway_operator.api.status import RolloutStatus
from slipway_operator.planning.rollout.record import APPROVAL, DURATION, PODS, is_held
from slipway_operator.planning.rollout.steps import plan_of

STEPS: list[dict[str, Any]] = [
    {"weight": 10, "pause": {"duration": "2m"}},
    {"weight": 50, "pause": {}},
]
SAVING = {"policy": "AvailabilityPreserving"}
FRUGAL = {"policy": "ResourcePreserving"}


def rolling(replicas: int = 2, behaviour: Behaviour = Behaviour.GOOD, **edits: Any) -> Fleet:
    """Version 3 serves, and version 4 has just been found."""
    edits = {"rollout": {"steps": STEPS}, "serving": {"replicas": replicas}, **edits}
    fleet = serving(**edits)
    fleet.gpus = 30
    fleet.upload(4, behaviour)
    return run(fleet)


def now(fleet: Fleet) -> RolloutStatus:
    assert fleet.status.rollout, fleet.status
    return fleet.status.rollout


def live(fleet: Fleet, version: int) -> int:
    return sum(not pod.terminating for pod in fleet.pods_of(version))


def taking(fleet: Fleet) -> tuple[int, int]:
    """Pods of versions 3 and 4 that take requests."""
    versions = [pod.labels["slipway.dev/version"] for pod in fleet.in_rotation()]
    return versions.count("3"), versions.count("4")


def later(fleet: Fleet, minutes: float) -> Fleet:
    fleet.now += timedelta(minutes=minutes)
    return run(fleet)


def says(fleet: Fleet, **annotations: str) -> Fleet:
    fleet.annotations |= {f"slipway.dev/{verb}": value for verb, value in annotations.items()}
    return run(fleet)


@pytest.mark.parametrize(
    ("policy", "replicas", "pods"),
    [(SAVING, 2, (2, 1)), (SAVING, 1, (1, 1)), (FRUGAL, 2, (1, 1)), (FRUGAL, 10, (9, 1))],
)
def test_the_canary_is_extra_or_takes_its_pods_from_what_serves(
    policy: dict[str, str], replicas: int, pods: tuple[int, int]
) -> None:
    fleet = rolling(replicas, transition=policy)
    assert taking(fleet) == pods
    assert len(fleet.pods) == sum(pods)
    assert now(fleet).reached == round(100 * pods[1] / sum(pods))
    assert (now(fleet).step, now(fleet).weight, now(fleet).waiting_for) == (1, 10, DURATION)
    assert fleet.status.phase == "Canary 10% 1/2"


def test_a_pause_lasts_from_when_the_pods_are_there() -> None:
    fleet = rolling()
    began = now(fleet).reached_at
    assert now(later(fleet, 1.9)).step == 1
    assert now(fleet).reached_at == began
    fleet.restart_operator()
    assert now(later(fleet, 0.1)).step == 2
    assert fleet.status.phase == "Paused 50% 2/2: approve 4/2"
    assert "slipway.dev/approve=4/2" in fleet.status.versions[0].message


def test_between_two_steps_of_as_many_pods_the_phase_is_a_canarys() -> None:
    fleet = rolling()
    fleet.now += timedelta(minutes=2)
    fleet.operate()
    assert (fleet.status.phase, now(fleet).waiting_for) == ("Canary 50% 2/2", PODS)


def test_the_plan_asks_to_be_woken_when_a_pause_ends() -> None:
    fleet = rolling()
    later(fleet, 0.5)
    assert fleet.plan().requeue == timedelta(seconds=90)
    fleet.edit(paused=True)
    assert run(fleet).plan().requeue is None


def test_without_a_duration_a_person_is_waited_for_and_then_it_takes_everything() -> None:
    fleet = later(rolling(), 2)
    assert now(later(fleet, 60 * 24 * 30)).step == 2
    assert is_held(now(fleet))
    assert now(fleet).waiting_for == APPROVAL
    says(fleet, approve="4/1")
    assert now(fleet).step == 2
    says(fleet, approve="4/2")
    assert (fleet.status.phase, fleet.status.serving, fleet.status.rollout) == (
        "Available",
        "4",
        None,
    )
    assert len(fleet.pods) == 2


def test_promote_skips_what_is_left() -> None:
    fleet = says(rolling(), promote="3")
    assert now(fleet).step == 1
    says(fleet, promote="4")
    assert (fleet.status.serving, fleet.status.rollout) == ("4", None)


def test_a_step_without_a_pause_is_passed_when_it_has_its_pods() -> None:
    steps = [{"weight": 10}, {"weight": 20}, {"weight": 40, "pause": {}}]
    fleet = rolling(10, rollout={"steps": steps}, transition=FRUGAL)
    assert (now(fleet).step, now(fleet).reached) == (3, 40)
    assert taking(fleet) == (6, 4)


@pytest.mark.parametrize(("policy", "reached"), [(SAVING, (41, 9)), (FRUGAL, (40, 10))])
def test_a_weight_may_become_smaller(policy: dict[str, str], reached: tuple[int, int]) -> None:
    steps = [{"weight": 40, "pause": {}}, {"weight": 10, "pause": {}}]
    fleet = rolling(10, rollout={"steps": steps}, transition={**policy, "maxSurge": "100%"})
    assert now(fleet).reached == reached[0]
    says(fleet, approve="4/1")
    assert (now(fleet).step, now(fleet).reached) == (2, reached[1])


@pytest.mark.parametrize("behaviour", [Behaviour.CORRUPT, Behaviour.CRASHING, Behaviour.REJECTED])
@pytest.mark.parametrize("policy", [SAVING, FRUGAL])
def test_a_canary_that_fails_goes_and_is_not_tried_again(
    policy: dict[str, str], behaviour: Behaviour
) -> None:
    fleet = rolling(behaviour=behaviour, transition=policy)
    assert (taking(fleet), live(fleet, 4), fleet.status.rollout) == ((2, 0), 0, None)
    assert later(fleet, 600).status.phase in {"RolledBack from 4", "Rejected 4"}
    assert live(fleet, 4) == 0


def test_a_canary_that_crashes_after_days_goes() -> None:
    fleet = later(rolling(), 2)
    later(fleet, 5000)
    [canary] = [pod for pod in fleet.in_rotation() if pod in fleet.pods_of(4)]
    fleet.behaviours[canary.revision] = Behaviour.CRASHING
    fleet.crash(canary)
    run(fleet)
    assert (taking(fleet), fleet.status.versions[0].state) == ((2, 0), "Failed")


def test_a_canary_that_is_not_ready_for_a_moment_does_not_fail() -> None:
    fleet = later(rolling(), 2)
    later(fleet, 5000)
    [canary] = [pod for pod in fleet.in_rotation() if pod in fleet.pods_of(4)]
    fleet.crash(canary)
    fleet.operate()
    assert fleet.status.versions[0].failed_key == ""
    assert taking(run(fleet)) == (2, 1)


def test_no_progress_ends_a_canary() -> None:
    fleet = rolling(behaviour=Behaviour.HANGING)
    assert live(fleet, 4) == 1
    later(fleet, 11)
    assert (fleet.status.versions[0].reason, live(fleet, 4)) == ("ProgressDeadlineExceeded", 0)


@pytest.mark.parametrize(
    ("policy", "replicas", "pods"),
    [(SAVING, 4, (4, 1)), (SAVING, 1, (1, 1)), (FRUGAL, 4, (3, 1)), (FRUGAL, 3, (2, 1))],
)
def test_both_versions_are_scaled(
    policy: dict[str, str], replicas: int, pods: tuple[int, int]
) -> None:
    fleet = rolling(transition=policy)
    began = now(fleet).reached_at
    fleet.edit(serving={"replicas": replicas})
    assert taking(run(fleet)) == pods
    assert now(fleet).reached_at == began


@pytest.mark.parametrize("policy", [SAVING, FRUGAL])
def test_to_zero_and_back(policy: dict[str, str]) -> None:
    fleet = rolling(transition=policy)
    before = taking(fleet)
    fleet.edit(serving={"replicas": 0})
    assert (len(run(fleet).pods), now(fleet).step) == (0, 1)
    # The pause is about requests that the canary takes: it begins anew.
    assert (now(later(fleet, 5)).step, now(fleet).reached_at) == (1, None)
    fleet.edit(serving={"replicas": 2})
    assert (taking(run(fleet)), now(fleet).step) == (before, 1)
    assert (now(later(fleet, 1.9)).step, now(later(fleet, 0.1)).step) == (1, 2)


def test_promoted_at_zero_replicas_a_version_has_all_pods_when_they_are_back() -> None:
    fleet = rolling()
    fleet.edit(serving={"replicas": 0})
    run(fleet)
    says(fleet, promote="4")
    fleet.edit(serving={"replicas": 2})
    assert run(fleet).status.serving == "4"


@pytest.mark.parametrize("policy", [SAVING, FRUGAL])
def test_no_step_ends_while_the_canary_takes_no_requests(policy: dict[str, str]) -> None:
    steps = [{"weight": 10, "pause": {"duration": "2m"}}, {"weight": 50, "pause": {}}]
    fleet = rolling(transition=policy, rollout={"steps": steps})
    [canary] = [pod for pod in fleet.in_rotation() if pod in fleet.pods_of(4)]
    began = now(fleet).reached_at
    fleet.behaviours[canary.revision] = Behaviour.HANGING
    fleet.crash(canary)
    later(fleet, 3)
    assert (now(fleet).step, now(fleet).waiting_for, now(fleet).reached_at) == (1, PODS, began)
    fleet.behaviours[canary.revision] = Behaviour.GOOD
    assert now(run(fleet)).step == 2


@pytest.mark.parametrize("policy", [SAVING, FRUGAL])
def test_a_newer_version_takes_the_place_of_the_canary_and_begins_anew(
    policy: dict[str, str],
) -> None:
    fleet = later(rolling(transition=policy), 2)
    assert now(fleet).step == 2
    fleet.upload(5)
    run(fleet)
    assert (now(fleet).version, now(fleet).stable, now(fleet).step) == (5, 3, 1)
    assert (live(fleet, 4), live(fleet, 5)) == (0, 1)


@pytest.mark.parametrize("policy", [SAVING, FRUGAL])
def test_a_newer_version_in_the_drain_after_the_last_step_goes_beside_what_was_promoted(
    policy: dict[str, str],
) -> None:
    fleet = rolling(transition=policy)
    fleet.long_drains = {3}
    says(fleet, promote="4")
    assert taking(fleet)[0] == 0
    assert any(pod.terminating for pod in fleet.pods_of(3))
    assert not is_held(now(fleet))
    fleet.upload(5)
    run(fleet)
    fleet.long_drains = set()
    run(fleet)
    assert (now(fleet).version, now(fleet).stable, now(fleet).step) == (5, 4, 1)
    assert (live(fleet, 3), live(fleet, 5)) == (0, 1)


@pytest.mark.parametrize("policy", [SAVING, FRUGAL])
def test_a_newer_version_while_the_promoted_one_grows_does_not_bring_the_old_one_back(
    policy: dict[str, str],
) -> None:
    fleet = rolling(10, transition={**policy, "maxSurge": 1})
    fleet.annotations["slipway.dev/promote"] = "4"
    for _ in range(4):
        fleet.operate()
        list(fleet.turn())
    old, new = taking(fleet)
    assert old > new > 0
    fleet.upload(5)
    for _ in range(3):
        fleet.poll()
        fleet.operate()
    assert (now(fleet).version, now(fleet).stable) == (5, 4)
    for _ in range(60):
        fleet.poll()
        fleet.operate()
        list(fleet.turn())
        assert taking(fleet)[1] >= new
    assert (now(fleet).stable, live(fleet, 3), live(fleet, 5)) == (4, 0, 1)
    assert taking(fleet) == (0, 10 if policy == SAVING else 9)


@pytest.mark.parametrize("policy", [SAVING, FRUGAL])
def test_a_changed_spec_is_a_canary_too_and_in_mid_rollout_begins_anew(
    policy: dict[str, str],
) -> None:
    fleet = serving(transition=policy, rollout={"steps": STEPS})
    fleet.edit(serving={"image": "registry.test/other:1"})
    run(fleet)
    assert (now(fleet).version, now(fleet).stable) == (3, 3)
    first = now(fleet)
    assert first.key != first.stable_key
    later(fleet, 2)
    assert now(fleet).step == 2
    fleet.edit(serving={"image": "registry.test/other:2"})
    run(fleet)
    assert (now(fleet).step, now(fleet).stable_key) == (1, first.stable_key)
    assert now(fleet).key != first.key


def test_other_steps_begin_anew_and_without_steps_it_takes_everything() -> None:
    fleet = later(rolling(), 2)
    fleet.edit(rollout={"steps": [{"weight": 20, "pause": {}}]})
    assert (now(run(fleet)).step, now(fleet).steps) == (1, 1)
    del fleet.spec["rollout"]
    fleet.edit()
    assert (run(fleet).status.serving, fleet.status.rollout) == ("4", None)


def test_a_way_back_takes_no_steps() -> None:
    fleet = says(rolling(), promote="4")
    assert fleet.status.serving == "4"
    fleet.edit(versions={"specific": [3]})
    run(fleet)
    assert (fleet.status.serving, fleet.status.rollout) == ("3", None)


def test_what_was_pinned_back_is_left_in_steps() -> None:
    fleet = says(rolling(), promote="4")
    says(fleet, rollback="3")
    assert fleet.status.serving == "3"
    fleet.annotations.clear()
    assert now(run(fleet)).version == 4
    assert taking(fleet) == (2, 1)


def test_the_first_version_takes_no_steps() -> None:
    fleet = serving(rollout={"steps": STEPS})
    assert (fleet.status.serving, fleet.status.rollout) == ("3", None)


def test_the_only_pod_cannot_be_shared_without_an_extra_one() -> None:
    fleet = rolling(1, transition=FRUGAL)
    assert (taking(fleet), live(fleet, 4)) == ((1, 0), 0)
    assert fleet.status.phase == "Paused: promote 4"
    assert "one replica cannot be shared" in fleet.status.versions[0].message
    assert later(fleet, 600).status.serving == "3"
    says(fleet, promote="4")
    assert fleet.status.serving == "4"


def test_it_goes_on_when_the_status_was_lost() -> None:
    fleet = later(rolling(), 2)
    fleet.status = type(fleet.status)()
    run(fleet)
    assert (now(fleet).version, now(fleet).stable, now(fleet).step) == (4, 3, 1)
    assert taking(fleet) == (2, 1)


def test_nothing_moves_while_the_model_is_paused() -> None:
    fleet = rolling()
    fleet.edit(paused=True)
    assert now(later(fleet, 60)).step == 1
    assert fleet.status.phase == "Paused"
    fleet.edit(paused=False)
    assert now(run(fleet)).step == 2


def test_a_canary_without_room_leaves_all_requests_where_they_are() -> None:
    fleet = serving(rollout={"steps": STEPS})
    fleet.gpus = 2
    fleet.upload(4)
    run(fleet)
    assert taking(fleet) == (2, 0)
    assert fleet.status.phase.startswith("WaitingForGPU")
    assert now(fleet).waiting_for == PODS


def test_rows_and_events_tell_of_each_step() -> None:
    fleet = serving(rollout={"steps": STEPS})
    fleet.upload(4)
    told = []
    for minutes in (0, 2, 0):
        fleet.now += timedelta(minutes=minutes)
        if told and told[-1].reason == "RolloutPaused":
            fleet.annotations["slipway.dev/approve"] = "4/2"
        for _ in range(30):
            fleet.poll()
            told += [e for e in fleet.operate().events if e.reason.startswith("Rollout")]
            list(fleet.turn())
        if minutes == 2:
            states = {row.version: row.state.value for row in fleet.status.versions}
            assert states == {4: "Canary", 3: "Available"}
    assert [(event.reason.value, event.warning) for event in told] == [
        ("RolloutStep", False),
        ("RolloutPaused", False),
        ("RolloutPromoted", False),
    ]
    assert "33% of requests (10% were asked for)" in told[0].message


def test_the_hash_of_the_steps_is_the_same_in_every_release() -> None:
    """Another one would begin every rollout under way anew."""
    assert now(rolling()).plan == "9d7ff3c800fb9f90"
    plans = {
        now(rolling(rollout={"steps": [{"weight": 10}, last]})).plan
        for last in (
            {"weight": 50, "pause": {}},
            {"weight": 50, "pause": {"duration": ""}},
            {"weight": 51, "pause": {}},
        )
    }
    assert len(plans) == 2


def test_a_field_that_a_release_adds_does_not_begin_rollouts_anew() -> None:
    class Later(RolloutStep):
        mirror: bool = False

    steps = [{"weight": 10, "pause": {}}, {"weight": 50}]
    spec = Rollout.model_validate({"steps": steps})
    added = spec.model_copy(update={"steps": [Later.model_validate(step) for step in steps]})
    assert plan_of(spec) == plan_of(added)
    without = Rollout.model_validate({"steps": [{"weight": 10}, {"weight": 50}]})
    assert plan_of(spec) != plan_of(without)
