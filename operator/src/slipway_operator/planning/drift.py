"""Whether an object already is as a manifest wants it, so that nothing need be written."""

from collections.abc import Mapping, Sequence
from typing import Any


def is_as_wanted(actual: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether an object of a list is as a manifest wants it.

    The items of a list do not say their kind and version, so these are not compared.
    """
    return all(matches(actual.get(part), manifest[part]) for part in ("metadata", "spec"))


def matches(actual: Any, wanted: Any) -> bool:
    """Whether every field that the manifest sets has that value; the API server may add others.

    >>> matches({"a": 1, "b": 2}, {"a": 1}), matches({"a": [1, 2]}, {"a": [1]})
    (True, False)
    """
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(
            key in actual and matches(actual[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(actual, Sequence)
            and len(actual) == len(wanted)
            and all(matches(a, w) for a, w in zip(actual, wanted, strict=True))
        )
    return bool(actual == wanted)
