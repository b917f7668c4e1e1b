"""Versions that wait for room: told together, since there may be as many of them as exports."""

from slipway_operator.api.conditions import Reason
from slipway_operator.model.servable import Servable
from slipway_operator.planning.capacity.unschedulable import QUOTA, returns_by_itself
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.versions.diagnosis import Finding


def is_begun(decision: Decision, servable: Servable) -> bool:
    """Whether a servable has, or may have, pods."""
    observed = decision.observed
    entitled = any(d.servable == servable.id and d.replicas for d in observed.deployments)
    return entitled or any(p.servable == servable.id and not p.terminating for p in observed.pods)


def passes_by_itself(decision: Decision, finding: Finding) -> bool:
    """Whether pods that shut down are about to give back what a pod waits for."""
    return returns_by_itself(decision.observed, finding)


def refused(decision: Decision) -> list[tuple[Servable, Finding]]:
    """Desired servables with a pod that the scheduler finds no node for, highest version first."""
    found = [(s, decision.findings.get(s.id)) for s in decision.desired.servables]
    return [
        (servable, finding)
        for servable, finding in found
        if finding
        and finding.reason is Reason.UNSCHEDULABLE
        and not passes_by_itself(decision, finding)
    ]


def waiting_for_room(decision: Decision) -> tuple[int, ...]:
    """Desired versions with a pod that finds no node, and those whose turn comes after them."""
    stuck = {servable for servable, _ in refused(decision)}
    if not stuck:
        return ()
    return tuple(
        servable.version
        for servable in decision.desired.servables
        if servable in stuck or not is_begun(decision, servable)
    )


def room_message(decision: Decision) -> str:
    """How many of several versions wait, and for what; empty when none does, or there is only one."""
    waiting, wanted = waiting_for_room(decision), len(decision.desired.servables)
    if not waiting or wanted == 1:
        return ""
    servable, finding = refused(decision)[0]
    verb = "waits" if len(waiting) == 1 else "wait"
    remedy = "raise the quota" if QUOTA in finding.message else "free hardware"
    return (
        f"{len(waiting)} of {wanted} versions {verb} for room: version {servable.version}: "
        f"{finding.message}: {remedy}, or ask for fewer in spec.versions"
    )
