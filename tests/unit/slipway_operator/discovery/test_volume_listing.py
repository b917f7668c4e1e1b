"""What a watcher's pod and its log say about a source."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import ModelResource
from slipway_operator.discovery.volume_listing import (
    HANGING,
    SILENT,
    LastReport,
    WatcherProblem,
    current_pod,
    observation_of,
    pod_problem,
    trusted_report,
    updated_report,
)
from slipway_operator.model.observed import Container, ContainerState
from slipway_operator.model.source import Readiness
from slipway_operator.model.volume_watcher import WatchPod
from slipway_sync.exports.protocol.report import Report, ReportedVersion, Standing, Tail
from snapshots import T0, model

RUNNING = Container(ContainerState.RUNNING)
REPORT = Report(
    (
        ReportedVersion(1, "1", Standing.COMPLETE, "a" * 64, 9),
        ReportedVersion(2, "02", Standing.INCOMPLETE, "b" * 64, 5, "MissingShard", "x is missing", "x"),
    ),
    ("a warning",),
)  # fmt: skip
TAIL = Tail(7, REPORT.state, 0, REPORT)


def of() -> ModelResource:
    return model(source={"uri": "pvc://exports/digits"})


def pod(watch: Container = RUNNING, **more: Any) -> WatchPod:
    return WatchPod("digits-source-x", "p1", T0, watch=watch, **more)


def trouble(found: WatchPod | None) -> WatcherProblem:
    told = pod_problem(of(), "exports", found)
    assert told is not None
    return told


def test_a_report_is_what_a_poll_would_have_found() -> None:
    seen = observation_of(REPORT)
    assert seen.polled
    assert seen.warnings == ("a warning",)
    first, second = seen.versions
    assert (first.readiness, first.bytes, first.revision) == (Readiness.COMPLETE, 9, "a" * 64)
    assert (second.directory, second.readiness) == ("02", Readiness.INCOMPLETE)
    assert (second.reason, second.message, second.object) == ("MissingShard", "x is missing", "x")
    for standing in Standing:
        assert Readiness(standing.value)


def test_the_pod_that_takes_another_ones_place_is_listened_to() -> None:
    older, newer = pod(), replace(pod(), name="n", uid="p2", created_at=T0 + timedelta(1))
    assert current_pod([newer, older], "") == newer
    assert current_pod([replace(newer, terminating=True), older], "") == older
    assert current_pod([replace(older, ended=True)], "") is None


def test_a_pod_of_another_source_is_not_listened_to() -> None:
    """Just after an edit its log still tells, in good health, of the folder before."""
    assert current_pod([pod(inputs="before")], "now") is None
    assert current_pod([pod(inputs="before"), pod(inputs="now")], "now") == pod(inputs="now")


@pytest.mark.parametrize(
    ("found", "reason", "words", "passing"),
    [
        (None, Reason.WATCHER_NOT_READY, "Deployment digits-source) does not exist yet", True),
        (
            pod(Container(), unschedulable="0/1 nodes: claim not bound"),
            Reason.UNSCHEDULABLE, "cannot be scheduled: 0/1 nodes: claim not bound", False,
        ),
        (
            pod(Container(ContainerState.WAITING, "ImagePullBackOff", "no such image")),
            Reason.WATCHER_NOT_READY, "cannot start: ImagePullBackOff: no such image", False,
        ),
        (
            pod(Container(ContainerState.WAITING, "ContainerCreating")),
            Reason.WATCHER_NOT_READY, "has not started: ContainerCreating", True,
        ),
        (
            pod(
                Container(
                    ContainerState.WAITING, "CrashLoopBackOff", restarts=3, exit_code=137,
                    exit_reason="OOMKilled", exit_message="one\nlast words\n",
                )
            ),
            Reason.WATCHER_NOT_READY, "OOMKilled (exit code 137) (4 times): last words", False,
        ),
    ],
)  # fmt: skip
def test_the_pods_trouble_is_named(
    found: WatchPod | None, reason: Reason, words: str, *, passing: bool
) -> None:
    told = trouble(found)
    assert (told.reason, told.passing) == (reason, passing)
    assert words in told.message
    assert "exports" in told.message


def test_a_pod_that_runs_is_no_trouble() -> None:
    assert pod_problem(of(), "exports", pod()) is None
    crashed_once = replace(RUNNING, restarts=1, exit_code=1)
    assert pod_problem(of(), "exports", pod(crashed_once)) is None


def listened(
    before: LastReport | None, tail: Tail | None, seconds: float
) -> tuple[LastReport, Any]:
    now = T0 + timedelta(seconds=seconds)
    heard = updated_report(before, pod(), tail, now)
    return heard, trusted_report(of(), pod(), heard, tail, now)


def test_heartbeats_keep_a_state_good_and_silence_does_not() -> None:
    heard, told = listened(None, TAIL, 0)
    assert told == REPORT
    beat = replace(TAIL, sequence=8, report=None)
    heard, told = listened(heard, beat, 59)
    assert told == REPORT
    quiet = SILENT.total_seconds()
    assert listened(heard, beat, 59 + quiet)[1] == REPORT
    _, told = listened(heard, beat, 60 + quiet)
    assert (told.reason, told.passing) == (Reason.WATCHER_NOT_READY, False)
    assert "has reported nothing about the volume for more than 60 s" in told.message
    assert listened(heard, beat, 70 + quiet)[1] == told, "another sentence would be another write"
    assert listened(heard, replace(beat, sequence=9), 60 + quiet)[1] == REPORT


def test_a_log_that_is_empty_for_long_is_silence() -> None:
    heard, told = listened(None, None, 0)
    assert told.passing
    assert "has not reported the contents of the volume yet" in told.message
    _, told = listened(heard, None, SILENT.total_seconds() + 1)
    assert not told.passing


def test_a_new_pod_has_to_tell_it_all_anew() -> None:
    heard, _ = listened(None, TAIL, 0)
    other = replace(pod(), uid="p2")
    beat = replace(TAIL, sequence=7, report=None)
    fresh = updated_report(heard, other, beat, T0 + timedelta(hours=1))
    assert fresh.report is None
    assert isinstance(
        trusted_report(of(), other, fresh, beat, T0 + timedelta(hours=1)), WatcherProblem
    )


def test_a_heartbeat_of_another_state_is_not_taken_for_the_known_one() -> None:
    heard, _ = listened(None, TAIL, 0)
    heard, told = listened(heard, Tail(8, "another", 0, None), 1)
    assert isinstance(told, WatcherProblem)
    assert heard.report is None


def test_a_volume_that_hangs_and_one_that_cannot_be_read_are_told_apart() -> None:
    long = int(HANGING.total_seconds()) + 10
    heard, told = listened(None, TAIL, 0)
    _, told = listened(heard, replace(TAIL, sequence=8, polling_seconds=long), 1)
    assert told.reason == Reason.UNAVAILABLE
    assert "has been read for more than 60 s" in told.message
    longer = replace(TAIL, sequence=9, polling_seconds=long + 10)
    assert listened(heard, longer, 11)[1] == told, "another sentence would be another write"
    bad = Report(error_reason="NotFound", error_message="digits does not exist in the volume")
    _, told = listened(heard, Tail(8, bad.state, 0, bad), 1)
    assert (told.reason, told.passing) == ("NotFound", False)
    assert told.message == "pvc://exports/digits: digits does not exist in the volume"
