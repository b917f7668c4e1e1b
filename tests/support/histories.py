"""Drives a `Fleet` through histories, and holds the planner to its invariants at every instant.

An event is a name and a number; what the number means is the event's own business, so that any list
of pairs is a history, and every shorter list is one, too.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any, Final, TypeVar

import rollouts
from fleet import BROKEN_IMAGE, Behaviour, Fleet, Stage, cached_directory
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.names import ROTATION_LABEL, SELECTS_LABEL, SERVABLE_LABEL, VERSION_LABEL
from slipway_operator.api.spec import VersionPolicy
from slipway_operator.api.status import ModelStatus, VersionState, VersionStatus
from slipway_operator.api.verbs import Verb
from slipway_operator.cluster.client import ClusterError
from slipway_operator.model import actions
from slipway_operator.model.actions import Action, Plan
from slipway_operator.planning.capacity.scaling import Limits, limits_of
from slipway_operator.planning.decision import decide
from slipway_operator.planning.history.record import MAX_RECORDS
from slipway_operator.planning.plan import plan
from slipway_operator.planning.versions.desired import select
from slipway_operator.rendering.pvc import KEEP_KEY
from slipway_operator.rendering.settings import RenderSettings

Event = tuple[str, int]
T = TypeVar("T")

_ROUNDS: Final = 150
"""Rounds in which a fleet must come to rest: a dozen steps for each of a dozen pods."""
_WAITS: Final = 12
"""Requeues that a fleet may take to get over every deadline that runs."""
_MOST_VERSIONS: Final = 5
_MOUNTED: Final = (Stage.LOADING, Stage.READY, Stage.SERVER_BACKOFF)
_BEHAVIOURS: Final = (Behaviour.GOOD, Behaviour.GOOD, Behaviour.GOOD, *Behaviour)
_POLICIES: Final = ("AvailabilityPreserving", "ResourcePreserving")
_VERSIONS: Final[tuple[dict[str, Any], ...]] = (
    {"latest": 1},
    {"latest": 2},
    {"specific": [1]},
    {"specific": [1, 3]},
    {"specific": [2]},
    {"specific": [7]},
    {"all": True},
)


class Broken(AssertionError):  # noqa: N818 (it is an assertion)
    """An invariant does not hold; the text says which and shows the fleet."""


class History:
    """A fleet, what happens to it, and what must hold.

    Attributes:
        calm: Nothing is lost but by the planner's own doing: capacity must then hold at every
            instant. Otherwise no action of the planner may make a loss worse.
        autoscaled: The same, but an autoscaler changes the replicas: capacity is then that something
            serves at every instant, unless a transition began with one replica.
    """

    def __init__(self, fleet: Fleet, *, calm: bool = False, autoscaled: bool = False) -> None:
        self.fleet = fleet
        self.calm = self.autoscaled = False
        self.began: int | None = None
        """Replicas with which the transition under way began."""
        self.lowered: int | None = None
        """Pods in rotation that a transition without extra pods leaves, until all R take requests again."""
        self.failed: set[str] = set()
        self.were_ready: set[int] = set()
        """Versions of which a pod has been ready."""
        self.come_to_rest()
        self.calm = calm
        self.autoscaled = autoscaled

    def play(self, events: list[Event]) -> None:
        """Play a history."""
        for name, number in events:
            EVENTS[name](self, number)
            self.check_instant()

    # The operator ---------------------------------------------------------------------------------

    def operate(self, writes: int | None = None) -> bool:
        """One pass of the operator, killed before the write of that number; True if it wrote."""
        fleet = self.fleet
        planned = self._plan_twice()
        rollouts.check_advance(fleet, fleet.status, planned.status, self.broken)
        self._remember_the_beginning(planned.status)
        pending: list[Action | None] = list(planned.actions)
        if planned.status != fleet.status:
            pending.insert(0, None)
        for action in pending[:writes]:
            if action is None:
                self._check_history(fleet.status, planned.status)
                fleet.write_status(planned)
                self._remember_failures()
            else:
                self._act(action)
            self.check_instant()
        # What an interval has shown is told once, and a new process does not know it.
        fleet.interval = None
        return bool(pending)

    def _plan_twice(self) -> Plan:
        """The plan; it depends neither on the hour it is asked nor on the order of a listing."""
        fleet = self.fleet
        observed = fleet.observe()
        planned = plan(observed, fleet.settings, fleet.now)
        shuffled = replace(
            observed, pods=observed.pods[::-1], deployments=observed.deployments[::-1]
        )
        if plan(shuffled, fleet.settings, fleet.now) != planned:
            self.broken("determinism: the plan depends on the order of a listing")
        self._check_turns(planned)
        if judged := [c for c in planned.status.conditions if not _declared(c.reason)]:
            self.broken(f"a condition has an undeclared reason: {judged}")
        return planned

    def _check_history(self, before: ModelStatus, after: ModelStatus) -> None:
        """Entries that have ended stay as they are, and only the newest one may not have ended."""
        ended = [entry for entry in before.history if entry.ended_at]
        kept = [entry for entry in after.history if entry.ended_at][-len(ended) :] if ended else []
        if len(after.history) < MAX_RECORDS and kept != ended:
            self.broken(f"history: {ended} became {kept}")
        if any(entry.ended_at is None for entry in after.history[1:]):
            self.broken(f"history: two transitions are under way: {after.history}")

    def _check_turns(self, planned: Plan) -> None:
        """Versions are begun one after the other, and but for the target none while pods lack room."""
        fleet = self.fleet
        decision = decide(fleet.observe(), fleet.settings, fleet.now)
        desired = decision.desired.ids - {decision.selects}
        stuck = [
            pod.name
            for pod in decision.observed.pods
            if pod.unschedulable and not pod.terminating and pod.servable in decision.desired.ids
        ]
        known = {d.servable for d in decision.observed.deployments if d.replicas}
        known |= {pod.servable for pod in decision.observed.pods if not pod.terminating}
        begun = (desired & set(_grown(planned, fleet))) - known
        primary = decision.desired.primary
        if len(begun) > 1 or (stuck and begun - ({primary.id} if primary else set())):
            self.broken(f"{begun} are begun at once, or although {stuck} have no room")

    def _remember_the_beginning(self, status: ModelStatus) -> None:
        """A transition is under way until the target serves and nothing else is there."""
        keys = {str(row.version): row.key for row in status.versions}
        target = f"v{status.target}-{keys.get(status.target)}"
        deployments = [d.labels for d in self.fleet.deployments.values() if d.replicas]
        labels = [*deployments, *(pod.labels for pod in self.fleet.pods.values())]
        alone = all(found[SERVABLE_LABEL] == target for found in labels)
        if alone and self.fleet.in_rotation():
            self.began = None
        elif self.began is None:
            self.began = self.fleet.model.spec.serving.replicas

    def _remember_failures(self) -> None:
        for row in self.fleet.status.versions:
            if row.failed_key:
                self.failed.add(f"v{row.version}-{row.failed_key}")
        known = {f"v{row.version}-{row.failed_key}" for row in self.fleet.status.versions}
        self.failed &= known

    def _act(self, action: Action) -> None:
        before_secure, before_ready, before_held = (
            self.secure(),
            self.secure(all_ready=True),
            self.held(),
        )
        self._refuse_second_tries(action)
        try:
            self.fleet.write(action)
        except ClusterError as error:
            if not self.fleet.refusals.take(self.fleet.observe(), action, error):
                raise
        limits = self.limits()
        kept = min(limits.floor, before_secure)
        if self.secure() < kept:
            self.broken(f"T3/T4: {action} may leave {self.secure()} < {kept} pods in rotation")
        gap = limits.floor == 0  # ResourcePreserving with one replica, or zero replicas
        if before_ready > 0 and not gap and self.secure(all_ready=True) == 0:
            self.broken(f"T2: {action} may remove the last pod that can serve")
        if self.policy == "ResourcePreserving" or self._fell_back():
            limits = limits_of(self.fleet.model.spec, transition=self.fleet.status.transition)
            budget = self.aspired_at_most() * limits.replicas + limits.surge
            if self.held() > max(budget, before_held):
                self.broken(f"T4: {action} holds {self.held()} pods, {budget} are allowed")

    def _refuse_second_tries(self, action: Action) -> None:
        match action:
            case actions.CreateDeployment(manifest):
                servable = manifest["metadata"]["labels"][SERVABLE_LABEL]
                grows = manifest["spec"]["replicas"] > 0
            case actions.ScaleDeployment(name, _, replicas):
                deployment = self.fleet.deployments[name]
                servable = deployment.labels[SERVABLE_LABEL]
                grows = replicas > deployment.replicas
            case _:
                return
        if grows and servable in self.failed:
            self.broken(f"T5: {servable} has failed and is tried again by {action}")

    # What must hold -------------------------------------------------------------------------------

    @property
    def policy(self) -> str:
        return self.fleet.model.spec.transition.policy

    def limits(self) -> Limits:
        """What the policy promises, or the one that the transition under way goes on with."""
        spec, transition = self.fleet.model.spec, self.fleet.status.transition
        return limits_of(spec, transition=transition if self._fell_back() else None)

    def _fell_back(self) -> bool:
        transition = self.fleet.status.transition
        return transition is not None and bool(transition.fallback)

    def secure(self, *, all_ready: bool = False) -> int:
        """Pods in rotation (or all ready ones) that stay whatever the ReplicaSet controllers choose."""
        rotation = {pod.uid for pod in self.fleet.in_rotation()}
        total = 0
        for name, deployment in self.fleet.deployments.items():
            live = [
                p for p in self.fleet.pods.values() if p.deployment == name and not p.terminating
            ]
            ready = [p for p in live if p.ready]
            counted = len(ready) if all_ready else sum(p.uid in rotation for p in ready)
            victims = max(0, len(live) - deployment.replicas)
            total += max(0, counted - max(0, victims - (len(live) - len(ready))))
        return total

    def held(self) -> int:
        """Pods that exist or that a Deployment is entitled to; not those that someone else took.

        Terminating ones count while one servable replaces another.
        """
        total = 0
        for name, deployment in self.fleet.deployments.items():
            live = [
                p for p in self.fleet.pods.values() if p.deployment == name and not p.terminating
            ]
            total += max(deployment.replicas, len(live))
        if not self.mixed():
            return total
        return total + sum(p.terminating and not p.taken for p in self.fleet.pods.values())

    def mixed(self) -> bool:
        """Whether there are more servables than are aspired at the most: one replaces another."""
        deployments = self.fleet.deployments.values()
        labels = [d.labels for d in deployments if d.replicas]
        labels += [p.labels for p in self.fleet.pods.values() if not p.taken]
        return len({found[SERVABLE_LABEL] for found in labels}) > self.aspired_at_most()

    def aspired_at_most(self) -> int:
        versions = self.fleet.model.versions
        if versions.latest:
            return versions.latest
        if versions.specific:
            return len(versions.specific)
        return max(1, len(self.fleet.exports))

    def check_instant(self) -> None:
        """What must hold between any two steps."""
        self._check_volume()
        self.were_ready |= {
            int(p.labels[VERSION_LABEL]) for p in self.fleet.pods.values() if p.ready
        }
        fleet = self.fleet
        limits = limits_of(fleet.model.spec)
        serving = len(fleet.in_rotation())
        if self._fell_back():
            self.lowered = self.limits().floor
        elif self.secure() >= limits.floor:
            # It ends when all new pods are ready, and the slices show the last one a moment later.
            self.lowered = None
        if self.autoscaled:
            gap = self.began == 1 and (
                self.policy == "ResourcePreserving" or self.lowered is not None
            )
            if not gap and not self.fleet.in_rotation():
                self.broken(f"T2: nothing serves in a transition that began with {self.began}")
        if not self.calm:
            return
        floor = limits.floor if self.lowered is None else self.lowered
        if serving < floor:
            self.broken(f"T3/T4: {serving} pods in rotation, at least {floor} must be")
        most = limits.replicas * self.aspired_at_most() + limits.surge
        if len([p for p in fleet.pods.values() if not p.terminating]) > most:
            self.broken(f"more than {most} pods")
        if self.policy == "ResourcePreserving" and len(fleet.pods) > most:
            self.broken(f"T4: {len(fleet.pods)} pods, {most} are allowed")

    def _check_volume(self) -> None:
        """No mounted version is collected, and no pod waits for a volume that another one holds."""
        fleet = self.fleet
        for pod in fleet.pods.values():
            mounted = pod.directory and pod.stage in _MOUNTED
            if mounted and pod.deployment in fleet.deployments and pod.directory not in fleet.cache:
                self.broken(f"collected: {pod.directory}, which {pod.name} mounts")
        kept = (
            set(json.loads(fleet.keep.manifest["data"][KEEP_KEY])["keep"]) if fleet.keep else set()
        )
        needed = {cached_directory(d) for d in fleet.deployments.values()} - {""}
        if fleet.keep and not needed <= kept:
            self.broken(f"not kept: {needed - kept}, although there are Deployments of them")
        if not fleet.claim or "ReadWriteOncePod" not in fleet.claim.access_modes:
            return
        mounting = [pod for pod in fleet.pods.values() if pod.directory and not pod.taken]
        if len(mounting) > 1:
            self.broken(f"{len(mounting)} pods for a volume that one may mount")

    def come_to_rest(self) -> None:
        """Let everything happen that happens without time going on; planning again does nothing."""
        fleet = self.fleet
        for _ in range(_ROUNDS):
            fleet.poll()
            wrote = self.operate()
            moved = False
            for changed in fleet.turn():
                moved |= changed
                self.check_instant()
            if not wrote and not moved:
                self._check_rest()
                return
        self.broken("convergence: it does not come to rest")

    def _check_rest(self) -> None:
        fleet = self.fleet
        ready = [pod for pod in fleet.pods.values() if pod.serves]
        spec = fleet.model.spec
        if ready and spec.serving.replicas and not spec.paused and not fleet.in_rotation():
            self.broken("T2: there are ready pods, and none of them gets requests")
        self._check_truth()
        rollouts.check_share(fleet, self.broken, calm=self.calm)
        target = int(fleet.status.target or -1)
        lost = target >= 0 and target not in fleet.listed
        if lost and target not in self.were_ready and not (fleet.store_down or spec.paused):
            self.broken(f"version {target} never served, its export is gone, and it is waited for")

    def _check_truth(self) -> None:
        """What is called available is: every desired version has all its pods."""
        fleet = self.fleet
        status = fleet.status
        desired = decide(fleet.observe(), fleet.settings, fleet.now).desired.servables
        wanted = fleet.model.spec.serving.replicas
        missing = {
            servable.id: have
            for servable in desired
            if (have := self._ready_pods(servable.id)) < wanted
        }
        ready = next(c for c in status.conditions if c.type is ConditionType.READY)
        if missing and (status.phase == "Available" or ready.reason == Reason.AVAILABLE):
            self.broken(f"{status.phase}, Ready {ready.reason}, but pods are missing: {missing}")
        silent = next(c for c in status.conditions if c.type is ConditionType.DEGRADED)
        refused = [
            f"{label}: {version}"
            for label, version in fleet.model.spec.labels.items()
            if wanted
            and version not in {s.version for s in desired}
            and not any(p.serves for p in fleet.pods_of(version))
        ]
        if refused and silent.status == "False" and not fleet.model.spec.paused:
            settling = [r.version for r in status.versions if r.state is VersionState.SETTLING]
            if not settling:
                self.broken(f"labels of versions that do not serve, and nothing is said: {refused}")

    def _ready_pods(self, servable: str) -> int:
        pods = self.fleet.pods.values()
        return sum(p.serves and p.labels[SERVABLE_LABEL] == servable for p in pods)

    def wait(self) -> None:
        """Let time go on until the planner waits for nothing any more."""
        fleet = self.fleet
        for _ in range(_WAITS):
            requeue = fleet.plan().requeue
            if requeue is None:
                break
            fleet.now += requeue
            if not self.operate():
                self.broken(f"it asked to be woken after {requeue}, for nothing")
            self.come_to_rest()
        else:
            self.broken("convergence: it asks to be woken for ever")
        fleet.now += timedelta(days=1)
        if self.operate():
            self.broken("it was not woken, but time alone changed the plan")

    def recover(self) -> None:
        """No more faults: what was uploaded is listed, there is room, the spec is a good one."""
        fleet = self.fleet
        fleet.store_down = False
        fleet.gpus = 99
        fleet.cpus, fleet.jobs_refused = True, False
        fleet.hidden.clear()
        fleet.edit(paused=False, source={"allowMutation": True})
        if fleet.spec["serving"].get("image") == BROKEN_IMAGE:
            fleet.edit(serving={"image": ""})
        fleet.edit(transition={"whenUnschedulable": {"then": "Wait"}})
        fleet.annotations.clear()
        self.come_to_rest()
        self._retry_what_was_aborted()
        self.wait()
        while rollouts.promote_what_waits(fleet):
            self.come_to_rest()
            self.wait()
        self._check_end()

    def _retry_what_was_aborted(self) -> None:
        fleet = self.fleet
        good = [
            v
            for v, e in fleet.exports.items()
            if fleet.behaviours.get(e.revision) is Behaviour.GOOD
        ]
        # By a person, or for want of room.
        aborted = [
            row
            for row in fleet.status.versions
            if row.failed_key and ("aborted" in _told(row) or row.version in good)
        ]
        for row in aborted:
            fleet.annotations = {Verb.RETRY.annotation: str(row.version)}
            self.come_to_rest()
        if aborted:
            fleet.annotations.clear()
            self.come_to_rest()

    def _check_end(self) -> None:
        fleet = self.fleet
        spec = fleet.model.spec
        good = {
            number
            for number, export in fleet.exports.items()
            if export.complete and fleet.behaviours[export.revision] is Behaviour.GOOD
        }
        expected = select(spec.versions, good)
        if not expected or spec.serving.replicas == 0:
            return
        status = fleet.status
        conditions = {c.type.value: c for c in status.conditions}
        if status.history and status.history[0].ended_at is None:
            self.broken(f"history: at the end, {status.history[0]} has not ended")
        if conditions["Ready"].status != "True":
            self.broken(f"convergence: Ready is {conditions['Ready']}")
        if status.serving != str(expected[0]):
            self.broken(f"convergence: {status.serving} serves, {expected[0]} should")
        wanted = {str(number): spec.serving.replicas for number in expected}
        have = dict.fromkeys(wanted, 0)
        for pod in fleet.pods.values():
            number = pod.labels[VERSION_LABEL]
            have[number] = have.get(number, 0) + pod.serves
        if have != wanted:
            self.broken(f"convergence: pods by version are {have}, they should be {wanted}")
        if len(fleet.deployments) != len(expected):
            self.broken("convergence: an old Deployment is left")
        if "digits-next" in fleet.services:
            self.broken("convergence: digits-next is left")
        if any(ROTATION_LABEL in pod.labels for pod in fleet.pods.values()):
            self.broken("convergence: a rotation label is left")

    def broken(self, what: str) -> None:
        raise Broken(f"{what}\n{self.describe()}")

    def describe(self) -> str:
        """The fleet in a few lines."""
        fleet = self.fleet
        rotation = {pod.uid for pod in fleet.in_rotation()}
        lines = [
            f"spec: {fleet.spec}",
            f"annotations: {fleet.annotations}",
            rollouts.describe(fleet.status.rollout),
            f"source: {[(v.number, v.readiness.value) for v in fleet.source.versions]}",
            f"status: {fleet.status.model_dump(include={'serving', 'target', 'phase', 'message'})}",
        ]
        lines += [
            f"row: {r.version} {r.state} {r.reason} key={r.key} available={r.available_key} failed={r.failed_key}"
            for r in fleet.status.versions
        ]
        lines += [f"deployment: {d.name} x{d.replicas}" for d in fleet.deployments.values()]
        lines += [
            f"pod: {p.name} {p.stage}{' terminating' if p.terminating else ''}"
            f"{' labelled' if ROTATION_LABEL in p.labels else ''}"
            f"{' in rotation' if p.uid in rotation else ''}"
            for p in fleet.pods.values()
        ]
        lines += [
            f"service: {n} selects {c.manifest['metadata']['labels'][SELECTS_LABEL]} shows "
            f"{fleet.slices.get(n)}"
            for n, c in fleet.services.items()
            if n in ("digits", "digits-next")
        ]
        planned = fleet.plan()
        lines += [f"next: {_short(action)}" for action in planned.actions]
        return "\n".join([*lines, f"requeue: {planned.requeue}"])


def _grown(planned: Plan, fleet: Fleet) -> Iterator[str]:
    """Servables that get more pods."""
    for action in planned.actions:
        match action:
            case actions.CreateDeployment(manifest) if manifest["spec"]["replicas"]:
                yield manifest["metadata"]["labels"][SERVABLE_LABEL]
            case actions.ScaleDeployment(name, _, replicas):
                if replicas > fleet.deployments[name].replicas:
                    yield fleet.deployments[name].labels[SERVABLE_LABEL]
            case _:
                continue


def _short(action: Action) -> str:
    manifest = getattr(action, "manifest", None)
    if manifest is None:
        return str(action)
    return (
        f"{type(action).__name__} {manifest['metadata']['name']} {manifest['metadata']['labels']}"
    )


def _told(row: VersionStatus) -> str:
    return f"{row.reason} {row.message}".lower()


def _declared(reason: str) -> bool:
    return reason in set(Reason) or reason in set(VersionState) or reason in _SYNC_REASONS


_SYNC_REASONS: Final = frozenset({"MissingShard", "Rejected", "SourceUnavailable", "RevisionMoved"})
"""Reasons that are the agent's or the proof's own words."""


# Events: each takes the history and a number. -----------------------------------------------------


def _operates(history: History, _: Random) -> None:
    history.operate()


def _is_killed(history: History, choice: Random) -> None:
    history.operate(choice.randrange(5))


def _polls(history: History, _: Random) -> None:
    history.fleet.poll()


def _schedules(history: History, _: Random) -> None:
    history.fleet.schedule()


def _time_passes(history: History, choice: Random) -> None:
    history.fleet.now += timedelta(seconds=choice.randrange(3))


def _replicates(history: History, choice: Random) -> None:
    for name in _some(sorted(history.fleet.deployments), choice):
        history.fleet.replicate(name)


def _notices(history: History, choice: Random) -> None:
    for uid in _some(list({**history.fleet.pods, **history.fleet.noticed}), choice):
        history.fleet.notice(uid)


def _publishes(history: History, choice: Random) -> None:
    for name in _some(sorted(history.fleet.services), choice):
        history.fleet.publish(name)


def _notices_services(history: History, choice: Random) -> None:
    for name in _some(sorted(history.fleet.services), choice):
        history.fleet.notice_service(name)


def _reaps(history: History, choice: Random) -> None:
    for pod in _some(list(history.fleet.pods.values()), choice):
        history.fleet.reap(pod)


def _advances_jobs(history: History, _: Random) -> None:
    history.fleet.advance_job()


def _advances(history: History, choice: Random) -> None:
    for pod in _some(list(history.fleet.pods.values()), choice):
        history.fleet.advance(pod)


def _some(things: list[T], choice: Random) -> list[T]:
    return [thing for thing in things if choice.random() < 0.5]


_COMPONENTS: Final = (
    _operates, _operates, _operates, _is_killed, _polls, _schedules, _time_passes, _replicates,
    _replicates, _notices, _notices, _notices_services, _publishes, _publishes, _reaps, _advances, _advances,
    _advances_jobs,
)  # fmt: skip
"""As often as they stand here."""


def _micro_step(history: History, choice: Random) -> None:
    """One step of one component."""
    choice.choice(_COMPONENTS)(history, choice)


def _drift(history: History, number: int) -> None:
    """Many steps, one after the other."""
    choice = Random(number)  # noqa: S311 (a test's choices)
    history.fleet.choice = choice
    for _ in range(number % 97):
        _micro_step(history, choice)
        history.check_instant()


def _step(history: History, number: int) -> None:
    choice = Random(number)  # noqa: S311
    history.fleet.choice = choice
    _micro_step(history, choice)


def _rest(history: History, _: int) -> None:
    history.come_to_rest()


def _kill(history: History, number: int) -> None:
    history.operate(number % 7)


def _upload(history: History, number: int) -> None:
    fleet = history.fleet
    following = max(fleet.exports, default=0) + 1
    if following <= _MOST_VERSIONS:
        behaviour = _BEHAVIOURS[number % len(_BEHAVIOURS)]
        fleet.upload(following, behaviour, complete=number % 5 != 0)


def _finish_upload(history: History, _: int) -> None:
    for version, export in history.fleet.exports.items():
        if not export.complete:
            history.fleet.finish_upload(version)


def _image(history: History, number: int) -> None:
    image = ("", "registry.test/other:1", BROKEN_IMAGE)[number % 3]
    history.fleet.edit(serving={"image": image})


def _policy(history: History, number: int) -> None:
    history.fleet.edit(
        transition={
            "policy": _POLICIES[number % 2],
            "maxSurge": (1, "25%", "100%")[number // 2 % 3],
            "maxUnavailable": (1, 2, "100%")[number // 6 % 3],
        }
    )


def _when_unschedulable(history: History, number: int) -> None:
    then = ("Wait", "ResourcePreserving", "Abort")[number % 3]
    history.fleet.edit(transition={"whenUnschedulable": {"after": "10s", "then": then}})


def _preflight(history: History, number: int) -> None:
    history.fleet.edit(transition={"preflight": ("Verify", "Load")[number % 2]})


def _cpus(history: History, number: int) -> None:
    history.fleet.cpus = number % 3 != 0


def _jobs_refused(history: History, number: int) -> None:
    history.fleet.jobs_refused = number % 3 == 0


def _wait(history: History, number: int) -> None:
    history.fleet.now += timedelta(seconds=number % 30)


def _versions(history: History, number: int) -> None:
    versions = _VERSIONS[number % len(_VERSIONS)]
    if not rollouts.is_single(VersionPolicy.model_validate(versions)):
        history.fleet.edit(rollout=None)  # type: ignore[arg-type]
    history.fleet.edit(versions=versions)


def _rollout(history: History, number: int) -> None:
    rollouts.write_rollout(history.fleet, number)


def _approve(history: History, number: int) -> None:
    rollouts.approve(history.fleet, number)


def _promote(history: History, number: int) -> None:
    rollouts.promote(history.fleet, number)


def _measure(history: History, number: int) -> None:
    rollouts.measure(history.fleet, number)


def _minutes(history: History, number: int) -> None:
    history.fleet.now += timedelta(minutes=number % 3)


def _replicas(history: History, number: int) -> None:
    history.fleet.edit(serving={"replicas": number % 4})


def _autoscale(history: History, number: int) -> None:
    history.fleet.edit(serving={"replicas": (1, 2, 1, 3)[number % 4]})


def _pause(history: History, number: int) -> None:
    history.fleet.edit(paused=number % 2 == 0)


def _gpus(history: History, number: int) -> None:
    history.fleet.gpus = number % 8


def _store(history: History, number: int) -> None:
    history.fleet.store_down = number % 2 == 0


def _empty(history: History, number: int) -> None:
    fleet = history.fleet
    fleet.hidden = set(fleet.exports) if number % 2 == 0 else set()


def _vanish(history: History, number: int) -> None:
    fleet = history.fleet
    fleet.hidden.add(sorted(fleet.exports)[number % len(fleet.exports)])


def _upload_again(history: History, number: int) -> None:
    fleet = history.fleet
    version = sorted(fleet.exports)[number % len(fleet.exports)]
    fleet.upload(version)


def _take_deployment(history: History, number: int) -> None:
    if found := sorted(history.fleet.deployments):
        history.fleet.take_deployment(found[number % len(found)])


def _labels(history: History, number: int) -> None:
    labels: dict[str, Any] = {"stable": number % 4 + 1} if number % 5 else {}
    history.fleet.edit(labels=labels)


def _edit_template(history: History, number: int) -> None:
    if found := sorted(history.fleet.deployments):
        history.fleet.edit_template(found[number % len(found)], "restartedAt")


def _restart(history: History, _: int) -> None:
    history.fleet.restart_operator()


def _upgrade(history: History, number: int) -> None:
    history.fleet.settings = RenderSettings(f"server:{number}", f"sync:{number}")


def _lose_status(history: History, _: int) -> None:
    history.fleet.status = ModelStatus()
    history.failed.clear()


def _recreate(history: History, _: int) -> None:
    history.fleet.recreate()
    history.failed.clear()


def _take_pod(history: History, number: int) -> None:
    if pods := list(history.fleet.pods.values()):
        history.fleet.take(pods[number % len(pods)])


def _crash_pod(history: History, number: int) -> None:
    # A server that crashes again and again while its version is new has failed, and rightly so.
    if pods := [pod for pod in history.fleet.pods.values() if pod.restarts == 0]:
        history.fleet.crash(pods[number % len(pods)])


def _take_service(history: History, _: int) -> None:
    history.fleet.services.pop("digits", None)
    history.fleet.slices.pop("digits", None)


def _ask(history: History, number: int) -> None:
    """Someone annotates the Model, or takes an annotation away."""
    annotations = history.fleet.annotations
    choice = Random(number)  # noqa: S311
    verb = choice.choice(list(Verb))
    if choice.random() < 0.25:
        annotations.pop(verb.annotation, None)
        return
    target = int(history.fleet.status.target or 1)
    version = choice.choice([target, target, choice.randrange(1, _MOST_VERSIONS + 2)])
    values = {Verb.PROMOTE: f"{version}", Verb.ROLLBACK: f"{version}"}
    value = values.get(verb, f"{version}/{choice.randrange(1, 4)}")
    annotations[verb.annotation] = value if choice.random() < 0.95 else "never"


EVENTS: Final[Mapping[str, Callable[[History, int], None]]] = {
    "drift": _drift,
    "step": _step,
    "rest": _rest,
    "kill": _kill,
    "upload": _upload,
    "finish upload": _finish_upload,
    "image": _image,
    "policy": _policy,
    "versions": _versions,
    "rollout": _rollout,
    "approve": _approve,
    "promote": _promote,
    "minutes": _minutes,
    "measure": _measure,
    "replicas": _replicas,
    "autoscale": _autoscale,
    "pause": _pause,
    "gpus": _gpus,
    "store": _store,
    "empty": _empty,
    "vanish": _vanish,
    "upload again": _upload_again,
    "restart": _restart,
    "upgrade": _upgrade,
    "lose status": _lose_status,
    "recreate": _recreate,
    "take pod": _take_pod,
    "crash pod": _crash_pod,
    "take service": _take_service,
    "take deployment": _take_deployment,
    "labels": _labels,
    "edit template": _edit_template,
    "unschedulable": _when_unschedulable,
    "preflight": _preflight,
    "cpus": _cpus,
    "jobs refused": _jobs_refused,
    "time": _wait,
    "ask": _ask,
}
CALM: Final = (
    "drift", "drift", "drift", "step", "rest", "kill", "upload", "upload", "finish upload",
    "image", "gpus", "store", "empty", "vanish", "restart", "upgrade", "gpus", "unschedulable", "time",
    "ask", "ask", "rollout", "approve", "promote", "minutes",
)  # fmt: skip
"""Nothing is lost here, and neither replicas nor policies change."""
WITHOUT_ROOM: Final = (
    "drift", "drift", "drift", "rest", "kill", "upload", "upload", "image", "restart", "time", "time", "gpus",
)  # fmt: skip
"""Nothing is lost here either, and time goes on while there is little room."""
TRIED_OUT: Final = (
    "drift", "drift", "drift", "rest", "kill", "upload", "upload", "upload", "image", "restart", "time", "gpus",
    "preflight", "cpus", "jobs refused", "ask", "minutes", "upgrade",
)  # fmt: skip
"""Neither here, where Jobs find room or do not, and what they try out is good or bad."""
AUTOSCALED: Final = (
    "gpus",
    "time",
    "drift",
    "drift",
    "step",
    "rest",
    "upload",
    "vanish",
    "restart",
    "autoscale",
    "autoscale",
    "rollout",
    "promote",
    "minutes",
    "ask",
)
"""An autoscaler with a minimum of 1."""
