"""The Job of a pre-flight is there as long as something is tried out, and no longer."""

from collections.abc import Iterator

from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.model.observed import PreflightJob
from slipway_operator.planning.capacity.preflight import job_of
from slipway_operator.planning.decision import Decision
from slipway_operator.rendering.preflight.job import preflight_job


def preflight_deletions(decision: Decision) -> Iterator[Action]:
    """Delete the Jobs that have ended or that nobody waits for."""
    observed, current = decision.observed, _current(decision)
    for job in observed.preflights.jobs if observed.preflights else ():
        if job != current and not job.terminating:
            yield actions.Delete("Job", job.name, job.uid)


def preflight_creations(decision: Decision) -> Iterator[Action]:
    """Create the Job of what is to be tried out, when no other one has its name any more."""
    observed, wanted = decision.observed, decision.preflight.wanted
    if observed.preflights is None or wanted is None or decision.volume.reason:
        return
    if any(job.servable == wanted.id for job in observed.preflights.jobs):
        return
    yield actions.CreateJob(
        preflight_job(
            observed.model,
            wanted,
            observed.model.spec.transition.preflight,
            decision.settings,
            observed.source.identity,
            decision.volume.sharing,
        )
    )


def _current(decision: Decision) -> PreflightJob | None:
    wanted = decision.preflight.wanted
    check = decision.observed.model.spec.transition.preflight
    return job_of(decision.observed, wanted, check) if wanted else None
