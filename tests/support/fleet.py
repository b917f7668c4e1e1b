"""A small cluster for the planner: what the API server and the controllers do with its actions.

Nothing happens by itself. Each method is one step of one component (a ReplicaSet controller, the
scheduler, a kubelet, the EndpointSlice controller, a poll, one pass of the operator), so that a test
chooses the order of things. Where the real component may choose, the `Random` given to it does.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from random import Random
from typing import Any, Final

from simgateway import SimGateway
from simjobs import SimJobs
from slipway_operator.api import names
from slipway_operator.api.conditions import Reason
from slipway_operator.api.names import SELECTS_LABEL
from slipway_operator.api.quantities import parse_quantity
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.spec import ModelSpec, VersionPolicy
from slipway_operator.api.status import ModelStatus, VersionState
from slipway_operator.api.verbs import Editors, read_verbs
from slipway_operator.cluster.client import ClusterError
from slipway_operator.discovery.poll_state import wanted_versions
from slipway_operator.model import actions
from slipway_operator.model.actions import Action, Plan
from slipway_operator.model.analysis import Interval
from slipway_operator.model.observed import Child, Container, ContainerState, Observed, Pod
from slipway_operator.model.observed import Deployment as SeenDeployment
from slipway_operator.model.pvc import Claim
from slipway_operator.model.source import Readiness, SourceObservation, SourceVersion
from slipway_operator.planning.plan import plan
from slipway_operator.reconcile.refusals import Refusals
from slipway_operator.rendering.pvc import KEEP_KEY
from slipway_operator.rendering.settings import RenderSettings
from slipway_sync.exports import ExitCode, SyncOutcome, VersionDirectory

START: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BROKEN_IMAGE: Final = "registry.test/broken:1"
MEMORY_LIMIT: Final = "1500Mi"
NO_ROOM: Final = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
EXCEEDED: Final = 'pods "digits-7c9f-x2k5q" is forbidden: exceeded quota: team, limited: pods=2'
_BACK_OFF_AFTER: Final = 4
"""Restarts after which a crash loop is in so long a back-off that the tests see no more of it."""


class Behaviour(StrEnum):
    """What becomes of a pod that gets an export."""

    GOOD = "good"
    CORRUPT = "corrupt"
    """The server says that it will never be able to load it."""
    CRASHING = "crashing"
    STARVED = "starved"
    """The kernel kills its server, which needs more than its memory limit."""
    HANGING = "hanging"
    REJECTED = "rejected"
    """The agent finds, after the download, that the export is wrong."""


_EXITS: Final = {Behaviour.CORRUPT: 65, Behaviour.CRASHING: 139, Behaviour.STARVED: 137}


class Stage(StrEnum):
    """Where a pod is."""

    PENDING = "pending"
    SYNCING = "syncing"
    SYNC_BACKOFF = "sync-backoff"
    LOADING = "loading"
    SERVER_BACKOFF = "server-backoff"
    READY = "ready"


@dataclass
class SimPod:
    """A pod."""

    uid: str
    name: str
    deployment: str
    labels: dict[str, str]
    revision: str
    image: str
    created_at: datetime
    requests: Mapping[str, str]
    stage: Stage = Stage.PENDING
    ready_at: datetime | None = None
    unready_at: datetime | None = None
    scheduled_at: datetime | None = None
    synced_at: datetime | None = None
    refused_at: datetime | None = None
    terminating: bool = False
    directory: str = ""
    """What it mounts of the cache."""
    taken: bool = False
    """Deleted by someone else: what replaces it is not the planner's doing."""
    sync_exit: int | None = None
    server_exit: int | None = None
    restarts: int = 0

    @property
    def ready(self) -> bool:
        """As the Ready condition says it."""
        return self.stage is Stage.READY

    @property
    def serves(self) -> bool:
        """Whether a request to it is answered."""
        return self.ready and not self.terminating


@dataclass
class SimDeployment:
    """A Deployment and its only ReplicaSet."""

    uid: str
    manifest: dict[str, Any]
    replicas: int
    created_at: datetime
    edited: tuple[str, ...] = ()
    """Annotations of its template that someone else has added."""
    refused: str = ""
    """Why its last pod could not be created."""

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.manifest["metadata"]["labels"])


@dataclass(frozen=True)
class Slices:
    """The EndpointSlices of one Service."""

    selects: str
    ready: frozenset[str]


@dataclass(frozen=True)
class Export:
    """A version directory in the store, as it really is."""

    revision: str
    complete: bool = True


class Refused(AssertionError):  # noqa: N818 (it is an assertion about the planner)
    """The API server would have refused the write, or the planner may not have asked for it."""


def default_spec() -> dict[str, Any]:
    return {
        "source": {"uri": "s3://models/digits"},
        "transition": {"progressDeadline": "10m"},
        "serving": {"replicas": 2, "resources": {"limits": {"nvidia.com/gpu": 1}}},
    }


@dataclass
class Fleet:
    """The world of one Model."""

    spec: dict[str, Any] = field(default_factory=default_spec)
    gpus: int = 8
    no_room: str = NO_ROOM
    """What the scheduler says of a pod that gets no GPU."""
    quota: int | None = None
    """Pods that a ResourceQuota allows; terminating ones count."""
    refusal: str = EXCEEDED
    """What the API server says of a pod beyond those."""
    now: datetime = START
    generation: int = 1
    model_uid: str = "model-uid"
    status: ModelStatus = field(default_factory=ModelStatus)
    annotations: dict[str, str] = field(default_factory=dict)
    """Of the Model."""
    annotators: dict[str, str] = field(default_factory=dict)
    """Who has set which of them."""
    settings: RenderSettings = field(default_factory=lambda: RenderSettings("server:1", "sync:1"))
    exports: dict[int, Export] = field(default_factory=dict)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    source: SourceObservation = field(default_factory=SourceObservation)
    store_down: bool = False
    long_drains: set[int] = field(default_factory=set)
    """Versions whose pods do not get done with draining in a turn."""
    hidden: set[int] = field(default_factory=set)
    """Exports that someone has taken out of the store."""
    deployments: dict[str, SimDeployment] = field(default_factory=dict)
    pods: dict[str, SimPod] = field(default_factory=dict)
    services: dict[str, Child] = field(default_factory=dict)
    budgets: dict[str, Child] = field(default_factory=dict)
    noticed: dict[str, tuple[dict[str, str], bool]] = field(default_factory=dict)
    """The pods as the EndpointSlice controller last saw them: labels and readiness."""
    noticed_services: dict[str, Child] = field(default_factory=dict)
    """The Services as that controller last saw them: its watches are not ordered among themselves."""
    slices: dict[str, Slices] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    selected_by: frozenset[str] = frozenset()
    claim: Claim | None = None
    """What the pods mount as cache; None when it does not exist."""
    watcher: Child | None = None
    keep: Child | None = None
    cache: set[str] = field(default_factory=set)
    """Directories of the cache; collected, as by an agent without patience, at each sync."""
    interval: Interval | None = None
    """What the servers of a canary and of what it takes over from have counted."""
    gateway: SimGateway = field(default_factory=SimGateway)
    preflights: bool = False
    """Whether there are Jobs, so that versions are tried out before old pods go for them."""
    cpus: bool = True
    """Whether a pod of a Job finds room."""
    jobs_refused: bool = False
    """Whether the API server lets nobody create a Job."""
    jobs: SimJobs = field(default_factory=SimJobs)
    choice: Random = field(default_factory=lambda: Random(0))  # noqa: S311 (a test's choices)
    _count: int = 0
    _parsed: ModelSpec = field(init=False)
    refusals: Refusals = field(init=False)

    def __post_init__(self) -> None:
        self._parsed = ModelSpec.model_validate(self.spec)
        self.refusals = Refusals(lambda: self.now)

    # What a person does ---------------------------------------------------------------------------

    @property
    def model(self) -> ModelResource:
        """The Model as the API server holds it."""
        return ModelResource(
            namespace="ml",
            name="digits",
            uid=self.model_uid,
            generation=self.generation,
            resource_version=str(self._count),
            spec=self._parsed,
            status=self.status,
            verbs=read_verbs(self.annotations),
            editors=Editors("kubectl-edit", self.annotators),
        )

    def annotate(self, name: str, value: str | None, by: str = "kubectl") -> None:
        """Annotate the Model, or take an annotation away."""
        self.annotations.pop(name, None)
        if value is not None:
            self.annotations[name] = value
            self.annotators[name] = by

    def recreate(self) -> None:
        """Delete the Model and create it again under its name; its pods are still on their way out."""
        self.jobs = SimJobs()
        for name in list(self.deployments):
            self._delete_deployment(name)
        for pod in self.pods.values():
            pod.taken = True
        self.services.clear()
        self.noticed_services.clear()
        self.slices.clear()
        self.budgets.clear()
        if self.claim and self.claim.owned:
            self.claim = None
        self.watcher = self.keep = None
        self.status = ModelStatus()
        self.source = SourceObservation()
        self.generation = 1
        self.model_uid = self._uid("model")

    def edit(self, **parts: Mapping[str, Any] | bool) -> None:
        """Edit the spec: each part is merged, a policy of versions is replaced."""
        spec = dict(self.spec)
        for name, value in parts.items():
            merged = isinstance(value, Mapping) and name != "versions"
            spec[name] = {**(spec.get(name) or {}), **value} if merged else value  # type: ignore[dict-item]
        self._parsed = ModelSpec.model_validate(spec)
        self.spec = spec
        self.generation += 1

    def upload(
        self, version: int, behaviour: Behaviour = Behaviour.GOOD, *, complete: bool = True
    ) -> None:
        """Put an export into the store, or replace the one of that number."""
        self._count += 1
        self.hidden.discard(version)
        revision = f"{version:02x}{self._count:062x}"
        self.behaviours[revision] = behaviour
        self.exports[version] = Export(revision, complete)

    @property
    def listed(self) -> set[int]:
        """Versions that the store holds."""
        return set(self.exports) - self.hidden

    def finish_upload(self, version: int) -> None:
        """The rest of an upload arrives; its listing, and so its revision, changes."""
        before = self.exports[version]
        self.upload(version, self.behaviours[before.revision])

    # The operator ---------------------------------------------------------------------------------

    def poll(self) -> None:
        """The poller lists the store: versions that the policy asks for, until there are enough."""
        if self.store_down:
            self.source = replace(
                self.source, polled=True, error_reason=Reason.UNAVAILABLE, error_message="no answer"
            )
            return
        policy: VersionPolicy = self.model.versions
        listed = tuple(VersionDirectory(number, str(number)) for number in sorted(self.listed))
        bad = {
            row.version
            for row in self.status.versions
            if row.state in (VersionState.FAILED, VersionState.ROLLED_BACK, VersionState.REJECTED)
        }
        found: dict[int, SourceVersion] = {}
        complete = 0
        limit = policy.latest
        for directory in wanted_versions(policy, listed):
            if limit is not None and complete >= limit:
                break
            number = directory.number
            found[number] = self._looked_at(number)
            complete += self.exports[number].complete and number not in bad
        self.source = SourceObservation(
            polled=True,
            versions=tuple(
                found.get(d.number) or SourceVersion(d.number, d.name, "", 0, Readiness.UNSEEN)
                for d in listed
            ),
        )

    def _looked_at(self, number: int) -> SourceVersion:
        export = self.exports[number]
        if export.complete:
            return SourceVersion(number, str(number), export.revision, 9, Readiness.COMPLETE)
        shard = "variables/variables.data-00000-of-00001"
        return SourceVersion(
            number, str(number), export.revision, 5, Readiness.INCOMPLETE,
            Reason.MISSING_SHARD, f"{shard} is missing", shard,
        )  # fmt: skip

    def restart_operator(self) -> None:
        """A new process remembers nothing of the source."""
        self.source = SourceObservation()
        self.interval = None
        self.refusals = Refusals(lambda: self.now)

    def observe(self) -> Observed:
        """The snapshot that the operator reads."""
        endpoints = {}
        caught_up = set()
        for name, child in self.services.items():
            shown = self.slices.get(name)
            current = child.manifest["metadata"]["labels"][SELECTS_LABEL]
            if shown is not None and shown.selects == current:
                caught_up.add(name)
            tried = name.startswith(names.next_service(self.model.name))
            valid = shown is not None and (not tried or shown.selects == current)
            endpoints[name] = shown.ready if shown is not None and valid else frozenset()
        seen = Observed(
            model=self.model,
            source=self.source,
            deployments=tuple(_seen_deployment(d) for _, d in sorted(self.deployments.items())),
            pods=tuple(self._seen_pod(pod) for pod in self.pods.values()),
            children={
                "Service": dict(self.services),
                "PodDisruptionBudget": dict(self.budgets),
                "ConfigMap": {self.keep.name: self.keep} if self.keep else {},
                "Deployment": {self.watcher.name: self.watcher} if self.watcher else {},
                **self.gateway.children(),
            },
            unserved=self.gateway.unserved if self.model.spec.gateway else frozenset(),
            forbidden_routes=self.gateway.forbidden,
            endpoints=endpoints,
            caught_up=frozenset(caught_up),
            claim=self.claim,
            foreign=self.foreign,
            selected_by=self.selected_by,
            interval=self.interval,
            preflights=self.jobs.seen(self._seen_pod) if self.preflights else None,
        )
        return self.refusals.add(seen)

    def plan(self) -> Plan:
        """What the operator would do now."""
        return plan(self.observe(), self.settings, self.now)

    def operate(self) -> Plan:
        """One pass of the operator: the status, then every action."""
        planned = self.plan()
        self.write_status(planned)
        for action in planned.actions:
            try:
                self.write(action)
            except ClusterError as error:
                if not self.refusals.take(self.observe(), action, error):
                    raise
            else:
                self.refusals.succeeded(self.observe(), action)
        return planned

    def write_status(self, planned: Plan) -> None:
        """Write the status, as JSON that the schema of the status can hold."""
        self.status = ModelStatus.model_validate(planned.status.as_manifest())

    def write(self, action: Action) -> None:
        """What the API server does with an action."""
        match action:
            case actions.CreateDeployment(manifest):
                self._create(dict(manifest))
            case actions.ScaleDeployment(name, uid, replicas):
                self._ours(self.deployments[name].uid, uid)
                self.deployments[name].replicas = replicas
            case actions.Apply(manifest):
                self._apply(manifest)
            case actions.Delete(kind, name, uid):
                self._delete(kind, name, uid)
            case actions.RotatePod(name, uid, rotate):
                self._rotate(name, uid, rotate=rotate)
            case actions.CreateJob(manifest):
                self._create_job(manifest)
            case _:
                self._write_for_volumes(action)

    def _write_for_volumes(self, action: Action) -> None:
        match action:
            case actions.CreateClaim(manifest):
                if self.claim:
                    raise Refused("the claim exists")
                spec = manifest["spec"]
                size = parse_quantity(spec["resources"]["requests"]["storage"])
                modes = frozenset(spec["accessModes"])
                self.claim = Claim(
                    manifest["metadata"]["name"], self._uid("claim"), modes, "Pending",
                    owned=True, requested=size,
                )  # fmt: skip
            case actions.GrowClaim(_, uid, size):
                assert self.claim
                self._ours(self.claim.uid, uid)
                if size <= self.claim.requested:
                    raise Refused("a claim does not shrink")
                self.claim = replace(self.claim, requested=size)
            case _:
                raise Refused(f"nobody knows {action}")

    def _apply(self, manifest: Mapping[str, Any]) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        match kind:
            case "Service":
                self.services[name] = self._applied(self.services.get(name), manifest)
            case "PodDisruptionBudget":
                self.budgets[name] = self._applied(self.budgets.get(name), manifest)
            case "ConfigMap":
                self.keep = self._applied(self.keep, manifest)
            case names.HTTP_ROUTE | names.GRPC_ROUTE:
                self.gateway.apply(manifest, self._applied)
            case "Deployment" if name == names.watcher(self.model.name):
                self.watcher = self._applied(self.watcher, manifest)
            case _:
                raise Refused(f"nobody may apply {kind} {name}")

    def _delete(self, kind: str, name: str, uid: str) -> None:
        match kind:
            case "Service":
                self._ours(self.services[name].uid, uid)
                del self.services[name]
                self.slices.pop(name, None)
                self.noticed_services.pop(name, None)
            case "PodDisruptionBudget":
                self._ours(self.budgets[name].uid, uid)
                del self.budgets[name]
            case names.HTTP_ROUTE | names.GRPC_ROUTE:
                self.gateway.delete(kind, uid)
            case "Job":
                self._ours(self.jobs.uid(name), uid)
                self.jobs.delete(name)
            case "Deployment" if self.watcher and self.watcher.name == name:
                self._ours(self.watcher.uid, uid)
                self.watcher = None
            case "Deployment":
                self._ours(self.deployments[name].uid, uid)
                self._delete_deployment(name)
            case _:
                raise Refused(f"nobody may delete {kind} {name}")

    def _create_job(self, manifest: Mapping[str, Any]) -> None:
        if self.jobs_refused:
            raise ClusterError(
                "jobs.batch is forbidden: exceeded quota: team, limited: jobs=0", 403
            )
        name = manifest["metadata"]["name"]
        if self.jobs.uid(name):
            raise Refused(f"Job {name} exists")
        labels = manifest["metadata"]["labels"]
        [main] = manifest["spec"]["template"]["spec"]["containers"]
        uid = self._uid("job")
        pod = SimPod(
            uid=f"{uid}-pod",
            name=f"{name}-pod",
            deployment="",
            labels=dict(labels),
            revision=manifest["metadata"]["annotations"][names.REVISION_ANNOTATION],
            image=main["image"],
            created_at=self.now,
            requests={},
        )
        self.jobs.create(
            name, uid, manifest["metadata"]["annotations"][names.CHECK_ANNOTATION], pod
        )

    def _create(self, manifest: dict[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        if name in self.deployments:
            raise Refused(f"Deployment {name} exists")
        if f"Deployment/{name}" in self.foreign:
            raise Refused(f"Deployment {name} belongs to someone else")
        self.deployments[name] = SimDeployment(
            self._uid("deployment"), manifest, manifest["spec"]["replicas"], self.now
        )

    def _applied(self, before: Child | None, manifest: Mapping[str, Any]) -> Child:
        name = manifest["metadata"]["name"]
        if f"{manifest['kind']}/{name}" in self.foreign:
            raise Refused(f"{manifest['kind']} {name} belongs to someone else")
        uid = before.uid if before else self._uid(name)
        # An item of a list: without kind and version, with what the API server adds.
        stored = {
            "metadata": {**manifest["metadata"], "uid": uid, "managedFields": []},
            "spec": {"sessionAffinity": "None", **manifest.get("spec", {})},
            "data": manifest.get("data", {}),
        }
        return Child(name, uid, stored)

    def _rotate(self, name: str, uid: str, *, rotate: bool) -> None:
        pod = next((p for p in self.pods.values() if p.name == name), None)
        if pod is None:
            raise Refused(f"there is no pod {name}")
        self._ours(pod.uid, uid)
        if rotate:
            pod.labels[names.ROTATION_LABEL] = names.ROTATION_IN
        else:
            pod.labels.pop(names.ROTATION_LABEL, None)

    @staticmethod
    def _ours(actual: str, expected: str) -> None:
        if actual != expected:
            raise Refused(f"uid {expected} expected, {actual} found")

    # The controllers ------------------------------------------------------------------------------

    def replicate(self, name: str) -> bool:
        """The ReplicaSet controller looks at one Deployment; tells whether it did anything."""
        deployment = self.deployments.get(name)
        if deployment is None:
            return False
        live = [p for p in self.pods.values() if p.deployment == name and not p.terminating]
        missing = deployment.replicas - len(live)
        before, deployment.refused = deployment.refused, ""
        for n in range(missing):
            if self.quota is not None and len(self.pods) >= self.quota:
                deployment.refused = self.refusal
                return n > 0 or not before
            self._create_pod(deployment)
        for pod in self.victims(live)[: max(0, -missing)]:
            pod.terminating = True
        return missing != 0

    def victims(self, live: list[SimPod]) -> list[SimPod]:
        """The order in which the ReplicaSet controller deletes pods.

        Among pods that are ready it goes by logarithmic age and then by uid: as good as any order.
        """
        shuffled = sorted(live, key=lambda pod: pod.uid)
        self.choice.shuffle(shuffled)
        return sorted(
            shuffled,
            key=lambda pod: (
                pod.scheduled_at is not None,
                pod.stage in (Stage.LOADING, Stage.SERVER_BACKOFF, Stage.READY),  # phase Running
                pod.ready,
            ),
        )

    def _create_pod(self, deployment: SimDeployment) -> None:
        template = deployment.manifest["spec"]["template"]
        [server] = template["spec"]["containers"]
        uid = self._uid("pod")
        self.pods[uid] = SimPod(
            uid=uid,
            name=f"{deployment.name}-{uid}",
            deployment=deployment.name,
            labels=dict(template["metadata"]["labels"]),
            revision=deployment.manifest["metadata"]["annotations"][names.REVISION_ANNOTATION],
            image=server["image"],
            directory=cached_directory(deployment),
            requests={n: str(v) for n, v in server["resources"].get("limits", {}).items()},
            created_at=self.now,
        )

    def schedule(self) -> bool:
        """The scheduler places pods on free GPUs; a terminating pod still holds its own."""
        changed = False
        free = self.gpus - sum(pod.scheduled_at is not None for pod in self.pods.values())
        for pod in self.pods.values():
            if pod.scheduled_at is not None or pod.terminating:
                continue
            if free > 0:
                pod.scheduled_at, pod.refused_at, pod.stage = self.now, None, Stage.SYNCING
                free -= 1
                changed = True
            elif pod.refused_at is None:
                pod.refused_at = self.now
                changed = True
        return changed

    def behaviour(self, pod: SimPod) -> Behaviour:
        """What becomes of a pod."""
        if pod.image == BROKEN_IMAGE:
            return Behaviour.CRASHING
        return self.behaviours[pod.revision]

    def advance(self, pod: SimPod) -> bool:
        """The kubelet takes a pod one stage on."""
        if pod.terminating:
            return False
        match pod.stage:
            case Stage.SYNCING:
                self._sync(pod)
            case Stage.SYNC_BACKOFF:
                moved = self._listed_revision(pod) != pod.revision
                if self.store_down or moved or pod.sync_exit == ExitCode.REJECTED:
                    return False
                pod.stage = Stage.SYNCING
            case Stage.LOADING:
                return self._load(pod)
            case Stage.SERVER_BACKOFF:
                if pod.restarts >= _BACK_OFF_AFTER:
                    return False
                pod.stage = Stage.LOADING
            case Stage.PENDING | Stage.READY:
                return False
        return True

    def advance_job(self) -> bool:
        """The scheduler, a kubelet and the Job controller take each Job one stage on."""
        changed = False
        for job in self.jobs.running():
            pod = job.pod
            if pod.scheduled_at is None:
                if not self.cpus:
                    changed |= pod.refused_at is None
                    pod.refused_at = pod.refused_at or self.now
                    continue
                pod.scheduled_at, pod.refused_at, pod.stage = self.now, None, Stage.SYNCING
                changed = True
                continue
            changed |= self.advance(pod)
            done = (Stage.READY,) if job.check == "Load" else (Stage.LOADING, Stage.READY)
            job.complete = pod.stage in done
        return self.jobs.reap() or changed

    def _listed_revision(self, pod: SimPod) -> str:
        number = int(pod.labels[names.VERSION_LABEL])
        return self.exports[number].revision if number in self.listed else ""

    def _sync(self, pod: SimPod) -> None:
        pod.stage = Stage.SYNC_BACKOFF
        if self.store_down:
            pod.sync_exit = ExitCode.SOURCE_UNAVAILABLE
        elif self._listed_revision(pod) != pod.revision:
            pod.sync_exit = ExitCode.REVISION_MOVED
        elif self.behaviour(pod) is Behaviour.REJECTED:
            pod.sync_exit = ExitCode.REJECTED
        else:
            pod.sync_exit = ExitCode.SYNCED
            pod.synced_at = self.now
            pod.stage = Stage.LOADING
            self._collect(pod)

    def _collect(self, pod: SimPod) -> None:
        """The agent of a cached version puts it there and removes what need not stay."""
        if not pod.directory:
            return
        keep = self.keep.manifest["data"][KEEP_KEY] if self.keep else ""
        self.cache.add(pod.directory)
        if keep:
            self.cache &= {*json.loads(keep)["keep"], pod.directory}

    def _load(self, pod: SimPod) -> bool:
        match self.behaviour(pod):
            case Behaviour.HANGING:
                return False
            case Behaviour.CORRUPT | Behaviour.CRASHING | Behaviour.STARVED as bad:
                pod.server_exit = _EXITS[bad]
                pod.restarts += 1
                pod.stage = Stage.SERVER_BACKOFF
            case _:
                pod.stage = Stage.READY
                pod.ready_at = self.now
        return True

    def crash(self, pod: SimPod) -> None:
        """The server of a ready pod dies; the kubelet starts it again, its files are still there."""
        if pod.serves:
            pod.stage = Stage.LOADING
            pod.unready_at = self.now
            pod.restarts += 1
            pod.server_exit = 139

    def reap(self, pod: SimPod) -> None:
        """A terminating pod is gone."""
        if pod.terminating:
            del self.pods[pod.uid]

    def take(self, pod: SimPod) -> None:
        """Someone else deletes a pod."""
        pod.terminating = pod.taken = True

    def _delete_deployment(self, name: str) -> None:
        del self.deployments[name]
        for pod in self.pods.values():
            if pod.deployment == name:
                pod.terminating = True

    def edit_template(self, name: str, *annotations: str) -> None:
        """Someone edits the template of a Deployment; its controller replaces the pods in its own way."""
        self.deployments[name].edited = annotations
        for pod in self.pods.values():
            if pod.deployment == name:
                self.take(pod)

    def take_deployment(self, name: str) -> None:
        """Someone else deletes a Deployment; its pods go with it."""
        self._delete_deployment(name)

    def notice(self, uid: str) -> bool:
        """The EndpointSlice controller learns how a pod is now."""
        pod = self.pods.get(uid)
        if pod is None:
            return self.noticed.pop(uid, None) is not None
        seen = (dict(pod.labels), pod.serves)
        if self.noticed.get(uid) == seen:
            return False
        self.noticed[uid] = seen
        return True

    def notice_service(self, name: str) -> bool:
        """The EndpointSlice controller learns how a Service is now."""
        service = self.services.get(name)
        if service is None or self.noticed_services.get(name) is service:
            return False
        self.noticed_services[name] = service
        return True

    def publish(self, name: str) -> bool:
        """The EndpointSlice controller writes the slices of a Service from what it has noticed."""
        service = self.noticed_services.get(name)
        if service is None:
            return False
        spec = service.manifest["spec"]
        selector = spec["selector"].items()
        fresh = Slices(
            service.manifest["metadata"]["labels"][SELECTS_LABEL],
            frozenset(
                uid
                for uid, (labels, ready) in self.noticed.items()
                if selector <= labels.items() and (ready or spec.get("publishNotReadyAddresses"))
            ),
        )
        if self.slices.get(name) == fresh:
            return False
        self.slices[name] = fresh
        return True

    # The whole ------------------------------------------------------------------------------------

    def turn(self) -> Iterator[bool]:
        """Every component but the operator once; yields after each step whether it did anything."""
        for name in sorted(self.deployments):
            yield self.replicate(name)
        yield self.schedule()
        yield self.advance_job()
        for pod in list(self.pods.values()):
            yield self.advance(pod)
        for pod in [p for p in self.pods.values() if p.terminating]:
            if int(pod.labels[names.VERSION_LABEL]) not in self.long_drains:
                self.reap(pod)
                yield True
        for uid in {**self.pods, **self.noticed}:
            yield self.notice(uid)
        for name in sorted(self.services):
            yield self.notice_service(name)
            yield self.publish(name)
        yield self.gateway.turn()

    def in_rotation(self) -> list[SimPod]:
        """Pods to which the slices of NAME send requests, and that answer them."""
        shown = self.slices.get("digits")
        uids = shown.ready if shown else frozenset()
        return [pod for pod in self.pods.values() if pod.uid in uids and pod.serves]

    def pods_of(self, version: int) -> list[SimPod]:
        """The pods of one version, terminating ones included."""
        return [p for p in self.pods.values() if p.labels[names.VERSION_LABEL] == str(version)]

    def _uid(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"

    def _seen_pod(self, pod: SimPod) -> Pod:
        return Pod(
            name=pod.name,
            uid=pod.uid,
            servable=pod.labels[names.SERVABLE_LABEL],
            version=int(pod.labels[names.VERSION_LABEL]),
            created_at=pod.created_at,
            ready=pod.ready,
            ready_at=pod.ready_at if pod.ready else pod.unready_at or pod.created_at,
            terminating=pod.terminating,
            in_rotation=pod.labels.get(names.ROTATION_LABEL) == names.ROTATION_IN,
            scheduled_at=pod.scheduled_at,
            unschedulable=self.no_room if pod.refused_at else "",
            unschedulable_since=pod.refused_at,
            sync=self._seen_sync(pod),
            server=_seen_server(pod),
            requests=pod.requests,
            memory_limit=MEMORY_LIMIT,
        )

    def _seen_sync(self, pod: SimPod) -> Container:
        if pod.stage is Stage.PENDING:
            return Container()
        state = {
            Stage.SYNCING: ContainerState.RUNNING,
            Stage.SYNC_BACKOFF: ContainerState.WAITING,
        }.get(pod.stage, ContainerState.TERMINATED)
        if pod.sync_exit is None:
            return Container(state, started_at=pod.scheduled_at)
        ok = pod.sync_exit == ExitCode.SYNCED
        reason = ExitCode(pod.sync_exit).reason
        return Container(
            state,
            reason="CrashLoopBackOff" if state is ContainerState.WAITING else "",
            started_at=pod.scheduled_at if state is ContainerState.TERMINATED else None,
            finished_at=pod.synced_at,
            exit_code=pod.sync_exit,
            exit_message=SyncOutcome(
                reason=reason,
                message="" if ok else f"the sync ended with {reason}",
                object="",
                digest="sha256:1" if ok else "",
                revision=pod.revision,
                bytes=9 if ok else 0,
            ).render(),
        )


def cached_directory(deployment: SimDeployment) -> str:
    """The directory of the cache that a Deployment's servers mount, below their Model's own."""
    [server] = deployment.manifest["spec"]["template"]["spec"]["containers"]
    paths = [mount.get("subPath", "") for mount in server["volumeMounts"]]
    return next((path.partition("/")[2] for path in paths if path), "")


def _exit_reason(code: int | None) -> str:
    if code == _EXITS[Behaviour.STARVED]:
        return "OOMKilled"
    return "Error" if code else ""


def _seen_server(pod: SimPod) -> Container:
    state = {
        Stage.LOADING: ContainerState.RUNNING,
        Stage.READY: ContainerState.RUNNING,
        Stage.SERVER_BACKOFF: ContainerState.WAITING,
    }.get(pod.stage, ContainerState.WAITING)
    message = ""
    if pod.server_exit == 65:
        message = '{"reason": "LoadFailed", "message": "the graph cannot be parsed"}'
    return Container(
        state,
        reason="CrashLoopBackOff" if pod.stage is Stage.SERVER_BACKOFF else "",
        restarts=pod.restarts,
        started_at=pod.synced_at,
        finished_at=pod.unready_at,
        exit_code=pod.server_exit,
        exit_reason=_exit_reason(pod.server_exit),
        exit_message=message,
    )


def _edited(deployment: SimDeployment) -> dict[str, Any]:
    """The manifest with the edit, and with whom the API server notes for each field."""
    manifest = deepcopy(deployment.manifest)
    manifest["spec"]["template"]["metadata"]["annotations"] |= dict.fromkeys(deployment.edited, "x")
    added: dict[str, Any] = {f"f:{name}": {} for name in deployment.edited}
    manifest["metadata"]["managedFields"] = [
        {
            "manager": manager,
            "fieldsV1": {"f:spec": {"f:template": {"f:metadata": {"f:annotations": set_}}}},
        }
        for manager, set_ in ((names.FIELD_MANAGER, {}), ("kubectl-edit", added))
    ]
    return manifest


def _seen_deployment(deployment: SimDeployment) -> SeenDeployment:
    annotations = deployment.manifest["metadata"]["annotations"]
    servable = deployment.labels[names.SERVABLE_LABEL]
    return SeenDeployment(
        name=deployment.name,
        uid=deployment.uid,
        servable=servable,
        version=int(deployment.labels[names.VERSION_LABEL]),
        key=servable.rpartition("-")[2],
        revision=annotations[names.REVISION_ANNOTATION],
        directory=annotations[names.DIRECTORY_ANNOTATION],
        replicas=deployment.replicas,
        created_at=deployment.created_at,
        claims=claims_of(deployment),
        edited=_edited(deployment) if deployment.edited else None,
        refused=deployment.refused,
    )


def claims_of(deployment: SimDeployment) -> frozenset[str]:
    """The claims that a Deployment's pods mount."""
    volumes = deployment.manifest["spec"]["template"]["spec"]["volumes"]
    mounted = (volume.get("persistentVolumeClaim") for volume in volumes)
    return frozenset(claim["claimName"] for claim in mounted if claim)
