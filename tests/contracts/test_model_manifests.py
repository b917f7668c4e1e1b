"""What the operator's own types say of the table of Models; the API server's part is in
tests/integration/test_models_api.py."""

import json
from collections import Counter
from typing import Any

import pytest

from model_manifests import BAD, CASES, GOOD, Case
from slipway_operator.api.resource import InvalidModelError, ModelResource, parse
from slipway_operator.api.schema.crd import custom_resource_definition
from slipway_operator.api.spec import ModelSpec


def read(case: Case) -> ModelResource:
    body = case.manifest
    body["metadata"] |= {"uid": "1"}
    return parse(json.loads(json.dumps(body)))


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.case)
def test_a_good_model_is_read(case: Case) -> None:
    assert read(case).name == case.name


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.case)
def test_a_bad_model_is_refused_with_its_sentence(case: Case) -> None:
    with pytest.raises(InvalidModelError) as refusal:
        read(case)
    assert (case.says or case.at) in str(refusal.value)


def test_the_table_is_large_and_names_no_case_twice() -> None:
    assert len(GOOD) >= 15
    assert len(BAD) >= 60
    assert [case for case, count in Counter(c.case for c in CASES).items() if count > 1] == []


def test_every_rule_of_ours_is_broken_by_a_case() -> None:
    """A rule that no case breaks is a rule that nobody has seen to work."""
    said = [case.says for case in BAD if case.says]
    silent = [
        message
        for message in _messages(custom_resource_definition())
        if not any(words in message for words in said)
    ]
    assert silent == []


def _messages(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [message for item in schema for message in _messages(item)]
    if not isinstance(schema, dict):
        return []
    own = [rule["message"] for rule in schema.get("x-kubernetes-validations", [])]
    return own + [message for item in schema.values() for message in _messages(item)]


def test_what_is_read_can_be_written_and_read_again() -> None:
    for case in GOOD:
        spec = read(case).spec
        written = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
        assert ModelSpec.model_validate(written) == spec
