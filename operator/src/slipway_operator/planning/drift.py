"""Which children have to be written, because they are not there or not as a manifest wants them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from slipway_operator.model.actions import Action, Apply, Delete
from slipway_operator.model.observed import Observed

_TYPE: Final = ("apiVersion", "kind")


def is_as_wanted(actual: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether an object of a list is as a manifest wants it.

    The items of a list do not say their kind and version, so these are not compared.
    """
    return all(matches(actual.get(p), manifest[p]) for p in manifest if p not in _TYPE)


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


def apply_child(
    observed: Observed,
    manifest: Mapping[str, Any],
    compare: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = is_as_wanted,
) -> Iterator[Action]:
    """Write a child unless it is as wanted already, or belongs to someone else."""
    action = Apply(manifest)
    child = observed.child(action.kind, action.name)
    foreign = f"{action.kind}/{action.name}" in observed.foreign
    if not foreign and (child is None or not compare(child.manifest, manifest)):
        yield action


def delete_child(observed: Observed, kind: str, name: str) -> Iterator[Action]:
    """Delete a child if it is there."""
    if child := observed.child(kind, name):
        yield Delete(kind, name, child.uid)
