"""One frozen snapshot of everything that a plan may depend on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from slipway_operator.api.resource import ModelResource
from slipway_operator.api.verbs import Verbs
from slipway_operator.model.analysis import Interval
from slipway_operator.model.pvc import Claim, Refusal
from slipway_operator.model.retention import RetentionReport
from slipway_operator.model.routes import RefusedRoute
from slipway_operator.model.source import SourceObservation


class ContainerState(StrEnum):
    """State of a container, as the kubelet reports it."""

    ABSENT = "absent"
    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod.

    Attributes:
        reason: Reason of the current state, `ImagePullBackOff` for example.
        message: Message of the current state.
        exit_code: Exit code of the last termination; None when the container never ended.
        exit_reason: Reason of the last termination, `OOMKilled` for example.
        exit_message: Termination message of the last termination.
    """

    state: ContainerState = ContainerState.ABSENT
    reason: str = ""
    message: str = ""
    restarts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    exit_reason: str = ""
    exit_message: str = ""


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """How far a pod's sync is, from the agent's own log lines.

    Attributes:
        rate: Bytes a second, lately; 0 when nothing moves or it is not known.
    """

    bytes: int
    total_bytes: int
    files: int = 0
    total_files: int = 0
    rate: int = 0


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the Model that is Pending or Running; finished ones are not in the snapshot.

    Attributes:
        ready_at: When it last became ready, or unready.
        unschedulable: The scheduler's own sentence; empty when it is scheduled or not judged yet.
        in_rotation: Carries the rotation label.
        address: Its IP address; empty when it has none yet.
        requests: What its containers request, by resource, as it is written: `8Gi` of memory.
        lost: The node that no longer reports whether its server is ready; empty while it does.
        evicted: Why it is being removed from its node, in the words of who does it; empty otherwise.
        memory_limit: Memory limit of its server, `1500Mi` for example; empty when it has none.
    """

    name: str
    uid: str
    servable: str
    version: int
    created_at: datetime
    ready: bool = False
    ready_at: datetime | None = None
    terminating: bool = False
    in_rotation: bool = False
    scheduled_at: datetime | None = None
    unschedulable: str = ""
    unschedulable_since: datetime | None = None
    sync: Container = field(default_factory=Container)
    server: Container = field(default_factory=Container)
    progress: SyncProgress | None = None
    requests: Mapping[str, str] = field(default_factory=dict)
    lost: str = ""
    evicted: str = ""
    memory_limit: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The Deployment of a servable: a version rendered from one set of inputs.

    Attributes:
        key: Hash of the inputs that its template was rendered from.
        directory: Version directory in the source, `00000003` for 3.
        claims: Names of the PersistentVolumeClaims that its pods mount.
        edited: Its manifest as it is stored, where its pod template was changed since it was created.
        refused: Why a pod of it cannot be created, in the API server's words: a quota, say; empty otherwise.
    """

    name: str
    uid: str
    servable: str
    version: int
    key: str
    revision: str
    directory: str
    replicas: int
    created_at: datetime
    claims: frozenset[str] = frozenset()
    edited: Mapping[str, Any] | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class PreflightJob:
    """A Job that tries a servable out, without a GPU, before an old pod goes for it.

    Attributes:
        servable: Id of what it tries out.
        check: What it does, `Verify` or `Load`.
        complete: Its pod ended with success.
        failed: Why the Job controller gave it up, in its own words; empty while it has not.
        terminating: Being deleted; another one of its name can be created when it is gone.
        pod: Its newest pod, never called ready; None when there is none.
    """

    name: str
    uid: str
    servable: str
    check: str
    complete: bool = False
    failed: str = ""
    terminating: bool = False
    pod: Pod | None = None


@dataclass(frozen=True, slots=True)
class Preflights:
    """The pre-flight Jobs of a Model.

    Attributes:
        refused: Why none can be created, in the API server's words; empty when one can.
    """

    jobs: tuple[PreflightJob, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Child:
    """An object of the Model that is written by `Apply`: its manifest as it is stored."""

    name: str
    uid: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a plan may depend on.

    Attributes:
        children: Objects that `Apply` writes, by kind and name; Deployments of servables are not
            among them.
        endpoints: For each Service of ours, the uids of the pods that its EndpointSlices show ready;
            of NAME-next, or what takes its place, counting only slices that were computed for its present selector.
        caught_up: Services whose EndpointSlices were computed for their present selector.
        claim: What the Model's pods mount as cache or as source; None when it does not exist.
        refusal: What was refused when that claim was to be made, or to grow.
        foreign: `Kind/name` of objects that bear a name of ours and belong to someone else.
        selected_by: Names of the Services of others that select the pods because of spec.serving.podLabels.
        interval: The interval of a canary's analysis that is under way, or has just ended; None when there is none.
        unserved: Kinds of routes that the API server does not know; they are looked for only where a
            Model asks for routes, or had some.
        forbidden_routes: Kinds of routes that RBAC does not let the operator list; some may be there.
        refused_routes: What was refused when a route was last to be written or deleted, by kind.
        retention: What a pass of retention has to say; None when none has ended since the status was
            written.
        preflights: The pre-flight Jobs; None for a Model that has none and needs none.
    """

    model: ModelResource
    source: SourceObservation
    deployments: tuple[Deployment, ...] = ()
    pods: tuple[Pod, ...] = ()
    children: Mapping[str, Mapping[str, Child]] = field(default_factory=dict)
    endpoints: Mapping[str, frozenset[str]] = field(default_factory=dict)
    caught_up: frozenset[str] = frozenset()
    claim: Claim | None = None
    refusal: Refusal | None = None
    foreign: frozenset[str] = frozenset()
    selected_by: frozenset[str] = frozenset()
    unserved: frozenset[str] = frozenset()
    forbidden_routes: frozenset[str] = frozenset()
    refused_routes: Mapping[str, RefusedRoute] = field(default_factory=dict)
    retention: RetentionReport | None = None
    interval: Interval | None = None
    preflights: Preflights | None = None

    @property
    def verbs(self) -> Verbs:
        """What the annotations of the Model ask for."""
        return self.model.verbs

    def of_kind(self, kind: str) -> Mapping[str, Child]:
        """The children of a kind by name."""
        return self.children.get(kind, {})

    def child(self, kind: str, name: str) -> Child | None:
        """The child of that kind and name; None when there is none."""
        return self.of_kind(kind).get(name)
