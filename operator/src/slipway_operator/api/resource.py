"""A Model as it comes from the API server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import ModelStatus


class InvalidModelError(ValueError):
    """The API server let through what the operator cannot use; the text is for the user."""


@dataclass(frozen=True, slots=True)
class ModelResource:
    """A parsed Model.

    Attributes:
        status: What was last written; empty when there is none or it cannot be read.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    spec: ModelSpec
    status: ModelStatus

    @property
    def model_name(self) -> str:
        """What clients ask for."""
        return self.spec.model_name or self.name


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
        InvalidModelError: Its spec is not valid.
    """
    metadata = body["metadata"]
    try:
        spec = ModelSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        raise InvalidModelError(describe(error)) from error
    try:
        status = ModelStatus.model_validate(body.get("status") or {})
    except ValidationError:
        # Written by another release; it is computed anew.
        status = ModelStatus()
    return ModelResource(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        resource_version=metadata.get("resourceVersion", ""),
        spec=spec,
        status=status,
    )
