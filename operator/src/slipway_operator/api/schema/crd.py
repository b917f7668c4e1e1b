"""Writes the CustomResourceDefinition from the pydantic types.

Pydantic's JSON schema is not a structural schema: references are inlined, titles dropped, optional
fields lose their `null`, and a keyword that the API server does not know is an error here rather
than a surprise there.
"""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.resource import METADATA_RULES
from slipway_operator.api.rules import ApiType, Rule
from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import ModelStatus

_COPIED: Final = frozenset(
    {
        "type", "format", "default", "enum", "pattern", "minimum", "maximum",
        "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
        "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    }
)  # fmt: skip
_DROPPED: Final = frozenset({"title", "$defs"})
_INT64_MAX: Final = 2**63 - 1


class UnknownKeywordError(ValueError):
    """Pydantic wrote a keyword that a structural schema does not have."""


def structural(  # noqa: C901, PLR0912 (one case for each keyword)
    schema: dict[str, Any], defs: dict[str, Any], rules: dict[str, Any]
) -> dict[str, Any]:
    """A JSON schema as Kubernetes wants it.

    Args:
        schema: Pydantic's, or a part of it.
        defs: Its `$defs`.
        rules: `x-kubernetes-validations` of each definition, by name.

    Raises:
        UnknownKeywordError: A keyword has no place in a structural schema.
    """
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        resolved = structural(defs[name], defs, rules)
        if found := rules.get(name):
            resolved["x-kubernetes-validations"] = found
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        resolved |= structural(siblings, defs, rules)
        if "default" in resolved:
            resolved["default"] = _filled(resolved)
        return resolved
    out: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "anyOf":
                [kept] = [option for option in value if option.get("type") != "null"]
                out |= structural(kept, defs, rules)
            case "const":
                out["enum"] = [value]
            case "properties":
                out["properties"] = {
                    name: structural(sub, defs, rules) for name, sub in value.items()
                }
            case "items" | "additionalProperties":
                if isinstance(value, dict):
                    out[key] = structural(value, defs, rules)
            case "required":
                out["required"] = sorted(value)
            case "description":
                out["description"] = " ".join(value.split())
            case "maximum" if value == _INT64_MAX:
                # The API server reads a maximum as a float, which has no room for it; the format
                # says the same.
                continue
            case _ if key in _COPIED:
                if not (key == "default" and value is None):
                    out[key] = value
            case _ if key in _DROPPED:
                continue
            case _:
                raise UnknownKeywordError(f"{key!r} in {schema!r}")
    return out


def _filled(schema: dict[str, Any]) -> dict[str, Any]:
    """An object's default with its fields' own: rules are checked before those are filled in."""
    fields = schema.get("properties", {})
    inner = {
        # Copies: what is shared would be written as YAML anchors.
        name: deepcopy(field["default"])
        for name, field in fields.items()
        if "default" in field
    }
    return inner | dict(schema["default"])


def _subclasses(cls: type[ApiType]) -> list[type[ApiType]]:
    return [sub for direct in cls.__subclasses__() for sub in (direct, *_subclasses(direct))]


def _validations(rules: Iterable[Rule]) -> list[dict[str, str]]:
    return [{"rule": rule.cel, "message": rule.message} for rule in rules]


def schema_of(cls: type[ApiType]) -> dict[str, Any]:
    """The structural schema of one of our types, with its rules."""
    raw = cls.model_json_schema(by_alias=True)
    rules = {kind.__name__: _validations(kind.rules) for kind in _subclasses(ApiType)}
    schema = structural(raw, raw.get("$defs", {}), rules)
    if own := _validations(cls.rules):
        schema["x-kubernetes-validations"] = own
    return schema


def _column(name: str, path: str, description: str, *, priority: int = 0) -> dict[str, Any]:
    kind = "date" if name == "Age" else "string"
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


def custom_resource_definition() -> dict[str, Any]:
    """The CRD, as a manifest."""
    ready = '.status.conditions[?(@.type=="Ready")].status'
    columns = [
        _column("Ready", ready, "Whether all desired versions serve"),
        _column("Serving", ".status.serving", "Versions that take requests without a version"),
        _column("Target", ".status.target", "Version that should take these requests"),
        _column("Phase", ".status.phase", "Current phase"),
        _column("Replicas", ".status.ready", "Ready pods / desired pods"),
        _column("Age", ".metadata.creationTimestamp", "Since creation"),
        _column("Policy", ".spec.transition.policy", "Transition policy", priority=1),
        _column("Source", ".spec.source.uri", "URI of the exports", priority=1),
        _column("URL", ".status.url", "REST URL of the model inside the cluster", priority=1),
        _column("Message", ".status.message", "What is wrong and what to do", priority=1),
    ]
    schema = {
        "description": "A TensorFlow model: the location of its exports, the versions to serve, and how "
        "one version replaces another.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": schema_of(ModelSpec),
            "status": schema_of(ModelStatus),
        },
        "x-kubernetes-validations": _validations(METADATA_RULES),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{names.PLURAL}.{names.GROUP}",
            # The chart installs it; to uninstall the chart must not delete every Model.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": [names.SHORT_NAME],
                "categories": ["slipway"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.serving.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                }
            ],
        },
    }
