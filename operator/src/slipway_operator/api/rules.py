"""One rule in two spellings: CEL for the API server, a predicate for pydantic.

They stand side by side so that they cannot drift apart unnoticed; `tests/contracts` sends one table of
manifests through both.
"""

from collections.abc import Callable
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

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in self.rules:
            if not rule.holds(self):
                raise ValueError(rule.message)
        return self
