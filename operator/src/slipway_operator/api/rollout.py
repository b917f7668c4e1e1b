"""`spec.rollout` of a Model: the steps in which a version takes over the traffic."""

import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from slipway_operator.api.fields import SpecType
from slipway_operator.api.quantities import DURATION_PATTERN, Duration, parse_duration, within
from slipway_operator.api.rules import Rule, matches_cel

_SHORTEST: Final = "1s"
_LONGEST: Final = "720h"
_SHARE_PATTERN: Final = r"^(100|[0-9]{1,2}([.][0-9]{1,2})?)%$"


def _is_pause(duration: str) -> bool:
    if duration == "":
        return True
    return bool(re.fullmatch(DURATION_PATTERN, duration)) and (
        parse_duration(_SHORTEST) <= parse_duration(duration) <= parse_duration(_LONGEST)
    )


class Pause(SpecType):
    """How long a step lasts; `{}` waits for a person."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.duration == '' || ({matches_cel('self.duration', DURATION_PATTERN)} && "
            f"duration(self.duration) >= duration('{_SHORTEST}') && "
            f"duration(self.duration) <= duration('{_LONGEST}'))",
            holds=lambda pause: _is_pause(pause.duration),
            message=f"pause.duration must be between {_SHORTEST} and {_LONGEST}, for example 2m; to wait for "
            "approval, write pause: {}",
        ),
    )

    duration: Duration = ""
    """Time from when the weight is reached to the next step; empty waits until the annotation
    slipway.dev/approve names the version and the step."""


class RolloutStep(SpecType):
    """One step of a rollout."""

    weight: Annotated[int, Field(ge=1, le=99, json_schema_extra={"format": "int32"})]
    """Share of requests without a version for the new version, in percent; as near as numbers of pods
    come to it, and at least one pod."""
    pause: Pause | None = None
    """What the step waits for once its weight is reached; if absent, the next step follows at once."""


class ErrorRate(SpecType):
    """How many more requests of the new version may fail."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=matches_cel("self.maxIncrease", _SHARE_PATTERN),
            holds=lambda rate: re.fullmatch(_SHARE_PATTERN, rate.max_increase) is not None,
            message="errorRate.maxIncrease must be 0% to 100%, with up to two decimals, for example 0.5%",
        ),
    )

    max_increase: Annotated[str, StringConstraints(max_length=16)] = "1%"
    """Percentage points by which the share of requests that are not answered with OK may exceed that of the
    old version."""


class Latency(SpecType):
    """How much slower the new version may be."""

    rules: ClassVar[tuple[Rule, ...]] = (within("minimumIncrease", "0s", "1h"),)

    percentile: Annotated[int, Field(ge=50, le=99, json_schema_extra={"format": "int32"})] = 99
    """Percentile of the durations of requests that is compared."""
    max_ratio: Annotated[float, Field(ge=1, le=100)] = 1.5
    """It may be at most this many times that of the old version."""
    minimum_increase: Duration = "5ms"
    """A smaller difference is never too slow: the servers' histograms are coarse."""


class Analysis(SpecType):
    """Comparison of the new version with the old one, by what their servers count."""

    rules: ClassVar[tuple[Rule, ...]] = (within("interval", "5s", "24h"),)

    interval: Duration = "1m"
    """A step ends only after one interval in which the new version was not worse; one in which it was ends
    the rollout."""
    error_rate: ErrorRate = Field(default_factory=ErrorRate, json_schema_extra={"default": {}})
    """Errors."""
    latency: Latency | None = None
    """Durations; if absent, they are not compared."""
    minimum_requests: Annotated[int, Field(ge=1, json_schema_extra={"format": "int32"})] = 100
    """Requests that each version must have answered in an interval."""
    on_too_few_requests: Literal["Wait", "Pass", "Fail"] = "Wait"
    """What an interval with fewer requests means: the step waits for another one, it was good, or the new
    version is rolled back."""


class Rollout(SpecType):
    """Steps in which a new version, or a changed spec, takes over the traffic."""

    steps: Annotated[list[RolloutStep], Field(min_length=1, max_length=16)]
    """In this order; after the last one the version takes all traffic."""
    analysis: Analysis | None = None
    """Comparison with the old version at each step; a version that is worse is rolled back. If absent, only
    versions that fail are."""
