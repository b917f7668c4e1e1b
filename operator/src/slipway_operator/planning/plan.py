"""`plan`: from one snapshot to the next actions, the status and when to look again.

Planning twice from the same state yields no second action, and every action moves towards the
desired state whatever happened before: the operator may die between any two of them.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.resource import InvalidModel
from slipway_operator.model.actions import Action, Plan
from slipway_operator.model.observed import Observed
from slipway_operator.planning.capacity.preflight import preflight_due
from slipway_operator.planning.capacity.unschedulable import unschedulable_due
from slipway_operator.planning.decision import Decision, decide
from slipway_operator.planning.history.record import record
from slipway_operator.planning.rollout.split import share_of
from slipway_operator.planning.rollout.steps import rollout_due
from slipway_operator.planning.rollout.wording import step_events
from slipway_operator.planning.status.columns import progress_due
from slipway_operator.planning.status.degraded import troubles
from slipway_operator.planning.status.events import events
from slipway_operator.planning.status.invalid import invalid_status
from slipway_operator.planning.status.summary import summarise
from slipway_operator.planning.status.version_rows import version_rows
from slipway_operator.planning.traffic.routes import route_actions, routes_due
from slipway_operator.planning.traffic.services import service_actions
from slipway_operator.planning.versions.failures import deadline_due
from slipway_operator.planning.volumes.actions import claim_actions, growth_actions, watcher_actions
from slipway_operator.planning.volumes.pvc import volume_due
from slipway_operator.planning.workloads.deployments import deletions, deployment_actions
from slipway_operator.planning.workloads.disruption_budget import disruption_budget_actions
from slipway_operator.planning.workloads.preflight import preflight_creations, preflight_deletions
from slipway_operator.rendering.settings import RenderSettings

_CONFLICT: Final = timedelta(seconds=10)
"""What is not ours is not watched: how often a conflict of names or labels is looked at while it lasts."""


def plan(observed: Observed | InvalidModel, settings: RenderSettings, now: datetime) -> Plan:
    """Decide what to do next."""
    if isinstance(observed, InvalidModel):
        return Plan(actions=(), status=invalid_status(observed, now))
    decision = decide(_in_order(observed), settings, now)
    decision = replace(decision, rows=tuple(version_rows(decision)))
    found = troubles(decision)
    status = summarise(decision, found)
    past = record(decision, observed.model.status, status)
    status = status.model_copy(update={"history": past})
    paused = observed.model.spec.paused
    return Plan(
        actions=() if paused else tuple(_actions(decision)),
        status=status,
        events=(
            *events(observed.model.status, status, decision.asks_for, found),
            *step_events(observed.model.status, status, observed.model.name),
        ),
        requeue=_requeue(decision),
    )


def _in_order(observed: Observed) -> Observed:
    """The same snapshot whatever the order in which the API server listed things."""
    return replace(
        observed,
        pods=tuple(sorted(observed.pods, key=lambda pod: pod.name)),
        deployments=tuple(sorted(observed.deployments, key=lambda found: found.name)),
    )


def _actions(decision: Decision) -> Iterator[Action]:
    # Before the Services, so that none is deleted which a route points to.
    yield from route_actions(decision)
    yield from service_actions(decision)
    yield from disruption_budget_actions(decision)
    # What a pod mounts is there, and says the right thing, before the pod is.
    yield from claim_actions(decision.observed, decision.desired)
    # Before what follows from one that has ended: there is always something else left to write.
    yield from preflight_deletions(decision)
    yield from deployment_actions(decision)
    yield from deletions(decision)
    yield from growth_actions(decision.observed)
    yield from preflight_creations(decision)
    # Last: a cluster that does not take it must not hold up what serves.
    yield from watcher_actions(decision.observed, decision.settings, decision.volume)


def _requeue(decision: Decision) -> timedelta | None:
    """When time alone could change the plan."""
    due = (
        deadline_due(decision.observed, decision.desired, decision.now),
        unschedulable_due(
            decision.observed,
            decision.desired,
            decision.findings,
            share_of(decision.observed, decision.desired),
            decision.now,
        ),
        progress_due(decision.observed),
        volume_due(decision.volume),
        rollout_due(decision.observed, decision.now),
        _conflict_due(decision.observed),
        routes_due(decision),
        preflight_due(decision.preflight, decision.observed, decision.now),
    )
    return min((wait for wait in due if wait is not None), default=None)


def _conflict_due(observed: Observed) -> timedelta | None:
    """When to look whether what bears a name of ours, or selects our pods, is gone."""
    return _CONFLICT if observed.foreign or observed.selected_by else None
