"""Why pods of a servable do not become ready: an ordered list of checks, the first finding wins."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.conditions import Reason, reason_of
from slipway_operator.api.status import VersionState
from slipway_operator.model.observed import Container, ContainerState, Deployment, Pod
from slipway_sync.exports import PASSING, ExitCode, SyncOutcome

SERVER_LOAD_FAILED: Final = 65
"""Exit code of a server that will never be able to load its version (see `--exit_on_failed_load`)."""

_CRASHES: Final = 3
"""A server that crashed so often while loading will crash again; fewer may be the node's fault."""
_OUT_OF_MEMORY: Final = "OOMKilled"
_MAX_MESSAGE: Final = 900
"""A sentence for a column and a condition, not a log."""

_STUCK_WAITING: Final = frozenset(
    {
        "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
        "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What keeps a servable's pods from serving.

    Attributes:
        state: State of the version as long as this holds.
        final: Waiting will not help: the version has failed for this revision and spec.
        urgent: A person has to know at once, although the kubelet tries again.
    """

    state: VersionState
    reason: Reason
    message: str
    final: bool = False
    urgent: bool = False


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"


def server_message(container: Container) -> str:
    """The sentence in a server's termination log, or whatever stands there."""
    try:
        parsed = json.loads(container.exit_message)
        text = str(parsed["message"])
    except (ValueError, KeyError, TypeError):
        text = container.exit_message
    return _cut(text or container.exit_reason or f"exit code {container.exit_code}")


def _sync_outcome(container: Container) -> SyncOutcome | None:
    return SyncOutcome.parse(container.exit_message) if container.exit_message else None


def _rejected_by_sync(pod: Pod) -> Finding | None:
    if pod.sync.exit_code != ExitCode.REJECTED:
        return None
    outcome = _sync_outcome(pod.sync)
    reason = reason_of(outcome.reason if outcome else "", Reason.REJECTED)
    message = outcome.message if outcome else pod.sync.exit_message
    # What the store sent, other than what it listed, may be right when the kubelet tries again.
    return Finding(VersionState.REJECTED, reason, _cut(message), final=reason not in PASSING)


def _load_failed(pod: Pod) -> Finding | None:
    if pod.server.exit_code != SERVER_LOAD_FAILED:
        return None
    return Finding(VersionState.FAILED, Reason.LOAD_FAILED, server_message(pod.server), final=True)


def _crashed(pod: Pod) -> Finding | None:
    server = pod.server
    if server.exit_code in (None, 0) or pod.ready:
        return None
    final = server.restarts >= _CRASHES
    what = f"the server in pod {pod.name} crashed {max(server.restarts, 1)} time(s), last with "
    message = f"{what}{server.exit_reason or 'Error'} (exit code {server.exit_code})"
    detail = server_message(server)
    starved = server.exit_reason == _OUT_OF_MEMORY
    if starved:
        # The log ends anywhere, and says nothing of it.
        message += (
            f": it needs more than its memory limit of {pod.memory_limit}: raise "
            "spec.serving.resources.limits.memory"
            if pod.memory_limit
            else ": it has no memory limit, and its node had no more: set "
            "spec.serving.resources.requests.memory to what it needs"
        )
    elif detail and detail != server.exit_reason:
        message += f": {detail}"
    state = VersionState.FAILED if final else VersionState.LOADING
    # With the same memory it ends the same way, and the pauses between its crashes add up to minutes.
    return Finding(state, Reason.CRASHED, _cut(message), final=final, urgent=starved)


def _unschedulable(pod: Pod) -> Finding | None:
    if not pod.unschedulable:
        return None
    return Finding(VersionState.UNSCHEDULABLE, Reason.UNSCHEDULABLE, _cut(pod.unschedulable))


def _node_lost(pod: Pod) -> Finding | None:
    if not pod.lost:
        return None
    message = (
        f"node {pod.lost} of pod {pod.name} no longer reports; Kubernetes replaces the pod when it evicts it, "
        "after 5 minutes unless spec.serving.tolerations say otherwise"
    )
    return Finding(VersionState.LOADING, Reason.NODE_LOST, _cut(message))


def _evicted(pod: Pod) -> Finding | None:
    if not pod.evicted:
        return None
    message = f"pod {pod.name} is being removed from its node: {pod.evicted}"
    return Finding(VersionState.LOADING, Reason.POD_EVICTED, _cut(message))


def _cannot_start(pod: Pod) -> Finding | None:
    for container in (pod.sync, pod.server):
        if container.state is ContainerState.WAITING and container.reason in _STUCK_WAITING:
            message = f"pod {pod.name} cannot start: {container.reason}: {container.message}"
            return Finding(VersionState.LOADING, Reason.POD_CANNOT_START, _cut(message))
    return None


def _sync_trouble(pod: Pod) -> Finding | None:
    if pod.sync.exit_code in (None, 0) or pod.server.state is ContainerState.RUNNING:
        return None
    outcome = _sync_outcome(pod.sync)
    reason = reason_of(outcome.reason if outcome else "", Reason.SYNC_FAILED)
    message = outcome.message if outcome else pod.sync.exit_message or pod.sync.exit_reason
    return Finding(VersionState.SYNCING, reason, _cut(message))


_CHECKS: Final[tuple[Callable[[Pod], Finding | None], ...]] = (
    _rejected_by_sync,  # The export is wrong, and only the download could tell.
    _load_failed,  # TensorFlow says no.
    _crashed,  # Native code or memory.
    _unschedulable,  # No room; nothing is wrong with the version.
    _node_lost,
    _cannot_start,  # Image, Secret or volume.
    _sync_trouble,  # The store or the volume; passes or runs into the deadline.
)


_REFUSALS: Final = (
    (re.compile(r"\bexceeded quota\b"), Reason.UNSCHEDULABLE),  # Room, as the namespace has it.
    (re.compile(r"\bviolates PodSecurity\b"), Reason.POD_SECURITY_VIOLATION),
    (
        re.compile(r"\b(maximum|minimum) \S+ usage per \w+ is\b|\blimit to request ratio per\b"),
        Reason.LIMIT_RANGE_EXCEEDED,
    ),
)
"""What the API server's plugins of admission say when they refuse a pod; webhooks say anything."""


def not_created(deployment: Deployment, pods: Iterable[Pod]) -> Finding | None:
    """That pods of a Deployment are missing because admission refuses them; no scheduler has seen them."""
    live = sum(pod.servable == deployment.servable and not pod.terminating for pod in pods)
    if not deployment.refused or live >= deployment.replicas:
        return None
    message = _cut(f"a pod cannot be created: {deployment.refused}")
    reason = next(
        (reason for words, reason in _REFUSALS if words.search(deployment.refused)),
        Reason.ADMISSION_REFUSED,
    )
    return Finding(VersionState.UNSCHEDULABLE, reason, message)


def diagnose(pods: Iterable[Pod]) -> Finding | None:
    """The most telling finding about a servable's pods; None when they are well on their way."""
    ordered = sorted(pods, key=lambda pod: (pod.created_at, pod.name))
    waiting = [pod for pod in ordered if not pod.ready and not pod.terminating]
    for check in _CHECKS:
        for pod in waiting:
            if finding := check(pod):
                return finding
    if not waiting:
        return None
    # Nothing is wrong with what comes in its place; it says why it has to come.
    return next((found for pod in ordered if pod.terminating and (found := _evicted(pod))), None)


def _last_progress(pod: Pod) -> datetime:
    """The latest instant at which something came about in a pod."""
    moments = [pod.created_at, pod.scheduled_at]
    if pod.sync.exit_code == 0:
        # A sync that failed and starts over is no progress. A pod that was ready until a moment ago, such as
        # a canary's after days, has the whole time to become so again.
        moments += [pod.sync.finished_at, pod.ready_at]
    return max(moment for moment in moments if moment is not None)


def _clock_stands(pod: Pod) -> bool:
    """Waiting for hardware, for the store, or while bytes move, is not the version's fault."""
    syncing = pod.sync.state is ContainerState.RUNNING
    outcome = _sync_outcome(pod.sync)
    no_source = pod.sync.exit_code in (ExitCode.SOURCE_UNAVAILABLE, ExitCode.ACCESS_DENIED) or (
        pod.sync.exit_code == ExitCode.REJECTED
        and outcome is not None
        and outcome.reason in PASSING
    )
    return (
        bool(pod.unschedulable or pod.lost)
        or syncing
        or (no_source and pod.server.exit_code is None)
    )


def deadline(pods: Iterable[Pod], limit: timedelta) -> datetime | None:
    """When a servable whose pods show no progress has failed; None while no clock runs."""
    alive = [pod for pod in pods if not pod.terminating]
    running = [pod for pod in alive if not pod.ready and not _clock_stands(pod)]
    if not running:
        return None
    return max(_last_progress(pod) for pod in alive) + limit
