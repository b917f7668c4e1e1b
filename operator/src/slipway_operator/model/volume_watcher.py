"""The pod that lists a volume for the operator."""

from dataclasses import dataclass, field
from datetime import datetime

from slipway_operator.model.observed import Container


@dataclass(frozen=True, slots=True)
class WatchPod:
    """A pod of the Deployment NAME-source.

    Attributes:
        inputs: Hash of what it was made from.
        unschedulable: The scheduler's own sentence; empty when it is scheduled or not judged yet.
        ended: It is Failed or Succeeded: another one takes its place.
    """

    name: str
    uid: str
    created_at: datetime
    inputs: str = ""
    terminating: bool = False
    ended: bool = False
    unschedulable: str = ""
    watch: Container = field(default_factory=Container)
