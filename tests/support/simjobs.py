"""The pre-flight Jobs of a `Fleet`: what the API server and the Job controller keep of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from slipway_operator.api import names
from slipway_operator.model.observed import Pod, PreflightJob, Preflights

if TYPE_CHECKING:
    from fleet import SimPod


@dataclass
class SimJob:
    """A Job and its only pod."""

    uid: str
    check: str
    pod: SimPod
    complete: bool = False
    terminating: bool = False


@dataclass
class SimJobs:
    """All of them, by name.

    Attributes:
        created: How many there have ever been.
    """

    jobs: dict[str, SimJob] = field(default_factory=dict)
    created: int = 0

    def uid(self, name: str) -> str:
        """Of the Job of that name; empty when there is none."""
        return self.jobs[name].uid if name in self.jobs else ""

    def create(self, name: str, uid: str, check: str, pod: SimPod) -> None:
        self.created += 1
        self.jobs[name] = SimJob(uid, check, pod)

    def delete(self, name: str) -> None:
        """It is gone when the garbage collector has had its turn."""
        self.jobs[name].terminating = True

    def reap(self) -> bool:
        """The garbage collector takes what is being deleted; tells whether it did anything."""
        before = len(self.jobs)
        self.jobs = {name: job for name, job in self.jobs.items() if not job.terminating}
        return len(self.jobs) < before

    def running(self) -> list[SimJob]:
        return [job for job in self.jobs.values() if not job.complete and not job.terminating]

    def seen(self, see: Callable[[SimPod], Pod]) -> Preflights:
        """As the operator sees them."""
        return Preflights(
            tuple(
                PreflightJob(
                    name,
                    job.uid,
                    job.pod.labels[names.SERVABLE_LABEL],
                    job.check,
                    complete=job.complete,
                    terminating=job.terminating,
                    pod=replace(see(job.pod), ready=False),
                )
                for name, job in self.jobs.items()
            )
        )
