"""What a plan asks for, as data. The shell in `cluster.apply` executes it without a decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from slipway_operator.api.conditions import EventReason, Reason
from slipway_operator.api.status import ModelStatus


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of a child of whatever kind; what has our name and no child is created.

    A Deployment that serves is not applied: its template is final, since an edit would restart all
    its pods at once. `CreateDeployment` and `ScaleDeployment` are all that it needs.
    """

    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Kind of the child, `Service` for example."""
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        """Name of the child."""
        return str(self.manifest["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete this very object and none that has taken its name since."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class CreateDeployment:
    """Create the Deployment of a servable; an existing one of that name is never written over."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScaleDeployment:
    """Set the replicas of a servable's Deployment: the only change it ever sees."""

    name: str
    uid: str
    replicas: int


@dataclass(frozen=True, slots=True)
class RotatePod:
    """Put the rotation label on a live pod, or take it away at the end of a mixed transition."""

    name: str
    uid: str
    rotate: bool


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create a pre-flight Job; an existing one of that name is never written over."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CreateClaim:
    """Create the Model's own PersistentVolumeClaim; one that exists is never written over."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GrowClaim:
    """Ask for more bytes: the only change of a claim's spec that Kubernetes allows."""

    name: str
    uid: str
    size: int


Action = (
    Apply
    | Delete
    | CreateDeployment
    | ScaleDeployment
    | RotatePod
    | CreateJob
    | CreateClaim
    | GrowClaim
)


def operation(action: Action) -> str:
    """What an action does to which kind, for logs and metrics.

    >>> operation(Delete("Service", "digits-v1", "u")), operation(GrowClaim("c", "u", 1))
    ('DeleteService', 'GrowClaim')
    """
    match action:
        case Apply() | Delete():
            return f"{type(action).__name__}{action.kind}"
        case _:
            return type(action).__name__


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
