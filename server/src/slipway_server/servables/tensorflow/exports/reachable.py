"""Which nodes of a graph an answer needs: those behind a tensor, and those of the functions that they call.

Nodes are parsed one by one, so that no request waits long for the interpreter's lock; functions only when they are
called; values of any size are stepped over. Pure.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from tensorflow.core.framework import attr_value_pb2, node_def_pb2

from slipway_server.servables.tensorflow.exports.graph_file import fields

# Field numbers of GraphDef, FunctionDefLibrary, FunctionDef, OpDef and NodeDef.
_NODES, _LIBRARY = 1, 2
_FUNCTIONS = 1
_SIGNATURE, _BODY = 1, 3
_NAME = 1
# An attribute of so many bytes is a constant's value, or a compiled program; neither says what is called.
_LARGE: Final = 64 << 10


class GraphNodes:
    """The nodes and functions of a serialized GraphDef, by name.

    Raises:
        DecodeError: the bytes are no such message; also from the methods.
    """

    def __init__(self, graph: bytes | memoryview) -> None:
        self._nodes: dict[str, node_def_pb2.NodeDef] = {}
        self._functions: dict[str, memoryview] = {}
        view = memoryview(graph)
        for field in fields(view):
            content = view[field.content : field.end]
            if field.number == _NODES and field.delimited:
                node = _parsed(content)
                self._nodes[node.name] = node
            elif field.number == _LIBRARY and field.delimited:
                self._functions |= {
                    _name(_part(function, _SIGNATURE)): function
                    for function in _parts(content, _FUNCTIONS)
                }
        self._bodies: dict[str, tuple[node_def_pb2.NodeDef, ...]] = {}

    def behind(
        self, tensors: Iterable[str], cut: Collection[str] = ()
    ) -> Iterator[node_def_pb2.NodeDef]:
        """Yield the nodes that must run for some tensors or operations, each once, functions unopened.

        Args:
            tensors: `node`, `node:0` or `^node`; what the graph lacks is passed over.
            cut: tensors that are fed, so that nothing behind them runs.
        """
        fed = {_full(tensor) for tensor in cut}
        seen: set[str] = set()
        waiting = list(tensors)
        while waiting:
            tensor = waiting.pop()
            name = node_of(tensor)
            if name in seen or _full(tensor) in fed or name not in self._nodes:
                continue
            seen.add(name)
            node = self._nodes[name]
            yield node
            waiting.extend(node.input)

    def called(self, nodes: Iterable[node_def_pb2.NodeDef]) -> Iterator[str]:
        """Yield the functions that some nodes run, and those that these run, each once."""
        if not self._functions:
            return
        seen: set[str] = set()
        waiting = [name for node in nodes for name in functions_of(node)]
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self._functions:
                continue
            seen.add(name)
            yield name
            waiting.extend(inner for node in self.body(name) for inner in functions_of(node))

    def body(self, function: str) -> tuple[node_def_pb2.NodeDef, ...]:
        """Return the nodes of a function that the graph has."""
        if function not in self._bodies:
            self._bodies[function] = tuple(
                _parsed(node) for node in _parts(self._functions[function], _BODY)
            )
        return self._bodies[function]


def functions_of(node: node_def_pb2.NodeDef) -> Iterator[str]:
    """Yield the names of the functions that a node may run; a call may have the function's name for its operation."""
    yield node.op
    for attribute in node.attr.values():
        yield from _functions_in(attribute)


def _functions_in(attribute: attr_value_pb2.AttrValue) -> Iterator[str]:
    kind = attribute.WhichOneof("value")
    named = [attribute.func] if kind == "func" else attribute.list.func if kind == "list" else ()
    for one in named:
        yield one.name
        for inner in one.attr.values():
            yield from _functions_in(inner)


def node_of(tensor: str) -> str:
    """Return the name of the node that a tensor, or an input of a node, belongs to.

    >>> node_of("a/b:1"), node_of("^a"), node_of("a")
    ('a/b', 'a', 'a')
    """
    return tensor.removeprefix("^").partition(":")[0]


def _full(tensor: str) -> str:
    return tensor if ":" in tensor or tensor.startswith("^") else f"{tensor}:0"


def _parsed(data: memoryview) -> node_def_pb2.NodeDef:
    if len(data) > _LARGE:
        data = memoryview(
            b"".join(
                data[field.begin : field.end]
                for field in fields(data)
                if field.end - field.begin <= _LARGE
            )
        )
    return node_def_pb2.NodeDef.FromString(bytes(data))


def _parts(data: memoryview, number: int) -> Iterator[memoryview]:
    for field in fields(data):
        if field.number == number and field.delimited:
            yield data[field.content : field.end]


def _part(data: memoryview, number: int) -> memoryview:
    return next(_parts(data, number), memoryview(b""))


def _name(data: memoryview) -> str:
    return str(_part(data, _NAME), "utf-8", "replace")
