"""Which fields of a Deployment's pod template are not as the operator wrote them.

The API server notes who has set which field last (`metadata.managedFields`). What admission changed
while the Deployment was created counts as ours there, and so do defaults. A field that someone else
has set is no edit once it is back at our value. What was taken away is noted nowhere: it is what we
would write and is not there.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.quantities import exact_quantity

_MISSING: Final = object()
_RESOURCES: Final = re.compile(r"^spec\.template\.spec\..*\]\.resources(\.|$)")
"""Fields that hold quantities."""
_OWN_SUBRESOURCES: Final = frozenset({"status", "scale"})


@dataclass(frozen=True, slots=True)
class Edits:
    """What someone else did to a template.

    Attributes:
        fields: Paths, `spec.template.spec.containers[server].image` for example.
        editors: Field managers, `kubectl-edit` for example; none for a field that was removed.
    """

    fields: tuple[str, ...] = ()
    editors: tuple[str, ...] = ()


def template_edits(manifest: Mapping[str, Any], written: Mapping[str, Any]) -> Edits:
    """The edits of a Deployment whose template is not the first it has had.

    Args:
        manifest: The Deployment, as the API server holds it.
        written: Its pod template, as the operator writes it.
    """
    template = manifest["spec"].get("template") or {}
    fields: dict[str, None] = {}
    editors: dict[str, None] = {}
    setters = _setters(manifest)
    if names.FIELD_MANAGER not in (manager for manager, _ in setters):
        setters = []  # It was restored from a backup, say: who has set what is not known.
    for manager, owned in setters:
        if manager == names.FIELD_MANAGER:
            continue
        for path, actual, wanted in _leaves(owned, template, written, "spec.template"):
            if not _same(actual, wanted, quantities=bool(_RESOURCES.search(path))):
                fields[path] = editors[manager] = None
    fields |= dict.fromkeys(_removed(template, written, "spec.template"))
    return Edits(tuple(sorted(fields)), tuple(sorted(editors)))


def _setters(manifest: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Who has set fields of the template, and which."""
    found = []
    for entry in manifest["metadata"].get("managedFields") or ():
        owned = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:template")
        if owned and entry.get("subresource") not in _OWN_SUBRESOURCES:
            found.append((entry.get("manager", ""), owned))
    return found


def _leaves(
    owned: Mapping[str, Any], actual: Any, written: Any, path: str
) -> Iterator[tuple[str, Any, Any]]:
    """The fields of a set in the format FieldsV1, each with its value now and as it was written."""
    below = {name: inner for name, inner in owned.items() if name != "."}
    if not below:
        yield path, actual, written
    for name, inner in below.items():
        kind, _, text = name.partition(":")
        if kind == "f":
            yield from _leaves(inner, _field(actual, text), _field(written, text), f"{path}.{text}")
        elif kind == "k":
            key = json.loads(text)
            label = key.get("name") or ",".join(str(value) for value in key.values())
            now, then = _item(actual, key), _item(written, key)
            yield from _leaves(inner, now, then, f"{path}[{label}]")
        else:
            yield path, actual, written


def _field(value: Any, name: str) -> Any:
    return value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING


def _item(value: Any, key: Mapping[str, Any]) -> Any:
    """The item of a list that has this key; a part of the key that an item lacks has its default."""
    if not _is_list(value):
        return _MISSING
    for item in value:
        if isinstance(item, Mapping) and all(item.get(k, v) == v for k, v in key.items()):
            return item
    return _MISSING


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_empty(value: Any) -> bool:
    """Whether the API server may have left the value out."""
    return value is _MISSING or value is None or value in ({}, [], "", False, 0)


def _same(actual: Any, written: Any, *, quantities: bool = False) -> bool:
    """Whether a value is what was written; the API server writes quantities in its own way."""
    if _is_empty(actual) or _is_empty(written):
        return _is_empty(actual) and _is_empty(written)
    if isinstance(written, Mapping):
        return isinstance(actual, Mapping) and all(
            _same(_field(actual, name), _field(written, name), quantities=quantities)
            for name in {*actual, *written}
        )
    if _is_list(written):
        return (
            _is_list(actual)
            and len(actual) == len(written)
            and all(
                _same(a, w, quantities=quantities) for a, w in zip(actual, written, strict=True)
            )
        )
    if quantities:
        with suppress(ValueError):
            return exact_quantity(actual) == exact_quantity(written)
    return str(actual) == str(written)


def _removed(actual: Any, written: Any, path: str) -> Iterator[str]:
    """Fields that were written and are no longer there."""
    if isinstance(written, Mapping):
        for name, value in written.items():
            now = _field(actual, name)
            if now is _MISSING and not _is_empty(value):
                yield f"{path}.{name}"
            elif now is not _MISSING:
                yield from _removed(now, value, f"{path}.{name}")
    elif _is_list(written) and _is_list(actual):
        named = [item for item in written if isinstance(item, Mapping) and "name" in item]
        if len(named) < len(written) and len(actual) < len(written):
            yield path
        for item in named:
            now = _item(actual, {"name": item["name"]})
            if now is _MISSING:
                yield f"{path}[{item['name']}]"
            else:
                yield from _removed(now, item, f"{path}[{item['name']}]")
