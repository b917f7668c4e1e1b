"""Scalars of the resource: durations, and counts that may be a share of the replicas."""

import math
import re
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, StringConstraints, WithJsonSchema

from slipway_operator.api.rules import Rule, attribute, matches_cel

DURATION_PATTERN = r"^([0-9]{1,5}(ms|s|m|h)){1,4}$"
"""The longest that matches, 4 × 99 999 h, still fits the API server's 64 bits of nanoseconds."""
_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
}

Duration = Annotated[str, StringConstraints(max_length=64)]
"""Go's notation without fractions or signs: `30s`, `1m30s`, `500ms`; a rule holds its bounds."""

PERCENT_PATTERN = r"^([1-9][0-9]?|100)%$"


def parse_duration(text: str) -> timedelta:
    """Read a duration.

    >>> parse_duration("1m30s").total_seconds()
    90.0
    """
    return sum(
        (int(count) * _UNITS[unit] for count, unit in _PART.findall(text)), start=timedelta()
    )


def within(field: str, low: str, high: str) -> Rule:
    """A duration between two bounds; `field` in camelCase."""

    def holds(value: Any) -> bool:
        text = getattr(value, attribute(field))
        if not re.fullmatch(DURATION_PATTERN, text):
            return False
        return parse_duration(low) <= parse_duration(text) <= parse_duration(high)

    shape = matches_cel(f"self.{field}", DURATION_PATTERN)
    value = f"duration(self.{field})"
    return Rule(
        cel=f"{shape} && {value} >= duration('{low}') && {value} <= duration('{high}')",
        holds=holds,
        message=f"{field} must be between {low} and {high}, for example 30s or 1m30s",
    )


QUANTITY_PATTERN = r"^[0-9]+([.][0-9]+)?(n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$"

Quantity = Annotated[
    int | str,
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 64}),
]
"""A Kubernetes quantity without sign and exponent: `1`, `500m`, `8Gi`."""


_SCALE: Final = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1),
    **{unit: Fraction(1000**n) for n, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: Fraction(1024**n) for n, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}  # fmt: skip


def exact_quantity(value: int | str) -> Fraction:
    """A quantity as it is, with an exponent too.

    >>> exact_quantity("1000m") == exact_quantity(1) == exact_quantity("1e0")
    True

    Raises:
        ValueError: It is none.
    """
    digits = str(value).rstrip("numkMGTPEi")
    try:
        return Fraction(digits) * _SCALE[str(value)[len(digits) :]]
    except KeyError as error:
        raise ValueError(f"{value} is no quantity") from error


def parse_quantity(value: int | str) -> int:
    """A quantity as a whole number, rounded up.

    >>> parse_quantity("1.5Gi"), parse_quantity("500m"), parse_quantity(7)
    (1610612736, 1, 7)
    """
    return math.ceil(exact_quantity(value))


def _good(value: int | str) -> bool:
    if isinstance(value, int):
        return value >= 0
    return re.fullmatch(QUANTITY_PATTERN, value) is not None


def _good_cel(item: str) -> str:
    return f"type({item}) == int ? {item} >= 0 : {matches_cel(item, QUANTITY_PATTERN)}"


def quantity(field: str) -> Rule:
    """A quantity that must be there; `field` in camelCase."""
    return Rule(
        cel=_good_cel(f"self.{field}"),
        holds=lambda value: _good(getattr(value, attribute(field))),
        message=f"{field}: a quantity is like 1, 500m or 8Gi",
    )


def quantities(field: str) -> Rule:
    """A map of quantities; `field` in camelCase."""
    shape = _good_cel(f"self.{field}[k]")
    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(k, {shape})",
        holds=lambda value: all(_good(item) for item in getattr(value, attribute(field)).values()),
        message=f"{field}: a quantity is like 1, 500m or 8Gi",
    )


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number or a percentage")  # noqa: TRY004 (pydantic's way)
    return value


IntOrPercent = Annotated[
    int | str,
    BeforeValidator(_no_bool),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 64}),
]
"""`2`, or a share of the replicas: `25%`."""


def is_positive_count(value: int | str) -> bool:
    """Whether an `IntOrPercent` is at least 1, or 1 % to 100 %."""
    return value >= 1 if isinstance(value, int) else bool(re.fullmatch(PERCENT_PATTERN, value))


def positive_count_cel(field: str) -> str:
    """`is_positive_count` for the API server."""
    return f"type({field}) == int ? {field} >= 1 : {matches_cel(field, PERCENT_PATTERN)}"


def resolve_count(value: int | str, replicas: int) -> int:
    """Pods that an `IntOrPercent` means for so many replicas: rounded up, at least 1.

    >>> resolve_count("25%", 4), resolve_count("25%", 2), resolve_count("100%", 3)
    (1, 1, 3)
    """
    if isinstance(value, int):
        return max(1, value)
    return max(1, math.ceil(replicas * int(value.removesuffix("%")) / 100))
