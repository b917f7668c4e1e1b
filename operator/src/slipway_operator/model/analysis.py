"""What the servers of two versions counted in an interval of a rollout."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Counters:
    """Requests of inference.

    Attributes:
        requests: Answered, whatever the answer was.
        errors: Of these, with another status than OK.
        buckets: How many took at most so many seconds, by upper limit; the last one is infinite.
    """

    requests: int = 0
    errors: int = 0
    buckets: Mapping[float, int] = field(default_factory=dict)

    def plus(self, other: "Counters") -> "Counters":
        """Both together."""
        limits = self.buckets.keys() | other.buckets.keys()
        buckets = {
            limit: self.buckets.get(limit, 0) + other.buckets.get(limit, 0) for limit in limits
        }
        return Counters(self.requests + other.requests, self.errors + other.errors, buckets)

    def since(self, before: "Counters") -> "Counters":
        """What came after `before`; everything where the server has started anew since."""
        if self.requests < before.requests or self.errors < before.errors:
            return self
        buckets = {
            limit: max(0, count - before.buckets.get(limit, 0))
            for limit, count in self.buckets.items()
        }
        return Counters(self.requests - before.requests, self.errors - before.errors, buckets)


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval of the analysis of a canary.

    Attributes:
        canary: Id of the servable that takes over.
        step: The rollout's step.
        since: When it began.
        until: When it ended; None while it is under way, and nothing is known of it yet.
        new: What the canary's servers counted.
        old: What those of the stable version counted.
        unread: Why counts of a pod are missing; empty when none are.
        reading: Whether it is over, and what was counted is being read.
        follows: Whether the one before it is in the status; after a restart none is.
    """

    canary: str
    step: int
    since: datetime
    until: datetime | None = None
    new: Counters = Counters()
    old: Counters = Counters()
    unread: str = ""
    reading: bool = False
    follows: bool = False
