"""`spec.rollout` of a Model: the steps in which a version takes over the traffic."""

import re
from typing import Annotated, ClassVar, Final

from pydantic import Field

from slipway_operator.api.fields import SpecType
from slipway_operator.api.quantities import DURATION_PATTERN, Duration, parse_duration
from slipway_operator.api.rules import Rule, matches_cel

_SHORTEST: Final = "1s"
_LONGEST: Final = "720h"


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


class Rollout(SpecType):
    """Steps in which a new version, or a changed spec, takes over the traffic."""

    steps: Annotated[list[RolloutStep], Field(min_length=1, max_length=16)]
    """In this order; after the last one the version takes all traffic."""
