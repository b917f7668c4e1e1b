"""Scalars of the resource: durations, and counts that may be a share of the replicas."""

import math
import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints, WithJsonSchema

DURATION_PATTERN = r"^([0-9]{1,6}(ms|s|m|h)){1,4}$"
_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
}

Duration = Annotated[str, StringConstraints(pattern=DURATION_PATTERN, max_length=28)]
"""Go's notation without fractions or signs: `30s`, `1m30s`, `500ms`."""

PERCENT_PATTERN = r"^([1-9][0-9]?|100)%$"


def parse_duration(text: str) -> timedelta:
    """Read a duration.

    >>> parse_duration("1m30s").total_seconds()
    90.0
    """
    return sum(
        (int(count) * _UNITS[unit] for count, unit in _PART.findall(text)), start=timedelta()
    )


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number or a percentage")  # noqa: TRY004 (pydantic's way)
    return value


IntOrPercent = Annotated[
    int | str,
    BeforeValidator(_no_bool),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 4}),
]
"""`2`, or a share of the replicas: `25%`."""


def is_positive_count(value: int | str) -> bool:
    """Whether an `IntOrPercent` is at least 1, or 1 % to 100 %."""
    return value >= 1 if isinstance(value, int) else bool(re.match(PERCENT_PATTERN, value))


def positive_count_cel(field: str) -> str:
    """`is_positive_count` for the API server."""
    return f"type({field}) == int ? {field} >= 1 : {field}.matches('{PERCENT_PATTERN}')"


def resolve_count(value: int | str, replicas: int) -> int:
    """Pods that an `IntOrPercent` means for so many replicas: rounded up, at least 1.

    >>> resolve_count("25%", 4), resolve_count("25%", 2), resolve_count("100%", 3)
    (1, 1, 3)
    """
    if isinstance(value, int):
        return max(1, value)
    return max(1, math.ceil(replicas * int(value.removesuffix("%")) / 100))
