"""Variables that the signatures of an export capture, by the objects that were exported.

The keys of a checkpoint are paths through these objects:
`model/layers/0/kernel/.ATTRIBUTES/VARIABLE_VALUE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from slipway_sync.wire import tensorflow_pb2 as wire

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""The end of a key under which a checkpoint has the value of a variable."""

_SIGNATURES = "signatures"
_SLOT = "/.OPTIMIZER_SLOT/"
_NO_CHILDREN: Mapping[str, int] = MappingProxyType({})  # One for all objects that have none.


@dataclass(frozen=True, slots=True)
class CapturedVariable:
    """A variable that a signature reads.

    Attributes:
        name: The variable's own name, for messages.
        signature: Key of a signature that reads it.
    """

    name: str
    signature: str


@dataclass(frozen=True, slots=True)
class ObjectGraph:
    """The exported objects.

    Attributes:
        children: The numbers of each object's children by their names as a key has them.
        captured: The variables that signatures read, by the number of their object.
    """

    children: tuple[Mapping[str, int], ...] = ()
    captured: Mapping[int, CapturedVariable] | None = None

    def without_value(self, keys: Iterable[str]) -> CapturedVariable | None:
        """Return a variable that signatures read and that none of a checkpoint's keys is for.

        Nothing is said without such keys, and where only some of them lead to an object: then these are named in
        another way.
        """
        paths = [key.removesuffix(VALUE) for key in keys if key.endswith(VALUE)]
        found = {self._object(path) for path in paths if _SLOT not in path}
        if not found or (-1 in found and len(found) > 1):
            return None
        captured = self.captured or {}
        return next((one for number, one in captured.items() if number not in found), None)

    def _object(self, path: str) -> int:
        """Return the number of the object at a path, or -1."""
        number = 0
        for name in path.split("/"):
            if not 0 <= number < len(self.children):
                return -1
            number = self.children[number].get(name, -1)
        return number


def object_graph(objects: wire.SavedObjectGraph) -> ObjectGraph:
    """Read the objects of an export."""
    nodes = objects.nodes
    if not nodes:
        return ObjectGraph()
    children = tuple(
        {_escaped(child.local_name): child.node_id for child in node.children}
        if node.children
        else _NO_CHILDREN
        for node in nodes
    )
    readers: dict[int, str] = {}
    for function, key in _signatures(objects).items():
        # Reading a missing key of a protobuf map creates it.
        if function not in objects.concrete_functions:
            continue
        for number in objects.concrete_functions[function].bound_inputs:
            if 0 <= number < len(nodes):
                readers.setdefault(number, key)
    captured = {
        number: CapturedVariable(nodes[number].variable.name, key)
        for number, key in readers.items()
        if nodes[number].HasField("variable")
    }
    return ObjectGraph(children, captured)


def _signatures(objects: wire.SavedObjectGraph) -> dict[str, str]:
    """Return the functions that are signatures, with the key of the first signature that each is.

    Every object and every function counts once, however often a hostile file names it: the work grows with the
    file's size, not with a power of it.
    """
    nodes = objects.nodes
    functions: dict[str, str] = {}
    containers: set[int] = set()
    signatures: set[int] = set()
    for root_child in nodes[0].children:
        container = root_child.node_id
        if root_child.local_name != _SIGNATURES or not 0 <= container < len(nodes):
            continue
        if container in containers:
            continue
        containers.add(container)
        for child in nodes[container].children:
            if child.node_id in signatures or not 0 <= child.node_id < len(nodes):
                continue
            signatures.add(child.node_id)
            node = nodes[child.node_id]
            functions.setdefault(
                node.bare_concrete_function.concrete_function_name, child.local_name
            )
            for function in node.function.concrete_functions:
                functions.setdefault(function, child.local_name)
    return functions


def _escaped(name: str) -> str:
    """Return an object's name as a part of a key.

    >>> _escaped("a/b.c")
    'a.Sb..c'
    """
    return name.replace(".", "..").replace("/", ".S")
