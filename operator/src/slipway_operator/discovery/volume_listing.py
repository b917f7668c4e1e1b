"""From a watcher's pod and log to the observation that a poll of a store would be. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api import names
from slipway_operator.api.conditions import Reason, reason_of
from slipway_operator.api.resource import ModelResource
from slipway_operator.model.observed import Container, ContainerState
from slipway_operator.model.source import (
    Readiness,
    SourceObservation,
    SourceVersion,
    export_reason,
)
from slipway_operator.model.volume_watcher import WatchPod
from slipway_sync.exports.protocol.report import Report, ReportedVersion, Tail

SILENT: Final = timedelta(seconds=60)
"""A watch whose log has not grown for so long is stuck; it writes a line every 10 seconds."""
HANGING: Final = timedelta(seconds=60)
"""A volume that has not been read for so long does not work."""
SHORTLY: Final = timedelta(seconds=60)
"""How long a watcher's pod may take to start, or to be replaced, before the status says so."""

_STUCK: Final = frozenset(
    {
        "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
        "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
    }
)  # fmt: skip
_MAX_MESSAGE: Final = 600


@dataclass(frozen=True, slots=True)
class WatcherProblem:
    """Why a watcher's report cannot be used.

    Attributes:
        reason: CamelCase, of the condition SourceReady.
        passing: Normal while a pod starts: not reported if it ends soon.
    """

    reason: Reason
    message: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class LastReport:
    """The last report in a watcher's log.

    Attributes:
        pod: Uid of the pod whose log it is.
        sequence: Number of the last line; -1 before the first.
        at: When that line was first read.
        state: Hash that the last line gives of the volume's state; its whole report may be further up.
        report: The last whole report; None before the first.
    """

    pod: str
    sequence: int
    at: datetime
    state: str = ""
    report: Report | None = None


def current_pod(pods: Iterable[WatchPod], inputs: str) -> WatchPod | None:
    """The watcher's pod; the newest, while one takes the place of another.

    Args:
        pods: All pods of the watcher's Deployment.
        inputs: Hash of what it must be made from: a pod of an earlier spec lists another source.
    """
    fitting = (pod for pod in pods if pod.inputs == inputs)
    alive = [pod for pod in fitting if not pod.terminating and not pod.ended]
    return max(alive, key=lambda pod: (pod.created_at, pod.name), default=None)


def pod_problem(model: ModelResource, claim: str, pod: WatchPod | None) -> WatcherProblem | None:
    """Why a watcher's pod does not run; None when it does."""
    if pod is None:
        return WatcherProblem(
            Reason.WATCHER_NOT_READY,
            f"the pod that lists claim {claim} (Deployment {names.watcher(model.name)}) "
            "does not exist yet",
            passing=True,
        )
    what = f"pod {pod.name}, which lists claim {claim},"
    watch = pod.watch
    if pod.unschedulable:
        return WatcherProblem(
            Reason.UNSCHEDULABLE, _cut(f"{what} cannot be scheduled: {pod.unschedulable}")
        )
    if watch.state is ContainerState.WAITING and watch.reason in _STUCK:
        return WatcherProblem(
            Reason.WATCHER_NOT_READY, _cut(f"{what} cannot start: {watch.reason}: {watch.message}")
        )
    if watch.state is ContainerState.RUNNING:
        return None
    if watch.exit_code is not None:
        return WatcherProblem(Reason.WATCHER_NOT_READY, _cut(f"{what} has ended: {_ending(watch)}"))
    state = watch.reason or "it is not scheduled yet"
    return WatcherProblem(
        Reason.WATCHER_NOT_READY,
        f"{what} has not started: {state}; `kubectl describe pod {pod.name}` shows what the "
        "kubelet is waiting for",
        passing=True,
    )


def updated_report(
    before: LastReport | None, pod: WatchPod, tail: Tail | None, now: datetime
) -> LastReport:
    """The last report, after the end of the watcher's log was read again."""
    if before is None or before.pod != pod.uid:
        before = LastReport(pod.uid, -1, now)
    if tail is None:
        return before
    fresh = tail.sequence != before.sequence
    report = tail.report or (before.report if before.state == tail.state else None)
    return LastReport(pod.uid, tail.sequence, now if fresh else before.at, tail.state, report)


def trusted_report(
    model: ModelResource, pod: WatchPod, last: LastReport, tail: Tail | None, now: datetime
) -> Report | WatcherProblem:
    """The last report, or why it cannot be relied on."""
    silence = now - last.at
    if silence > SILENT:
        return WatcherProblem(
            Reason.WATCHER_NOT_READY,
            # Without the time that has passed: a sentence that grows would be written again and again.
            f"pod {pod.name} has reported nothing about the volume for more than {_seconds(SILENT)}: "
            "delete it if this persists",
        )
    if tail is not None and timedelta(seconds=tail.polling_seconds) > HANGING:
        return WatcherProblem(
            Reason.UNAVAILABLE,
            f"the volume does not answer: {model.spec.source.uri} has been read for more than "
            f"{_seconds(HANGING)}",
        )
    if last.report is None:
        return WatcherProblem(
            Reason.WATCHER_NOT_READY,
            f"pod {pod.name} has not reported the contents of the volume yet",
            passing=True,
        )
    if last.report.error_reason:
        return WatcherProblem(
            reason_of(last.report.error_reason, Reason.UNAVAILABLE),
            f"{model.spec.source.uri}: {last.report.error_message}",
        )
    return last.report


def observation_of(report: Report) -> SourceObservation:
    """A report as an observation of the source."""
    return SourceObservation(
        polled=True,
        versions=tuple(_version(version) for version in report.versions),
        warnings=report.warnings,
    )


def _version(version: ReportedVersion) -> SourceVersion:
    return SourceVersion(
        number=version.number,
        directory=version.directory,
        revision=version.revision,
        bytes=version.bytes,
        readiness=Readiness(version.standing.value),
        reason=export_reason(version.reason, Readiness(version.standing.value)),
        message=version.message,
        object=version.object,
    )


def _ending(watch: Container) -> str:
    said = watch.exit_message.strip().splitlines()
    last = f": {said[-1]}" if said else ""
    times = f" ({watch.restarts + 1} times)" if watch.restarts else ""
    return f"{watch.exit_reason or 'Error'} (exit code {watch.exit_code}){times}{last}"


def _seconds(duration: timedelta) -> str:
    return f"{round(duration.total_seconds())} s"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"
