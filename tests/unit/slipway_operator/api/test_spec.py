"""What the types themselves say; the whole table of good and bad Models is in tests/contracts."""

from typing import Any

import pytest
from pydantic import ValidationError

from slipway_operator.api.resource import InvalidModelError, parse
from slipway_operator.api.spec import ModelSpec, VersionPolicy
from slipway_operator.api.status import ModelStatus


def body(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits", "namespace": "ml", "uid": "u"},
        "spec": {"source": {"uri": "s3://models/digits"}} | spec,
    }


def test_a_model_with_nothing_but_a_source_has_defaults() -> None:
    spec = parse(body()).spec
    assert spec.versions == VersionPolicy(latest=1)
    assert spec.serving.replicas == 1
    assert spec.transition.policy == "AvailabilityPreserving"
    assert (spec.transition.max_surge, spec.transition.max_unavailable) == ("25%", 1)


@pytest.mark.parametrize(
    ("policy", "good"),
    [
        ({"latest": 1}, True),
        ({"specific": [0, 3]}, True),
        ({"all": True}, True),
        ({}, False),
        ({"latest": 1, "all": True}, False),
        ({"all": False}, False),
        ({"specific": []}, False),
        ({"specific": [3, 3]}, False),
        ({"specific": [-1]}, False),
        ({"latest": 0}, False),
    ],
)
def test_exactly_one_policy_of_versions(policy: dict[str, Any], good: bool) -> None:  # noqa: FBT001
    if good:
        VersionPolicy.model_validate(policy)
    else:
        with pytest.raises(ValidationError):
            VersionPolicy.model_validate(policy)


def test_what_is_wrong_is_said_with_its_place() -> None:
    with pytest.raises(InvalidModelError, match=r"^spec\.serving\.replicas: .*less than or equal"):
        parse(body(serving={"replicas": 10**6}))


def test_an_unreadable_status_is_computed_anew() -> None:
    assert parse(body() | {"status": {"conditions": "x"}}).status == ModelStatus()


def test_the_name_that_clients_use_is_the_resources_unless_given() -> None:
    assert parse(body()).model_name == "digits"
    assert parse(body(modelName="half_plus_two")).model_name == "half_plus_two"


def test_fields_of_a_later_release_are_let_through() -> None:
    assert isinstance(parse(body(shadow={"share": 1})).spec, ModelSpec)
