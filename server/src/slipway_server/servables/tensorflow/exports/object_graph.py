"""Where a checkpoint keeps the value of each object of an export, as Python's loader finds it. Pure.

A checkpoint's keys are paths through the objects: `model/layers/0/kernel/.ATTRIBUTES/VARIABLE_VALUE`. The object graph
of the export has the same objects under the same names, and says which of them each function captures.
"""

from collections.abc import Iterable
from typing import Final

from tensorflow.core.protobuf import saved_object_graph_pb2

_ATTRIBUTES: Final = "/.ATTRIBUTES/"
_VALUE: Final = "VARIABLE_VALUE"


def checkpoint_keys(
    objects: saved_object_graph_pb2.SavedObjectGraph, keys: Iterable[str]
) -> dict[int, str]:
    """Return the keys of variables' values by the number of the variable's node."""
    children = [
        {_escaped(child.local_name): child.node_id for child in node.children}
        for node in objects.nodes
    ]
    found: dict[int, str] = {}
    for key in keys:
        path, _, attribute = key.rpartition(_ATTRIBUTES)
        if attribute != _VALUE:
            continue
        node: int | None = 0
        for name in path.split("/"):
            if node is not None and 0 <= node < len(children):
                node = children[node].get(name)
        if node is not None:
            found[node] = key
    return found


def _escaped(name: str) -> str:
    """Return an object's name as a part of a key.

    >>> _escaped("a/b.c")
    'a.Sb..c'
    """
    return name.replace(".", "..").replace("/", ".S")
