"""Operations of a graph that exist only in the Python process that exported it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from slipway_sync.wire import tensorflow_pb2 as wire

_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})
_INIT = "__saved_model_init_op"
_TRAIN = "__saved_model_train_op"
_MOST_STEPS = (
    1_000_000  # A second or two; a graph that calls Python is seldom larger than a tenth of it.
)
_NAME = 64  # Characters of a name that take no longer than a step does.


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


class _TooManyStepsError(Exception):
    """The signatures lead through more of the graph than is looked through."""


def python_operation(graph: wire.MetaGraphDef) -> PythonOperation | None:
    """Return the first such call that serving the graph would run.

    Of signatures that lead through too much of the graph nothing is said, and the server judges.
    """
    walk = _Walk(graph, _MOST_STEPS)
    try:
        for key in sorted(graph.signature_def):
            if key == _TRAIN:
                continue
            for function, node in walk.run_by(graph.signature_def[key]):
                if node.op in _PYTHON:
                    signature = "" if key == _INIT else key
                    return PythonOperation(node.op, node.name, function, signature)
    except _TooManyStepsError:
        pass
    return None


class _Walk:
    """Looks through a graph for each of its signatures, in no more than some steps for all of them.

    Each signature is looked through anew, since another part of the graph is behind what it feeds.
    """

    def __init__(self, graph: wire.MetaGraphDef, steps: int) -> None:
        self._nodes = {node.name: node for node in graph.graph_def.node}
        library = graph.graph_def.library.function
        self._functions = {function.signature.name: function.node_def for function in library}
        self._seen: set[str] = set()
        self._left = steps

    def run_by(self, signature: wire.SignatureDef) -> Iterator[tuple[str, wire.NodeDef]]:
        """Yield the nodes that a signature runs, each with its function's name.

        Nodes of functions are yielded for the first signature that calls them.
        """
        nodes = self._behind(_tensors(signature.outputs), set(_tensors(signature.inputs)))
        yield from (("", node) for node in nodes)
        waiting = [name for node in nodes for name in self._called(node)]
        while waiting:
            name = waiting.pop()
            if name in self._seen or name not in self._functions:
                continue
            self._seen.add(name)
            for node in self._functions[name]:
                yield name, node
                waiting.extend(self._called(node))

    def _behind(self, tensors: Iterable[str], fed: set[str]) -> list[wire.NodeDef]:
        """Return the nodes that must run for some tensors, none behind those that are fed."""
        reached: dict[str, wire.NodeDef] = {}
        waiting = list(tensors)
        while waiting:
            tensor = waiting.pop()
            self._step(tensor)
            name, colon, _ = tensor.removeprefix("^").partition(":")
            full = tensor if colon else f"{tensor}:0"
            if name in reached or name not in self._nodes or full in fed:
                continue
            reached[name] = self._nodes[name]
            waiting.extend(self._nodes[name].input)
        return list(reached.values())

    def _called(self, node: wire.NodeDef) -> Iterator[str]:
        """Yield the names of what may be the functions that a node runs."""
        self._take(len(node.attr))
        self._step(node.op)
        yield node.op  # A call may have the function's name for its operation.
        for value in node.attr.values():
            for function in (value.func, *value.list.func):
                self._step(function.name)
                yield function.name

    def _step(self, name: str) -> None:
        self._take(1 + len(name) // _NAME)

    def _take(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _TooManyStepsError


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
