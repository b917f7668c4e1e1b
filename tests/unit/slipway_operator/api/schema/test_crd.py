import re
from collections.abc import Iterator
from typing import Any

import pytest

from slipway_operator.api.schema.crd import (
    UnknownKeywordError,
    custom_resource_definition,
    structural,
)


@pytest.mark.parametrize(
    ("pydantic", "kubernetes"),
    [
        ({"type": "string", "title": "Uri"}, {"type": "string"}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}, {"type": "integer"}),
        ({"const": "s3"}, {"enum": ["s3"]}),
        ({"type": "object", "additionalProperties": False}, {"type": "object"}),
        (
            {"type": "object", "additionalProperties": {"type": "string", "title": "x"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        ({"required": ["b", "a"]}, {"required": ["a", "b"]}),
        ({"description": "two\n    lines"}, {"description": "two lines"}),
    ],
)
def test_a_keyword_becomes_what_kubernetes_has_for_it(
    pydantic: dict[str, Any], kubernetes: dict[str, Any]
) -> None:
    assert structural(pydantic, {}, {}) == kubernetes


def test_a_reference_is_inlined_with_its_rules_and_its_own_description() -> None:
    schema = structural(
        {"$ref": "#/$defs/Source", "description": "Where"},
        {"Source": {"type": "object", "title": "Source", "description": "General"}},
        {"Source": [{"rule": "true", "message": "m"}]},
    )
    assert schema == {
        "type": "object",
        "description": "Where",
        "x-kubernetes-validations": [{"rule": "true", "message": "m"}],
    }


@pytest.mark.parametrize("keyword", ["exclusiveMinimum", "uniqueItems", "oneOf", "discriminator"])
def test_a_keyword_that_kubernetes_does_not_have_is_an_error_here(keyword: str) -> None:
    with pytest.raises(UnknownKeywordError, match=keyword):
        structural({"type": "object", "properties": {"a": {keyword: 1}}}, {}, {})


def _walk(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for item in schema for found in _walk(item)]
    if not isinstance(schema, dict):
        return []
    return [schema, *(found for item in schema.values() for found in _walk(item))]


def test_everything_a_person_writes_is_bounded() -> None:
    """The API server refuses a rule whose worst cost it cannot bound."""
    [version] = custom_resource_definition()["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    unbounded = [
        part
        for part in _walk(spec)
        if (part.get("type") == "array" and "maxItems" not in part)
        or (part.get("type") == "string" and not {"maxLength", "enum", "format"} & part.keys())
        or (isinstance(part.get("additionalProperties"), dict) and "maxProperties" not in part)
    ]
    assert unbounded == []


def test_the_columns_are_those_that_people_were_promised() -> None:
    [version] = custom_resource_definition()["spec"]["versions"]
    columns = version["additionalPrinterColumns"]
    always = [c["name"] for c in columns if not c.get("priority")]
    wide = [c["name"] for c in columns if c.get("priority")]
    assert always == ["Ready", "Serving", "Target", "Phase", "Replicas", "Age"]
    assert wide == ["Policy", "Source", "URL", "Message"]


RESERVED = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
]


def test_no_rule_names_a_field_by_a_reserved_word_of_cel() -> None:
    """Such a field is `__namespace__` in a rule; by its own name it is unknown, and its cost without a bound."""

    def rules(schema: Any) -> Iterator[str]:
        if isinstance(schema, dict):
            yield from (rule["rule"] for rule in schema.get("x-kubernetes-validations", ()))
            schema = list(schema.values())
        if isinstance(schema, list):
            for item in schema:
                yield from rules(item)

    found = list(rules(custom_resource_definition()))
    assert any("__namespace__" in rule for rule in found)
    for rule in found:
        assert not re.findall(rf"[.]({'|'.join(RESERVED)})\b", rule), rule
