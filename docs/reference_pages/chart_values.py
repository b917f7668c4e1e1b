"""The page of the chart's values: names and defaults from values.yaml, types from values.schema.json.

What a value means is the comment right above it in values.yaml, or else its `description` in the schema.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

Schema = Mapping[str, Any]

HEAD: Final = """\
<!-- Written by `make generate`. Do not edit. -->

# Values of the chart

Every value of `charts/slipway`, with its default. Helm refuses unknown values and values of another type. How to set
them, and what they are for: [Install](../guide/install.md).

| Value | Type | Default | Meaning |
| --- | --- | --- | --- |
"""


def page(values: str, schema: str) -> str:
    """The page, in Markdown, from the texts of values.yaml and values.schema.json.

    Raises:
        ValueError: a value is not in the schema, or nothing says what it means.
    """
    root = yaml.compose(values, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 (values are a mapping)
    types = json.loads(schema)
    return HEAD + "".join(
        f"{line}\n" for line in _rows(root, types, _Texts(values.splitlines(), types), "")
    )


class _Texts:
    """The comments of values.yaml, and the definitions of the schema."""

    def __init__(self, lines: list[str], root: Schema) -> None:
        self._lines = lines
        self._root = root

    def above(self, line: int) -> str:
        """The comment that ends right above this line (from 0); empty without one."""
        first = line
        while first and self._lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return " ".join(text.strip().lstrip("#").strip() for text in self._lines[first:line])

    def resolved(self, schema: Schema) -> Schema:
        """The schema with what it refers to; what stands beside the reference wins."""
        reference = schema.get("$ref", "")
        if not reference:
            return schema
        found = self._root
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return {**found, **schema}


def _rows(node: yaml.MappingNode, schema: Schema, texts: _Texts, path: str) -> Iterator[str]:
    for key, value in node.value:
        name = f"{path}{key.value}"
        if key.value not in schema.get("properties", {}):
            message = (
                f"values.schema.json has no {name}: add it there, or remove it from values.yaml"
            )
            raise ValueError(message)
        field = texts.resolved(schema["properties"][key.value])
        meaning = texts.above(key.start_mark.line) or field.get("description", "")
        has_parts = (
            isinstance(value, yaml.MappingNode) and bool(value.value) and "properties" in field
        )
        if not has_parts:
            if not meaning:
                message = f"nothing says what {name} means: write a comment above it in values.yaml"
                raise ValueError(message)
            yield _row(name, _type(field, texts), f"`{_default(value)}`", meaning)
            continue
        if meaning:
            yield _row(name, "", "", meaning)
        yield from _rows(value, field, texts, f"{name}.")


def _row(name: str, kind: str, default: str, meaning: str) -> str:
    cells = (f"`{name}`", kind, default, _escaped(meaning))
    return "| " + " | ".join(cells) + " |"


def _default(node: yaml.Node) -> str:
    value = yaml.SafeLoader("").construct_document(node)
    return (
        json.dumps(value, ensure_ascii=False) if not isinstance(value, str) or not value else value
    )


def _type(schema: Schema, texts: _Texts) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    match schema["type"]:
        case "array":
            items = texts.resolved(schema["items"])
            return f"list of {'objects' if items['type'] == 'object' else items['type'] + 's'}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return "map"
        case "integer" if "minimum" in schema:
            return f"integer, {schema['minimum']} to {schema['maximum']}"
        case kind:
            return str(kind)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
