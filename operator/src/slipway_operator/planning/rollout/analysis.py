"""Whether a canary is worse than what it takes over from: a function of what both counted in an interval."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from slipway_operator.api.conditions import Reason
from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.rollout import Analysis, Latency
from slipway_operator.api.status import (
    AnalysisStatus,
    RolloutStatus,
    VersionState,
    VersionStatus,
    timestamp,
)
from slipway_operator.model.analysis import Counters, Interval
from slipway_operator.model.observed import Observed
from slipway_operator.model.servable import Servable
from slipway_operator.planning.rollout.record import canary_of, is_held
from slipway_operator.planning.versions.diagnosis import Finding
from slipway_operator.planning.versions.failures import failed_reason, record_failure

_TOLD_AGAIN: Final = timedelta(minutes=5)
"""An interval that shows the same as the last one that was told is news after so long: each write is a line
for everybody who watches, and other numbers alone are no reason to go on."""


class Outcome(StrEnum):
    """What an interval says of the canary."""

    GOOD = "Good"
    WORSE = "Worse"
    UNKNOWN = "Unknown"
    """Too few requests, or the counts of a pod are missing: the next interval may tell."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, and what it is about in one sentence."""

    outcome: Outcome
    message: str


def percentile(counters: Counters, percent: int) -> float:
    """Seconds that this share of requests took at most, interpolated within its bucket; 0 without requests.

    >>> percentile(Counters(10, 0, {0.1: 5, 0.2: 10, float("inf"): 10}), 75)
    0.15
    """
    ordered = sorted(counters.buckets.items())
    total = ordered[-1][1] if ordered else 0
    rank = total * percent / 100
    low, below = 0.0, 0
    for limit, count in ordered:
        if count >= rank and count > below:
            if limit == float("inf"):
                return low
            return low + (limit - low) * (rank - below) / (count - below)
        low, below = limit, count
    return 0.0


def verdict(analysis: Analysis, interval: Interval) -> Verdict:
    """What an interval that has ended says of the canary."""
    new, old = interval.new, interval.old
    if interval.unread:
        # Not a question of how much traffic there is: nobody knows.
        return Verdict(Outcome.UNKNOWN, interval.unread)
    if min(new.requests, old.requests) < analysis.minimum_requests:
        text = (
            f"{new.requests} requests to the new version and {old.requests} to the old one, "
            f"{analysis.minimum_requests} are needed (spec.rollout.analysis.minimumRequests)"
        )
        outcomes = {"Pass": Outcome.GOOD, "Fail": Outcome.WORSE, "Wait": Outcome.UNKNOWN}
        return Verdict(outcomes[analysis.on_too_few_requests], f"too few requests: {text}")
    was, now = 100 * old.errors / old.requests, 100 * new.errors / new.requests
    rates = f"{now:.2f}% of {new.requests} requests failed, {was:.2f}% of {old.requests} with the old version"
    most = float(analysis.error_rate.max_increase.removesuffix("%"))
    if now - was > most:
        return Verdict(
            Outcome.WORSE, f"{rates}: more than {most:g} points above (errorRate.maxIncrease)"
        )
    if analysis.latency is None:
        return Verdict(Outcome.GOOD, rates)
    return _compared(analysis.latency, new, old, rates)


def _compared(latency: Latency, new: Counters, old: Counters, rates: str) -> Verdict:
    was, now = percentile(old, latency.percentile), percentile(new, latency.percentile)
    text = f"the {latency.percentile}th percentile took {now * 1000:.1f} ms, {was * 1000:.1f} ms with the old version"
    least = parse_duration(latency.minimum_increase).total_seconds()
    if now > was * latency.max_ratio and now - was > least:
        return Verdict(
            Outcome.WORSE, f"{text}: more than {latency.max_ratio:g} times (latency.maxRatio)"
        )
    return Verdict(Outcome.GOOD, f"{rates}; {text}")


def condemn(observed: Observed, now: datetime) -> Observed:
    """The snapshot with a canary that an interval has found worse written into its status as failed."""
    found = _ended(observed)
    if found is None or found.outcome is not Outcome.WORSE or observed.model.spec.paused:
        return observed
    rollout = observed.model.status.rollout
    assert rollout  # noqa: S101 (an interval has one)
    canary = Servable(rollout.version, "", "", rollout.key)
    text = f"{found.message}; it is tried again when its export or the spec changes, or slipway.dev/retry asks for it"
    failure = Finding(VersionState.ROLLED_BACK, Reason.ANALYSIS_FAILED, text, final=True)
    return record_failure(observed, canary, failure, now)


def is_condemned(row: VersionStatus) -> bool:
    """Whether what failed of a version can be loaded, and must not be asked."""
    return failed_reason(row) == Reason.ANALYSIS_FAILED


def _ended(observed: Observed) -> Verdict | None:
    """What the interval that has just ended says; None when none has, or it is about something else."""
    interval, rollout = observed.interval, observed.model.status.rollout
    spec = observed.model.spec.rollout
    if interval is None or interval.until is None or spec is None or spec.analysis is None:
        return None
    return verdict(spec.analysis, interval) if _about(interval, rollout) else None


def _about(interval: Interval, rollout: RolloutStatus | None) -> bool:
    if rollout is None or not is_held(rollout):
        return False
    return (interval.canary, interval.step) == (canary_of(rollout), rollout.step)


def analysed(observed: Observed, rollout: RolloutStatus) -> AnalysisStatus | None:
    """Where the analysis of the step under way stands."""
    spec, interval, known = observed.model.spec.rollout, observed.interval, rollout.analysis
    if spec is None or spec.analysis is None:
        return None
    if interval is None or not _about(interval, rollout):
        return known
    found = _ended(observed)
    if found is None:
        since = timestamp(interval.since)
        if known is None:
            return AnalysisStatus(since=since)
        if interval.follows or known.since == since:
            return known
        text = f"the interval began anew at {since}: the operator had started again, or lost its counts"
        return known.model_copy(update={"since": since, "outcome": "", "message": text})
    until = interval.until or interval.since
    if known and known.outcome == found.outcome:
        told = datetime.fromisoformat(known.since)
        if until - told < _TOLD_AGAIN:
            return known
    passed = (known.passed if known else 0) + (found.outcome is Outcome.GOOD)
    return AnalysisStatus(
        since=timestamp(until), passed=passed, outcome=found.outcome, message=found.message
    )


def is_being_read(observed: Observed, rollout: RolloutStatus) -> bool:
    """Whether an interval of the step under way is over, and nobody knows yet what it has shown."""
    interval = observed.interval
    return interval is not None and interval.reading and _about(interval, rollout)


def analysis_due(observed: Observed, now: datetime) -> timedelta | None:
    """Time until the interval under way ends; None when none is, or its end is being read."""
    spec, interval = observed.model.spec.rollout, observed.interval
    rollout = observed.model.status.rollout
    if spec is None or spec.analysis is None or observed.model.spec.paused or not is_held(rollout):
        return None
    if interval is None or rollout is None or not _about(interval, rollout):
        return None
    if interval.reading:
        return None
    began = interval.until or interval.since
    return max(timedelta(0), began + parse_duration(spec.analysis.interval) - now)
