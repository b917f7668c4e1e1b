"""A Model as it comes from the API server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from slipway_operator.api import names
from slipway_operator.api.rules import Rule, matches_cel
from slipway_operator.api.spec import ModelSpec, VersionPolicy
from slipway_operator.api.status import ModelStatus
from slipway_operator.api.verbs import Editors, Verbs, read_editors, read_verbs


class InvalidModelError(ValueError):
    """The API server let through what the operator cannot use; the text is for the user."""


METADATA_RULES: Final = (
    Rule(
        cel=f"self.metadata.name.size() <= {names.MAX_NAME_LENGTH}",
        holds=lambda metadata: len(metadata["name"]) <= names.MAX_NAME_LENGTH,
        message=f"metadata.name may have at most {names.MAX_NAME_LENGTH} characters: it is part of "
        "the names of the Services NAME-vN; spec.modelName may be longer",
    ),
    Rule(
        cel=matches_cel("self.metadata.name", names.NAME_PATTERN),
        holds=lambda metadata: re.fullmatch(names.NAME_PATTERN, metadata["name"]) is not None,
        message="metadata.name must start with a letter and contain only a-z, 0-9 and -: "
        "Services are named after it; spec.modelName may contain other characters",
    ),
)


@dataclass(frozen=True, slots=True)
class ModelResource:
    """A parsed Model.

    Attributes:
        status: What was last written; empty when there is none or it cannot be read.
        verbs: What its annotations ask for.
        editors: Who has set these and the spec.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    spec: ModelSpec
    status: ModelStatus
    verbs: Verbs = field(default_factory=Verbs)
    editors: Editors = field(default_factory=Editors)

    @property
    def model_name(self) -> str:
        """What clients ask for."""
        return self.spec.model_name or self.name

    @property
    def versions(self) -> VersionPolicy:
        """Which versions should serve: as the spec says, or the one that is pinned."""
        pinned = self.verbs.pinned
        return self.spec.versions if pinned is None else VersionPolicy(specific=[pinned])


@dataclass(frozen=True, slots=True)
class InvalidModel:
    """A Model whose name or spec cannot be used: nothing is done for it but to say so.

    Attributes:
        status: What was last written; empty when there is none or it cannot be read.
        message: What is wrong, for the user.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    status: ModelStatus
    message: str


def describe(error: ValidationError) -> str:
    """A validation error as one sentence: every place and what is wrong there."""
    return "; ".join(
        ".".join(["spec", *(str(part) for part in item["loc"])])
        + ": "
        + item["msg"].removeprefix("Value error, ")
        for item in error.errors(include_url=False)
    )


def parse(body: Mapping[str, Any]) -> ModelResource:
    """Read a Model.

    Raises:
        InvalidModelError: Its name or its spec is not valid.
    """
    metadata = body["metadata"]
    for rule in METADATA_RULES:
        if not rule.holds(metadata):
            raise InvalidModelError(rule.message)
    try:
        spec = ModelSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        raise InvalidModelError(describe(error)) from error
    return ModelResource(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        resource_version=metadata.get("resourceVersion", ""),
        spec=spec,
        status=_status(body),
        verbs=read_verbs(metadata.get("annotations") or {}),
        editors=read_editors(metadata.get("managedFields") or ()),
    )


def invalid(body: Mapping[str, Any], message: str) -> InvalidModel:
    """A Model that `parse` has refused, with the text of its error."""
    metadata = body["metadata"]
    return InvalidModel(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        status=_status(body),
        message=message,
    )


def _status(body: Mapping[str, Any]) -> ModelStatus:
    try:
        return ModelStatus.model_validate(body.get("status") or {})
    except ValidationError:
        # Written by another release; it is computed anew.
        return ModelStatus()
