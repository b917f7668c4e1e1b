"""What a watcher tells of a volume, as the observation that a poll of a store would be. Pure."""

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
"""A watch that has told nothing for so long is stuck; it has something to tell every 10 seconds."""
HANGING: Final = timedelta(seconds=60)
"""A look at a directory that takes so long is no look at a volume that works."""
SHORTLY: Final = timedelta(seconds=60)
"""How long a watcher's pod may take to start, or to be replaced, before anybody is told."""

_STUCK: Final = frozenset(
    {
        "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
        "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
    }
)  # fmt: skip
_MAX_MESSAGE: Final = 600


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing is told.

    Attributes:
        passing: It is like this whenever a pod starts: nothing to speak of if it ends soon.
    """

    reason: Reason
    message: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a Model's watcher.

    Attributes:
        pod: Uid of the pod that told it.
        sequence: Number of its last line.
        at: When that line was new.
        state: Of `report`.
        report: The last whole state; None before the first.
    """

    pod: str
    sequence: int
    at: datetime
    state: str = ""
    report: Report | None = None


def present_pod(pods: Iterable[WatchPod], inputs: str) -> WatchPod | None:
    """The watcher's pod; the newest, while one takes the place of another.

    Args:
        pods: All there are.
        inputs: What it must be made from: one of an earlier spec tells of another source.
    """
    fitting = (pod for pod in pods if pod.inputs == inputs)
    alive = [pod for pod in fitting if not pod.terminating and not pod.ended]
    return max(alive, key=lambda pod: (pod.created_at, pod.name), default=None)


def pod_trouble(model: ModelResource, claim: str, pod: WatchPod | None) -> Trouble | None:
    """Why a watcher's pod does not run; None when it does."""
    if pod is None:
        return Trouble(
            Reason.WATCHER_NOT_READY,
            f"the pod that lists claim {claim} (Deployment {names.watcher(model.name)}) is not "
            "there yet",
            passing=True,
        )
    what = f"pod {pod.name}, which lists claim {claim},"
    watch = pod.watch
    if pod.unschedulable:
        return Trouble(Reason.UNSCHEDULABLE, _cut(f"{what} finds no node: {pod.unschedulable}"))
    if watch.state is ContainerState.WAITING and watch.reason in _STUCK:
        return Trouble(
            Reason.WATCHER_NOT_READY, _cut(f"{what} cannot start: {watch.reason}: {watch.message}")
        )
    if watch.state is ContainerState.RUNNING:
        return None
    if watch.exit_code is not None:
        return Trouble(Reason.WATCHER_NOT_READY, _cut(f"{what} has ended: {_ending(watch)}"))
    state = watch.reason or "it is not scheduled yet"
    return Trouble(
        Reason.WATCHER_NOT_READY,
        f"{what} has not started: {state}; `kubectl describe pod {pod.name}` tells what the kubelet "
        "waits for",
        passing=True,
    )


def heard_of(before: Heard | None, pod: WatchPod, tail: Tail | None, now: datetime) -> Heard:
    """What is known after a look at the watcher's log."""
    if before is None or before.pod != pod.uid:
        before = Heard(pod.uid, -1, now)
    if tail is None:
        return before
    fresh = tail.sequence != before.sequence
    report = tail.report or (before.report if before.state == tail.state else None)
    return Heard(pod.uid, tail.sequence, now if fresh else before.at, tail.state, report)


def believed(
    model: ModelResource, pod: WatchPod, heard: Heard, tail: Tail | None, now: datetime
) -> Report | Trouble:
    """What a watcher told, or why that is not to be believed."""
    silence = now - heard.at
    if silence > SILENT:
        return Trouble(
            Reason.WATCHER_NOT_READY,
            # Without the time that has passed: a sentence that grows would be written again and again.
            f"pod {pod.name} has told nothing about the volume for more than {_seconds(SILENT)}: "
            "delete it if that lasts",
        )
    if tail is not None and timedelta(seconds=tail.polling_seconds) > HANGING:
        return Trouble(
            Reason.UNAVAILABLE,
            f"the volume does not answer: {model.spec.source.uri} has been read for more than "
            f"{_seconds(HANGING)}",
        )
    if heard.report is None:
        return Trouble(
            Reason.WATCHER_NOT_READY,
            f"pod {pod.name} has not told yet what the volume holds",
            passing=True,
        )
    if heard.report.error_reason:
        return Trouble(
            reason_of(heard.report.error_reason, Reason.UNAVAILABLE),
            f"{model.spec.source.uri}: {heard.report.error_message}",
        )
    return heard.report


def observation_of(report: Report) -> SourceObservation:
    """What a report says about the source."""
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
