"""What the types of the spec are made of: strict bases, names and label maps."""

import re
from typing import Annotated

from pydantic import Field, StringConstraints

from slipway_operator.api.rules import ApiType, Rule, attribute, matches_cel, matching

ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
ShortText = Annotated[str, StringConstraints(max_length=253)]
VersionNumber = Annotated[int, Field(ge=0, le=2**63 - 1, json_schema_extra={"format": "int64"})]

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
KEY_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"

NO_NAME = (
    "is not a valid name: write only a-z, 0-9, - and ., starting and ending with a letter or digit"
)


class SpecType(ApiType, strict=True):
    """Base of what a person writes: as for the API server, text is no number and no truth value."""


def object_names(*fields: str) -> tuple[Rule, ...]:
    """Names of other objects; a name with a slash would reach beyond its namespace."""
    return tuple(matching(field, NAME_PATTERN, f"{field} {NO_NAME}") for field in fields)


def label_map(field: str) -> Rule:
    """A map of labels; `field` in camelCase."""

    def good(key: str, value: str) -> bool:
        return bool(re.fullmatch(KEY_PATTERN, key) and re.fullmatch(VALUE_PATTERN, value))

    item = f"self.{field}[k]"
    shape = f"{matches_cel('k', KEY_PATTERN)} && {matches_cel(item, VALUE_PATTERN)}"
    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(k, {shape})",
        holds=lambda value: all(good(*pair) for pair in getattr(value, attribute(field)).items()),
        message=f"{field}: keys and values are up to 63 letters, digits, -, _ and ., starting and "
        "ending with a letter or digit; a key may have a prefix, for example example.com/team",
    )
