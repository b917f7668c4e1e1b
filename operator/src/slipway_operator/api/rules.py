"""What a validation rule is: one rule in two spellings, CEL for the API server and a predicate for pydantic.

The rules themselves stand beside the fields that they are about: in `spec.py`, `source.py` and `serving.py`.

They stand side by side so that they cannot drift apart unnoticed; `tests/contracts` sends one table of
manifests through both.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule about a whole object.

    Attributes:
        cel: The expression for `x-kubernetes-validations`, true when the object is good.
        holds: The same for the parsed object.
        message: What a person reads: what is wrong and what to write instead.
    """

    cel: str
    holds: Callable[[Any], bool]
    message: str


def attribute(field: str) -> str:
    """The attribute of a field.

    >>> attribute("pollInterval")
    'poll_interval'
    """
    return re.sub(r"([A-Z])", lambda m: "_" + m.group(1).lower(), field)


def matches_cel(text: str, pattern: str) -> str:
    """`re.fullmatch` for the API server; `text` is a CEL expression."""
    return f"{text}.matches(r'{pattern}')"


def matching(field: str, pattern: str, message: str) -> Rule:
    """A text that is empty or matches; `field` in camelCase."""

    def holds(value: Any) -> bool:
        text = getattr(value, attribute(field))
        return text == "" or re.fullmatch(pattern, text) is not None

    cel = matches_cel(f"self.{field}", pattern)
    return Rule(cel=f"self.{field} == '' || {cel}", holds=holds, message=message)


class ApiType(BaseModel):
    """Base of every type in the `Model` resource: camelCase outside, snake_case inside, frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """A null is as good as absent, as for the API server."""
        if isinstance(value, Mapping):
            return {key: item for key, item in value.items() if item is not None}
        return value

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in self.rules:
            if not rule.holds(self):
                raise ValueError(rule.message)
        return self
