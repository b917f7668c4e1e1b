"""Writes the reference pages of the `Model` resource from its schema, and of its states and reasons from our enums."""

import ast
import inspect
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import yaml

from slipway_operator.api import names
from slipway_operator.api.conditions import ConditionType, EventReason, Reason
from slipway_operator.api.schema.crd import custom_resource_definition
from slipway_operator.api.status import VersionState
from slipway_operator.api.verbs import EXAMPLES, FORMS, Verb

_ANNOTATIONS: Final = (
    "What a person may ask of a rollout, with `kubectl annotate model NAME ANNOTATION=VALUE`. Each value names "
    "a version. A value that cannot be used is a message of the Model, and changes nothing."
)

Schema = dict[str, Any]

_STATES: Final = (
    f"What the status of a {names.KIND} and its Events can say. What to do about each: "
    "[Troubleshooting](../guide/troubleshooting.md), and for exports [Validation](../guide/validation.md)."
)
_REASONS: Final = "Reasons of conditions, of versions, and of Events that report a condition."
_EVENTS: Final = (
    "Reasons that only Events have. An Event that reports a condition has the condition's reason."
)


def page() -> str:
    """The page, in Markdown."""
    [version] = custom_resource_definition()["spec"]["versions"]
    root: Schema = version["schema"]["openAPIV3Schema"]
    lines = [
        "<!-- Written by `make generate`. Do not edit. -->",
        "",
        f"# {names.KIND}",
        "",
        f"`{names.API_VERSION}`, namespace-scoped, short name `{names.SHORT_NAME}`. {root['description']}",
        "",
        *_rules(root),
        *_object("spec", root["properties"]["spec"]),
        *_object("status", root["properties"]["status"]),
        "## Annotations",
        "",
        _ANNOTATIONS,
        "",
        *_verbs(),
        "",
        "## Columns",
        "",
        "| Column | From | Meaning |",
        "| --- | --- | --- |",
        *(
            f"| {column['name']}{' (`-o wide`)' if column.get('priority') else ''} "
            f"| `{_escaped(column['jsonPath'])}` | {column['description']} |"
            for column in version["additionalPrinterColumns"]
        ),
    ]
    return "\n".join(lines) + "\n"


def reasons_page() -> str:
    """The page of states, conditions and reasons, in Markdown."""
    lines = [
        "<!-- Written by `make generate`. Do not edit. -->",
        "",
        "# States, conditions and reasons",
        "",
        _STATES,
        "",
        "## States of a version",
        "",
        *_enum("State", VersionState),
        "## Conditions",
        "",
        *_enum("Type", ConditionType),
        "## Reasons",
        "",
        _REASONS,
        "",
        *_enum("Reason", Reason),
        "## Events",
        "",
        _EVENTS,
        "",
        *_enum("Reason", EventReason),
    ]
    return "\n".join(lines)


def _verbs() -> Iterator[str]:
    """The annotations that ask for something."""
    yield "| Annotation | Value | Example | Meaning |"
    yield "| --- | --- | --- | --- |"
    told = _docstrings(Verb)
    for verb in Verb:
        yield f"| `{verb.annotation}` | {FORMS[verb]} | `{EXAMPLES[verb]}` | {_escaped(told[verb.name])} |"


def _object(path: str, schema: Schema) -> Iterator[str]:
    """A section for an object, then one for each object in it."""
    yield f"## {path}"
    yield ""
    yield schema["description"]
    yield ""
    yield "| Field | Type | Default | Meaning |"
    yield "| --- | --- | --- | --- |"
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        default = "required" if name in required else _default(field)
        meaning = _escaped(field.get("description", ""))
        yield f"| `{name}` | {_type(field)} | {default} | {meaning} |"
    yield ""
    yield from _rules(schema)
    for name, field in schema["properties"].items():
        if "properties" in field:
            yield from _object(f"{path}.{name}", field)
        elif "properties" in field.get("items", {}):
            yield from _object(f"{path}.{name}[]", field["items"])


def _rules(schema: Schema) -> Iterator[str]:
    rules = schema.get("x-kubernetes-validations", ())
    if rules:
        yield "Validation rules, each with its error message:"
        yield ""
    for rule in rules:
        yield f"* {rule['message']}"
    if rules:
        yield ""


def _default(schema: Schema) -> str:
    if "default" not in schema or schema["default"] in ("", {}):
        return ""
    written = yaml.safe_dump(
        schema["default"], default_flow_style=True, sort_keys=False, width=1000
    )
    text = written.strip().removesuffix("...").strip()
    return f"`{text}`" if "properties" not in schema or len(schema["default"]) == 1 else "see below"


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" if value else "empty" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string" + _bounds(schema)
    kind: str = schema["type"]
    match kind:
        case "array":
            return f"list of {_type(schema['items'])}" + _bounds(schema)
        case "object" if "additionalProperties" in schema:
            return f"map to {_type(schema['additionalProperties'])}" + _bounds(schema)
        case "string" if schema.get("format") == "date-time":
            return "time"
        case _:
            words = {"string": "string", "integer": "integer", "boolean": "boolean"}
            return words.get(kind, kind) + _bounds(schema)


def _bounds(schema: Schema) -> str:
    """What the schema itself limits, in words."""
    told = [
        f"{words} {schema[key]}"
        for key, words in (
            ("minimum", "at least"),
            ("maximum", "at most"),
            ("minItems", "at least"),
            ("maxItems", "at most"),
            ("maxProperties", "at most"),
        )
        if key in schema
    ]
    return f" ({', '.join(told)})" if told else ""


def _enum(title: str, kind: type[StrEnum]) -> Iterator[str]:
    """A table of an enum's values and what stands under each in the source."""
    meanings = _docstrings(kind)
    yield f"| {title} | Meaning |"
    yield "| --- | --- |"
    for member in kind:
        yield f"| `{member.value}` | {_escaped(meanings[member.name])} |"
    yield ""


def _docstrings(kind: type[StrEnum]) -> dict[str, str]:
    """The text under each member; Python keeps none at run time."""
    [definition] = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 (it is the source of a class)
    found: dict[str, str] = {}
    name = ""
    for statement in definition.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=assigned)]):
                name = assigned
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                found[name] = " ".join(text.split())
            case _:
                continue
    return found


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
