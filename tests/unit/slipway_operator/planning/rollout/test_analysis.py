"""What counts of an interval say of a canary, and what follows."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fleet import START, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.rollout import Analysis
from slipway_operator.api.status import RolloutStatus
from slipway_operator.model.analysis import Counters, Interval
from slipway_operator.planning.rollout.analysis import Outcome, percentile, verdict
from slipway_operator.planning.rollout.record import ANALYSIS, canary_of, stable_of

INF = float("inf")
MINUTE = timedelta(minutes=1)


def counted(requests: int, errors: int = 0, seconds: float = 0.004) -> Counters:
    """All requests took as long."""
    limits = (0.005, 0.01, 0.025, 0.05, 0.1, INF)
    return Counters(requests, errors, {at: requests if at >= seconds else 0 for at in limits})


GOOD = counted(1000, 2)


def judged(
    new: Counters, old: Counters = GOOD, unread: str = "", **spec: Any
) -> tuple[Outcome, str]:
    interval = Interval("v4-k", 1, START, START + MINUTE, new, old, unread)
    found = verdict(Analysis.model_validate(spec), interval)
    return found.outcome, found.message


@pytest.mark.parametrize(
    ("new", "spec", "outcome"),
    [
        (counted(1000, 2), {}, Outcome.GOOD),
        (counted(1000, 12), {}, Outcome.GOOD),  # one point above, as may be
        (counted(1000, 13), {}, Outcome.WORSE),
        (counted(100, 100), {}, Outcome.WORSE),
        (counted(1000, 500), {"errorRate": {"maxIncrease": "50%"}}, Outcome.GOOD),
        (counted(1000, 503), {"errorRate": {"maxIncrease": "50%"}}, Outcome.WORSE),
        (counted(1000, 3), {"errorRate": {"maxIncrease": "0%"}}, Outcome.WORSE),
        (counted(1000, 1), {"errorRate": {"maxIncrease": "0%"}}, Outcome.GOOD),  # it is better
        (counted(99, 99), {}, Outcome.UNKNOWN),
        (counted(0), {}, Outcome.UNKNOWN),
        (counted(99, 99), {"onTooFewRequests": "Pass"}, Outcome.GOOD),
        (counted(99), {"onTooFewRequests": "Fail"}, Outcome.WORSE),
        (counted(99, 99), {"minimumRequests": 99}, Outcome.WORSE),
        (counted(1000, 2, 0.09), {}, Outcome.GOOD),  # durations are not compared unless asked for
        (counted(1000, 2, 0.09), {"latency": {}}, Outcome.WORSE),
        (counted(1000, 2, 0.09), {"latency": {"maxRatio": 30}}, Outcome.GOOD),
        (counted(1000, 2, 0.09), {"latency": {"minimumIncrease": "1s"}}, Outcome.GOOD),
        (counted(1000, 2, 7.0), {"latency": {}}, Outcome.WORSE),
        (counted(1000, 2, 0.004), {"latency": {"maxRatio": 1}}, Outcome.GOOD),
    ],
)
def test_the_outcome_of_an_interval(new: Counters, spec: dict[str, Any], outcome: Outcome) -> None:
    assert judged(new, **spec)[0] is outcome


@pytest.mark.parametrize("spec", [{"onTooFewRequests": "Pass"}, {"onTooFewRequests": "Fail"}])
def test_counts_that_are_missing_are_no_question_of_traffic(spec: dict[str, Any]) -> None:
    assert judged(counted(0), unread="no answer", **spec) == (Outcome.UNKNOWN, "no answer")


def test_an_old_version_without_requests_says_nothing() -> None:
    assert judged(counted(1000, 1000), counted(0))[0] is Outcome.UNKNOWN


def test_the_sentence_has_the_numbers() -> None:
    assert judged(counted(1000, 30))[1] == (
        "3.00% of 1000 requests failed, 0.20% of 1000 with the old version: more than 1 points above "
        "(errorRate.maxIncrease)"
    )


def test_percentiles() -> None:
    spread = Counters(100, 0, {0.1: 50, 0.2: 90, 1.0: 100, INF: 100})
    assert percentile(spread, 50) == 0.1
    assert percentile(spread, 99) == pytest.approx(0.92)
    assert (
        percentile(Counters(10, 0, {0.1: 5, INF: 10}), 99) == 0.1
    )  # it is longer, nobody knows by how much
    assert percentile(Counters(), 99) == 0


# What follows from it ---------------------------------------------------------------------------

SAVING = {"policy": "AvailabilityPreserving"}
FRUGAL = {"policy": "ResourcePreserving"}
STEPS = [{"weight": 50, "pause": {"duration": "2m"}}, {"weight": 50, "pause": {}}]


def rolling(replicas: int = 2, **edits: Any) -> Fleet:
    """The canary of version 4 has its pods, and its first interval begins."""
    edits.setdefault("rollout", {"steps": STEPS, "analysis": {}})
    fleet = serving(serving={"replicas": replicas}, **edits)
    fleet.gpus = 30
    fleet.upload(4)
    run(fleet)
    begins(fleet)
    return run(fleet)


def now(fleet: Fleet) -> RolloutStatus:
    assert fleet.status.rollout, fleet.status
    return fleet.status.rollout


def begins(fleet: Fleet) -> None:
    rollout = now(fleet)
    fleet.interval = Interval(canary_of(rollout), rollout.step, fleet.now)


def ends(fleet: Fleet, new: Counters, old: Counters = GOOD) -> None:
    """A minute passes, the operator takes up what was counted, and the next interval begins."""
    since = fleet.interval.since if fleet.interval else fleet.now
    fleet.now += MINUTE
    rollout = now(fleet)
    fleet.interval = Interval(canary_of(rollout), rollout.step, since, fleet.now, new, old)
    fleet.operate()
    fleet.interval = Interval(canary_of(rollout), rollout.step, fleet.now, follows=True)
    list(fleet.turn())


def taking(fleet: Fleet, version: int) -> int:
    pods = fleet.pods_of(version)
    return sum(pod in pods for pod in fleet.in_rotation())


@pytest.mark.parametrize(
    ("policy", "replicas"), [(SAVING, 2), (SAVING, 1), (FRUGAL, 2), (FRUGAL, 4), (FRUGAL, 9)]
)
def test_a_worse_version_takes_no_request_any_more_and_is_not_tried_again(
    policy: dict[str, str], replicas: int
) -> None:
    fleet = rolling(replicas, transition=policy)
    assert taking(fleet, 4) > 0
    ends(fleet, counted(1000, 900))
    for _ in range(3):
        fleet.operate()
        list(fleet.turn())
        assert fleet.in_rotation()
    assert taking(fleet, 4) == 0
    fleet.interval = None
    run(fleet)
    assert (taking(fleet, 3), len(fleet.pods)) == (replicas, replicas)
    assert (fleet.status.phase, fleet.status.rollout) == ("RolledBack from 4", None)
    [row] = [row for row in fleet.status.versions if row.version == 4]
    assert (row.state, row.reason) == ("RolledBack", "AnalysisFailed")
    assert "90.00% of 1000 requests failed" in row.message
    fleet.now += timedelta(days=9)
    run(fleet)
    assert len(fleet.pods) == replicas
    fleet.annotations["slipway.dev/retry"] = "4"
    assert now(run(fleet)).version == 4


def test_a_changed_spec_that_is_worse_goes_back_to_the_spec_before() -> None:
    fleet = serving(
        serving={"replicas": 4},
        transition=FRUGAL,
        rollout={"steps": STEPS, "analysis": {}},
    )
    fleet.edit(serving={"image": "registry.test/other:1"})
    run(fleet)
    assert len(fleet.in_rotation()) == 4
    canary = canary_of(now(fleet))
    ends(fleet, counted(1000, 900))
    fleet.interval = None
    for _ in range(3):
        fleet.operate()
        list(fleet.turn())
    labels = [pod.labels["slipway.dev/servable"] for pod in fleet.in_rotation()]
    assert labels
    assert canary not in labels
    run(fleet)
    assert {pod.image for pod in fleet.in_rotation()} == {"server:1"}
    assert len(fleet.pods) == 4


def crash_old_pod(fleet: Fleet) -> None:
    stable = stable_of(now(fleet))
    old = [p for p in fleet.in_rotation() if p.labels["slipway.dev/servable"] == stable]
    fleet.crash(old[0])


def test_a_worse_spec_takes_no_request_after_a_kill_that_came_before_the_flip() -> None:
    """Of the changed spec, the row tells also when it has something else to say of the version."""
    fleet = serving(
        serving={"replicas": 4},
        transition=FRUGAL,
        rollout={"steps": STEPS, "analysis": {}},
    )
    fleet.edit(serving={"image": "registry.test/other:1"})
    run(fleet)
    rollout = now(fleet)
    crash_old_pod(fleet)
    fleet.now += MINUTE
    fleet.interval = Interval(
        canary_of(rollout), 1, fleet.now - MINUTE, fleet.now, counted(1000, 900), GOOD
    )
    fleet.write_status(fleet.plan())
    fleet.restart_operator()
    fleet.interval = None
    assert fleet.status.versions[0].reason not in {"RolledBack", "AnalysisFailed"}
    for _ in range(3):
        fleet.poll()
        fleet.operate()
        list(fleet.turn())
    labels = [pod.labels["slipway.dev/servable"] for pod in fleet.in_rotation()]
    assert labels
    assert canary_of(rollout) not in labels


def test_a_changed_spec_that_is_aborted_while_pods_are_missing_is_told_as_aborted() -> None:
    fleet = serving(serving={"replicas": 4}, transition=FRUGAL, rollout={"steps": STEPS})
    fleet.edit(serving={"image": "registry.test/other:1"})
    run(fleet)
    crash_old_pod(fleet)
    fleet.annotations["slipway.dev/abort"] = "3"
    fleet.poll()
    fleet.operate()
    assert fleet.status.versions[0].reason != "RolledBack"
    run(fleet)
    assert fleet.status.history[0].outcome == "Aborted"


def test_a_step_ends_only_after_an_interval_that_was_good() -> None:
    fleet = rolling()
    ends(fleet, counted(10))
    ends(fleet, counted(10))
    assert (now(fleet).step, now(fleet).waiting_for) == (1, ANALYSIS)
    assert fleet.status.phase == "Canary 50% 1/2: analysing"
    assert "too few requests: 10 requests to the new version" in fleet.status.versions[0].message
    ends(fleet, counted(1000))
    fleet.operate()
    assert (now(fleet).step, now(fleet).analysis) == (2, None)


def test_who_approves_does_not_skip_the_analysis_and_who_promotes_does() -> None:
    fleet = rolling(rollout={"steps": [{"weight": 50, "pause": {}}], "analysis": {}})
    fleet.annotations["slipway.dev/approve"] = "4/1"
    ends(fleet, counted(10))
    assert now(fleet).waiting_for == ANALYSIS
    fleet.annotations["slipway.dev/promote"] = "4"
    fleet.interval = None
    assert run(fleet).status.serving == "4"


def test_an_interval_that_began_anew_says_so() -> None:
    fleet = rolling()
    fleet.now += MINUTE / 2
    begins(fleet)
    fleet.operate()
    analysis = now(fleet).analysis
    assert analysis
    assert analysis.since == "2026-03-01T12:00:30Z"
    assert analysis.message.startswith("the interval began anew at 2026-03-01T12:00:30Z")
    ends(fleet, GOOD)
    analysis = now(fleet).analysis
    assert analysis
    assert (analysis.passed, "anew" in analysis.message) == (1, False)


def test_the_plan_asks_to_be_woken_when_an_interval_ends() -> None:
    fleet = rolling()
    assert fleet.plan().requeue == MINUTE
    fleet.now += timedelta(seconds=42)
    assert fleet.plan().requeue == timedelta(seconds=18)
    fleet.now += timedelta(seconds=20)
    assert fleet.plan().requeue == timedelta(0)
    is_read(fleet)
    assert fleet.plan().requeue == timedelta(seconds=58), "the end of the pause, which is as it was"


def is_read(fleet: Fleet) -> None:
    """The interval is over, and its servers are still being read."""
    assert fleet.interval
    fleet.interval = replace(fleet.interval, reading=True)


def test_a_pause_that_ends_while_an_interval_is_read_waits_for_what_it_shows() -> None:
    fleet = rolling()
    ends(fleet, GOOD)
    fleet.now += MINUTE
    is_read(fleet)
    fleet.operate()
    assert (now(fleet).step, now(fleet).waiting_for) == (1, ANALYSIS)
    rollout, since = now(fleet), fleet.now - MINUTE
    fleet.interval = Interval(
        canary_of(rollout), 1, since, fleet.now, counted(1000, 900), GOOD, follows=True
    )
    fleet.operate()
    fleet.interval = None
    assert run(fleet).status.phase == "RolledBack from 4"


def test_an_interval_is_written_when_it_shows_something_else_and_otherwise_every_five_minutes() -> (
    None
):
    fleet = rolling(rollout={"steps": [{"weight": 50, "pause": {}}], "analysis": {}})
    written = []
    few = counted(7)
    for new in (few, few, GOOD, GOOD, GOOD, few, *[GOOD] * 7):
        before = fleet.status
        ends(fleet, replace(new, requests=new.requests + len(written)))
        written.append(fleet.status != before)
    assert written == [
        True, False, True, False, False, True, True, False, False, False, False, True, False,
    ]  # fmt: skip
    analysis = now(fleet).analysis
    assert analysis
    assert (analysis.passed, analysis.outcome) == (3, "Good")
    assert "of 1011 requests failed" in analysis.message
    fleet.restart_operator()
    begins(fleet)
    fleet.poll()
    fleet.operate()
    again = now(fleet).analysis
    assert again
    assert (again.outcome, "began anew" in again.message) == ("", True)
    ends(fleet, GOOD)
    assert now(fleet).analysis != again


def test_counts_of_another_step_or_version_mean_nothing() -> None:
    fleet = rolling()
    rollout = now(fleet)
    for about in (("v9-other", 1), (canary_of(rollout), 2)):
        fleet.interval = Interval(*about, fleet.now, fleet.now + MINUTE, counted(1000, 1000), GOOD)
        assert now(run(fleet)).step == 1
    assert taking(fleet, 4) > 0


def test_the_same_samples_give_the_same_plan() -> None:
    fleet = rolling()
    rollout = now(fleet)
    fleet.interval = samples = Interval(
        canary_of(rollout), 1, START, START + MINUTE, counted(1000, 900), GOOD
    )
    first = fleet.plan()
    fleet.restart_operator()
    fleet.interval = samples
    fleet.poll()
    assert fleet.plan() == first
