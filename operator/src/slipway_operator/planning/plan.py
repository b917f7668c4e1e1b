"""`plan`: from one snapshot to the next actions, the status and when to look again.

Planning twice from the same state yields no second action, and every action moves towards the
desired state whatever happened before: the operator may die between any two of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api import names
from slipway_operator.api.conditions import Reason
from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.status import VersionState, VersionStatus
from slipway_operator.model import actions
from slipway_operator.model.actions import Action, Plan
from slipway_operator.model.observed import ContainerState, Observed
from slipway_operator.model.pvc import Volume
from slipway_operator.planning.capacity.scaling import Fleet, Limits, limits_of, scale
from slipway_operator.planning.drift import is_as_wanted
from slipway_operator.planning.status.summary import Facts, notes, summarise
from slipway_operator.planning.status.version_rows import Rows, is_proven, timestamp
from slipway_operator.planning.traffic.routing import (
    Traffic,
    incumbents,
    rotating_pods,
    route,
    selected_pods,
    selects_now,
)
from slipway_operator.planning.versions.desired import Aspiration, aspire
from slipway_operator.planning.versions.diagnosis import Finding, deadline, diagnose
from slipway_operator.planning.volumes.actions import claim_actions, growth_actions, watcher_actions
from slipway_operator.planning.volumes.pvc import volume_of
from slipway_operator.rendering.budget import disruption_budget
from slipway_operator.rendering.deployment import deployment
from slipway_operator.rendering.inputs import Servable
from slipway_operator.rendering.pvc import claim_name
from slipway_operator.rendering.services import (
    label_service,
    model_service,
    next_service,
    pods_service,
    version_service,
)
from slipway_operator.rendering.settings import RenderSettings
from slipway_operator.rendering.sync_credentials import is_known

PROGRESS_INTERVAL: Final = timedelta(seconds=3)
"""How often sync progress is read; every change of it is a line in `kubectl get -w`."""
CLAIM_INTERVAL: Final = timedelta(seconds=10)
"""How often a claim that cannot be used is looked at again: claims are not watched."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What actions are made from."""

    observed: Observed
    aspiration: Aspiration
    limits: Limits
    settings: RenderSettings
    volume: Volume


def plan(observed: Observed, settings: RenderSettings, now: datetime) -> Plan:
    """Decide what to do next."""
    observed = _in_order(observed)
    before = observed.model.status
    judged, aspiration, findings = _judge(observed, now)
    volume = volume_of(judged)
    limits = limits_of(observed.model.spec, volume.most)
    rotating = rotating_pods(judged)
    selects = selects_now(judged, judged.model.name)
    rows = Rows(judged, aspiration, findings, rotating, now, volume).all()
    settled = _settled(judged, aspiration, selects, rows)
    facts = Facts(judged, aspiration, limits, rows, selects, rotating, settled, volume)
    status = summarise(facts, now)
    steps: tuple[Action, ...] = ()
    if not judged.model.spec.paused:
        desk = Desk(judged, aspiration, limits, settings, volume)
        steps = tuple(_actions(desk, rows, settled=settled))
    return Plan(
        actions=steps,
        status=status,
        notes=notes(before, status),
        requeue=_requeue(judged, aspiration, volume, now),
    )


def _in_order(observed: Observed) -> Observed:
    """The same snapshot whatever the order in which the API server listed things."""
    return replace(
        observed,
        pods=tuple(sorted(observed.pods, key=lambda pod: pod.name)),
        deployments=tuple(sorted(observed.deployments, key=lambda found: found.name)),
    )


def _judge(observed: Observed, now: datetime) -> tuple[Observed, Aspiration, dict[str, Finding]]:
    """Aspire, and strike out what has failed until nothing aspired has.

    Returns:
        The snapshot with each failure written into its row, the aspiration that is left, and what
        was found about the pods of every servable, by its id.
    """
    findings = {
        servable: finding
        for servable in {pod.servable for pod in observed.pods}
        if (finding := diagnose(p for p in observed.pods if p.servable == servable))
    }
    while True:
        aspiration = aspire(observed)
        failure = next(
            (
                (servable, finding)
                for servable in _on_trial(observed, aspiration)
                if (finding := _failure(observed, servable, findings.get(servable.id), now))
            ),
            None,
        )
        if failure is None:
            return observed, aspiration, findings
        observed = _strike_out(observed, *failure, now)


def _on_trial(observed: Observed, aspiration: Aspiration) -> list[Servable]:
    """Aspired servables that may still fail.

    One that was available is not judged again, and the way back from one that failed is not judged
    at all: there would be nothing left to go back to.
    """
    rows = {row.version: row for row in observed.model.status.versions}
    return [
        servable
        for servable in aspiration.servables
        if not is_proven(rows.get(servable.version), servable.key)
        and aspiration.candidates[servable.version].wanted == servable
    ]


def _failure(
    observed: Observed, servable: Servable, finding: Finding | None, now: datetime
) -> Finding | None:
    """Why a servable on trial has failed; None while it may still come up."""
    if finding and finding.final:
        return finding
    pods = [pod for pod in observed.pods if pod.servable == servable.id]
    text = observed.model.spec.transition.progress_deadline
    limit = deadline(pods, parse_duration(text))
    if limit is None or now < limit:
        return None
    why = f"; last: {finding.reason}: {finding.message}" if finding else ""
    return Finding(
        VersionState.FAILED,
        Reason.PROGRESS_DEADLINE_EXCEEDED,
        f"no progress for {text} (spec.transition.progressDeadline){why}",
        final=True,
    )


def _strike_out(
    observed: Observed, servable: Servable, finding: Finding, now: datetime
) -> Observed:
    """Write a failure into the version's row, as if the status had it already."""
    status = observed.model.status
    row = next((r for r in status.versions if r.version == servable.version), None)
    state = finding.state
    if state is not VersionState.REJECTED:
        rotated = any(p.servable == servable.id for p in rotating_pods(observed))
        state = VersionState.ROLLED_BACK if rotated else VersionState.FAILED
    told = {
        "failed_key": servable.key,
        "state": state,
        "reason": finding.reason,
        "message": finding.message,
        "since": timestamp(now),
    }
    fresh = VersionStatus(version=servable.version, key=servable.key, **told)
    struck = row.model_copy(update=told) if row else fresh
    if row and row.available_key and row.available_key != servable.key:
        # Other pods of this version go on serving: only the change of its inputs has failed.
        struck = row.model_copy(
            update={
                "failed_key": servable.key,
                "reason": Reason.ROLLED_BACK,
                "message": f"the changed spec failed: {finding.reason}: {finding.message}",
            }
        )
    others = [r for r in status.versions if r.version != servable.version]
    changed = status.model_copy(update={"versions": [struck, *others]})
    return replace(observed, model=replace(observed.model, status=changed))


def _settled(
    observed: Observed, aspiration: Aspiration, selects: str, rows: list[VersionStatus]
) -> bool:
    """Whether the primary has arrived, has the traffic, and no pod of another servable is left."""
    primary = aspiration.primary
    if primary is None:
        return not observed.pods
    keys = {row.version: row.available_key for row in rows}
    arrived = keys.get(primary.version) == primary.key or observed.model.spec.serving.replicas == 0
    aspired = {servable.id for servable in aspiration.servables}
    alone = all(pod.servable in aspired for pod in observed.pods)
    return arrived and selects == primary.id and alone


def _fleets(observed: Observed, aspiration: Aspiration) -> list[Fleet]:
    """Every servable that has, or is to have, pods; aspired ones highest version first."""
    rows = {row.version: row for row in observed.model.status.versions}
    deployments = {d.servable: d for d in observed.deployments}
    shown = {pod.uid for pod in rotating_pods(observed)}
    to_be_shown = {pod.uid for pod in selected_pods(observed)}
    selected = incumbents(observed)
    aspired = [servable.id for servable in aspiration.servables]
    versions = {servable.id: servable.version for servable in aspiration.servables}
    versions |= {pod.servable: pod.version for pod in observed.pods}
    versions |= {d.servable: d.version for d in observed.deployments}
    others = sorted(set(versions) - set(aspired))
    fleets = []
    for servable in [*aspired, *others]:
        pods = [pod for pod in observed.pods if pod.servable == servable]
        live = [pod for pod in pods if not pod.terminating]
        deployment_ = deployments.get(servable)
        row = rows.get(versions[servable])
        failed = row and deployment_ and row.failed_key == deployment_.key
        # T2: one that did serve may do so again, and nothing else will.
        last = not aspired and row and row.state is VersionState.ROLLED_BACK
        fleets.append(
            Fleet(
                id=servable,
                version=versions[servable],
                aspired=servable in aspired,
                exists=deployment_ is not None,
                replicas=deployment_.replicas if deployment_ else 0,
                live=len(live),
                ready=sum(pod.ready for pod in live),
                shown=sum(pod.uid in shown for pod in live),
                selected=sum(pod.uid in to_be_shown for pod in live),
                terminating=len(pods) - len(live),
                incumbent=servable in selected,
                failed=bool(failed and not last),
                mounts=deployment_ is None or claim_name(observed.model) in deployment_.claims,
            )
        )
    return fleets


def _actions(desk: Desk, rows: list[VersionStatus], *, settled: bool) -> Iterator[Action]:
    observed, aspiration, limits = desk.observed, desk.aspiration, desk.limits
    traffic = route(observed, aspiration, limits)
    yield from _rotation(traffic)
    yield from _services(observed, aspiration, limits, traffic)
    yield from _budget(observed, limits)
    # What a pod mounts is there, and says the right thing, before the pod is.
    yield from claim_actions(observed, aspiration)
    yield from _deployments(desk)
    yield from _deletions(observed, aspiration, rows, settled=settled)
    yield from growth_actions(observed)
    # Last: a cluster that does not take it must not hold up what serves.
    yield from watcher_actions(observed, desk.settings, desk.volume)


def _rotation(traffic: Traffic) -> Iterator[Action]:
    for pod in traffic.rotate:
        yield actions.RotatePod(pod.name, pod.uid, rotate=True)
    for pod in traffic.unrotate:
        yield actions.RotatePod(pod.name, pod.uid, rotate=False)


def _services(
    observed: Observed, aspiration: Aspiration, limits: Limits, traffic: Traffic
) -> Iterator[Action]:
    model = observed.model
    wanted = []
    if traffic.selects:
        wanted += [model_service(model, traffic.selects), pods_service(model, traffic.selects)]
    if traffic.preflight:
        wanted.append(next_service(model, traffic.preflight))
    versions = {servable.version for servable in aspiration.servables}
    versions |= {d.version for d in observed.deployments}
    wanted += [version_service(model, version) for version in sorted(versions)]
    kept = {manifest["metadata"]["name"] for manifest in wanted}
    for label, version in sorted(model.spec.labels.items()):
        name = names.label_service(model.name, label)
        kept.add(name)
        # T10: a label moves when all replicas of its version are ready, and not before.
        ready = sum(p.ready and p.version == version for p in observed.pods if not p.terminating)
        if limits.replicas and ready >= limits.replicas:
            wanted.append(label_service(model, label, version))
    for manifest in wanted:
        name = manifest["metadata"]["name"]
        child = observed.services.get(name)
        foreign = f"Service/{name}" in observed.foreign
        if not foreign and (child is None or not is_as_wanted(child.manifest, manifest)):
            yield actions.ApplyService(manifest)
    if aspiration.primary is not None:
        for name, child in sorted(observed.services.items()):
            if name not in kept:
                yield actions.DeleteService(name, child.uid)


def _budget(observed: Observed, limits: Limits) -> Iterator[Action]:
    name = observed.model.name
    child = observed.budgets.get(name)
    if f"PodDisruptionBudget/{name}" in observed.foreign:
        return
    if limits.replicas > 1:
        manifest = disruption_budget(observed.model)
        if child is None or not is_as_wanted(child.manifest, manifest):
            yield actions.ApplyBudget(manifest)
    elif child is not None:
        yield actions.DeleteBudget(name, child.uid)


def _deployments(desk: Desk) -> Iterator[Action]:
    observed, aspiration = desk.observed, desk.aspiration
    decided = scale(_fleets(observed, aspiration), desk.limits)
    present = {d.servable: d for d in observed.deployments}
    missing = [servable for servable in aspiration.servables if servable.id not in present]
    identity = observed.source.identity
    known = is_known(observed.model, identity, desk.settings)
    if missing and (desk.volume.reason or not known):
        # Nothing new could be started now, so nothing old may go for it; the status or the next
        # good poll tells why. Who asks for no pods gets none.
        if desk.limits.replicas:
            return
        missing = []
    for servable in missing:
        name = names.deployment_name(observed.model.name, servable.id)
        if f"Deployment/{name}" not in observed.foreign:
            manifest = deployment(
                observed.model,
                servable,
                decided[servable.id],
                desk.settings,
                identity,
                desk.volume.sharing,
            )
            yield actions.CreateDeployment(manifest)
    for servable_id, replicas in decided.items():
        found = present.get(servable_id)
        if found and found.replicas != replicas:
            yield actions.ScaleDeployment(found.name, found.uid, replicas)


def _deletions(
    observed: Observed, aspiration: Aspiration, rows: list[VersionStatus], *, settled: bool
) -> Iterator[Action]:
    """Empty Deployments of the past; until the transition has ended they are the way back."""
    aspired = {servable.id for servable in aspiration.servables}
    states = {row.version: row for row in rows}
    for found in observed.deployments:
        if found.servable in aspired or found.replicas > 0:
            continue
        if any(pod.servable == found.servable for pod in observed.pods):
            continue
        row = states.get(found.version)
        failed = row is not None and row.failed_key == found.key
        if settled or failed:
            yield actions.DeleteDeployment(found.name, found.uid)


def _requeue(
    observed: Observed, aspiration: Aspiration, volume: Volume, now: datetime
) -> timedelta | None:
    """When time alone could change the plan."""
    due: list[timedelta] = []
    limit = parse_duration(observed.model.spec.transition.progress_deadline)
    for servable in _on_trial(observed, aspiration):
        pods = [pod for pod in observed.pods if pod.servable == servable.id]
        if moment := deadline(pods, limit):
            due.append(max(timedelta(seconds=1), moment - now))
    if any(pod.sync.state is ContainerState.RUNNING for pod in observed.pods):
        due.append(PROGRESS_INTERVAL)
    if volume.reason:
        due.append(CLAIM_INTERVAL)
    return min(due, default=None)
