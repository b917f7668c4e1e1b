"""The Job of a pre-flight is there as long as something is tried out, and no longer."""

from collections.abc import Iterator

from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.planning.capacity.preflight import job_of
from slipway_operator.planning.decision import Decision
from slipway_operator.rendering.preflight.job import preflight_job


def preflight_actions(decision: Decision) -> Iterator[Action]:
    """Create the Job of what is to be tried out; delete those that have ended or that nobody waits for."""
    observed, wanted = decision.observed, decision.preflight.wanted
    if observed.preflights is None:
        return
    check = observed.model.spec.transition.preflight
    current = job_of(observed, wanted, check) if wanted else None
    for job in observed.preflights.jobs:
        if job != current and not job.terminating:
            yield actions.Delete("Job", job.name, job.uid)
    if wanted is None or current is not None or decision.volume.reason:
        return
    manifest = preflight_job(
        observed.model, wanted, check, decision.settings, observed.source.identity,
        decision.volume.sharing,
    )  # fmt: skip
    if all(job.name != manifest["metadata"]["name"] for job in observed.preflights.jobs):
        yield actions.CreateJob(manifest)
