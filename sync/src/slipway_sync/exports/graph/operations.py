"""Operations of a graph that exist only in the Python process that exported it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slipway_sync.wire import tensorflow_pb2 as wire

_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})
_INIT = "__saved_model_init_op"
_TRAIN = "__saved_model_train_op"


@dataclass(frozen=True, slots=True)
class PythonOperation:
    """A call of Python code that a signature would run.

    Attributes:
        name: Of the operation.
        node: The node that is one.
        function: The function that the node is in, or "" for the graph itself.
        signature: A signature that runs it, or "" for the initialisation.
    """

    name: str
    node: str
    function: str
    signature: str


def python_operation(graph: wire.MetaGraphDef) -> PythonOperation | None:
    """Return the first such call that serving the graph would run."""
    nodes = {node.name: node for node in graph.graph_def.node}
    library = graph.graph_def.library.function
    functions = {function.signature.name: function.node_def for function in library}
    for key in sorted(graph.signature_def):
        if key == _TRAIN:
            continue
        signature = graph.signature_def[key]
        reached = _behind(nodes, _tensors(signature.outputs), set(_tensors(signature.inputs)))
        for function, node in _with_functions(reached, functions):
            if node.op in _PYTHON:
                return PythonOperation(node.op, node.name, function, "" if key == _INIT else key)
    return None


def _behind(
    nodes: Mapping[str, wire.NodeDef], tensors: Iterable[str], fed: set[str]
) -> list[wire.NodeDef]:
    """Return the nodes that must run for some tensors, none behind those that are fed."""
    reached: dict[str, wire.NodeDef] = {}
    waiting = list(tensors)
    while waiting:
        tensor = waiting.pop()
        name, colon, _ = tensor.removeprefix("^").partition(":")
        full = tensor if colon else f"{tensor}:0"
        if name in reached or name not in nodes or full in fed:
            continue
        reached[name] = nodes[name]
        waiting.extend(nodes[name].input)
    return list(reached.values())


def _with_functions(
    nodes: list[wire.NodeDef], functions: Mapping[str, Sequence[wire.NodeDef]]
) -> Iterator[tuple[str, wire.NodeDef]]:
    """Yield nodes, and those of the functions that they run, each with its function's name."""
    yield from (("", node) for node in nodes)
    seen: set[str] = set()
    waiting = [name for node in nodes for name in _called(node)]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in functions[name]:
            yield name, node
            waiting.extend(_called(node))


def _called(node: wire.NodeDef) -> Iterator[str]:
    yield node.op  # A call may have the function's name for its operation.
    for value in node.attr.values():
        yield from (function.name for function in (value.func, *value.list.func))


def _tensors(infos: Mapping[str, wire.TensorInfo]) -> list[str]:
    return [name for info in infos.values() for name in _names(info)]


def _names(info: wire.TensorInfo) -> Iterator[str]:
    sparse = info.coo_sparse
    for name in (
        info.name,
        sparse.values_tensor_name,
        sparse.indices_tensor_name,
        sparse.dense_shape_tensor_name,
    ):
        if name:
            yield name
    for component in info.composite_tensor.components:
        yield from _names(component)
