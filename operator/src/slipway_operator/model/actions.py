"""What a plan asks for, as data. The shell in `cluster.apply` executes it without a decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from slipway_operator.api.conditions import EventReason, Reason
from slipway_operator.api.status import ModelStatus


@dataclass(frozen=True, slots=True)
class CreateDeployment:
    """Create it; an existing one of that name is never written over."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScaleDeployment:
    """Set its replicas: the only change a Deployment of ours ever sees."""

    name: str
    uid: str
    replicas: int


@dataclass(frozen=True, slots=True)
class DeleteDeployment:
    """Delete an empty Deployment."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ApplyService:
    """Server-side apply of a Service."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteService:
    """Delete a Service of a version or a transition that has ended."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ApplyBudget:
    """Server-side apply of the PodDisruptionBudget."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteBudget:
    """Delete the PodDisruptionBudget."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class RotatePod:
    """Put a live pod into the rotation of a mixed transition, or take its mark away at the end."""

    name: str
    uid: str
    rotate: bool


@dataclass(frozen=True, slots=True)
class CreateClaim:
    """Create the Model's own PersistentVolumeClaim; one that exists is never written over."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GrowClaim:
    """Ask for more bytes: the only change a claim of ours ever sees."""

    name: str
    uid: str
    size: int


@dataclass(frozen=True, slots=True)
class ApplyKeep:
    """Server-side apply of the ConfigMap that says what has to stay in the cache."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApplyWatcher:
    """Server-side apply of the Deployment that lists a volume."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteWatcher:
    """Delete it: the source lies elsewhere now."""

    name: str
    uid: str


Action = (
    CreateDeployment
    | ScaleDeployment
    | DeleteDeployment
    | ApplyService
    | DeleteService
    | ApplyBudget
    | DeleteBudget
    | RotatePod
    | CreateClaim
    | GrowClaim
    | ApplyKeep
    | ApplyWatcher
    | DeleteWatcher
)


@dataclass(frozen=True, slots=True)
class KubernetesEvent:
    """An Event to be recorded on the Model."""

    reason: Reason | EventReason
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcome of planning.

    Attributes:
        actions: In the order in which they may be executed; the status is written before them.
        status: The whole status; written only when it differs from what is there.
        events: Events for what changed since the status that is there.
        requeue: When to look again although nothing was seen to happen; None for never.
    """

    actions: tuple[Action, ...]
    status: ModelStatus
    events: tuple[KubernetesEvent, ...] = ()
    requeue: timedelta | None = None
