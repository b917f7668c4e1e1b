"""What the signatures of an export need of the process that serves them: values of variables, and operations. Pure."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.message import DecodeError
from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_object_graph_pb2

from slipway_server.errors import ServingError, not_found
from slipway_server.servables.tensorflow.exports.export import Export
from slipway_server.servables.tensorflow.exports.reachable import (
    GraphNodes,
    functions_of,
    node_of,
)

_RESOURCE: Final = "VarHandleOp"
_REFERENCES: Final = frozenset({"Variable", "VariableV2"})
_ASSIGN: Final = "Assign"
# An input that passes one of these may be of a branch that never runs.
_BRANCHES: Final = frozenset({"Switch", "RefSwitch"})
# Running one of these for a trial would be seen: by the next request, or outside of this process.
_CHANGES: Final = re.compile(
    r"Abort|(Resource)?(StridedSlice)?Assign.*|(Resource)?(Sparse)?Accumulator(Apply|Take)Gradient|"
    r"Barrier(Insert|Take)Many|.*Dequeue.*|.*Enqueue.*|IteratorGetNext.*|LookupTable(Import|Insert|Remove).*|"
    r"(Map|OrderedMap)?(Stage|Unstage.*)|MergeV2Checkpoints|Reader(Read|Restore|Reset).*|"
    r"(Resource)?(Sparse)?Apply.*|(Resource)?CountUpTo|(Resource)?Scatter(Nd)?(Add|Div|Max|Min|Mul|Sub|Update)|"
    r"Rng.*|Save.*|Stack(Pop|Push).*|Stateful(Random|Standard|Truncated|Uniform).*|Write.*"
)
PYTHON_OPERATIONS: Final = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})
"""What calls Python code, which only the process has that made the export."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that a signature reads, and that neither the restore nor the init operation gives a value.

    Attributes:
        node: the node of the graph that is the variable.
        signature: key of a signature that reads it.
        object: number of its node in the object graph; None when that does not say.
    """

    node: node_def_pb2.NodeDef
    signature: str
    object: int | None = None

    @property
    def resource(self) -> bool:
        """Whether it is a resource, as all are since TensorFlow 2; otherwise a reference."""
        return bool(self.node.op == _RESOURCE)


@dataclass(frozen=True, slots=True)
class Needs:
    """What an export's signatures need.

    Attributes:
        variables: those that nothing in the graph gives a value, by their node's name.
        stateful: keys of the signatures that change the model's state, or the world, when they run.
        objects: the object graph, where a variable needs it.
    """

    variables: Mapping[str, Variable]
    stateful: frozenset[str]
    objects: saved_object_graph_pb2.SavedObjectGraph | None = None


def needs_of(export: Export) -> Needs:
    """Find out what the signatures of an export need.

    Raises:
        ServingError: NOT_FOUND; a signature runs an operation that only the process has that made the export.
        DecodeError: the graph cannot be parsed.
    """
    graph = GraphNodes(export.graph)
    _operations(graph, list(graph.behind([export.init_operation])), "the initialisation")
    assigned = set(_assigned(graph.behind(_start(export))))
    variables: dict[str, Variable] = {}
    stateful: set[str] = set()
    reached: dict[str, node_def_pb2.NodeDef] = {}  # Each once, however many signatures run it.
    for key, definition in (*export.signatures.items(), *export.example_signatures.items()):
        nodes = list(graph.behind(_tensors(definition.outputs), _tensors(definition.inputs)))
        operations = _operations(graph, nodes, f'signature "{key}"')
        if any(_CHANGES.fullmatch(operation) for operation in operations):
            stateful.add(key)
        for node in _read_variables(nodes, assigned):
            variables.setdefault(node.name, Variable(node, key))
        reached |= {node.name: node for node in nodes}
    objects = _objects(export) if variables else None
    for name, number in _captured(reached.values(), objects) if objects is not None else ():
        if name in variables:
            variables[name] = replace(variables[name], object=number)
    return Needs(variables, frozenset(stateful), objects)


def _start(export: Export) -> list[str]:
    """Return the operations that run before the first request."""
    restore = export.restore.operation if export.restore is not None else ""
    return [name for name in (restore, export.init_operation) if name]


def _objects(export: Export) -> saved_object_graph_pb2.SavedObjectGraph | None:
    if not export.object_graph:
        return None
    try:
        return saved_object_graph_pb2.SavedObjectGraph.FromString(bytes(export.object_graph))
    except DecodeError:
        return None  # The variables that need it are missing then, which is said by their names.


def _tensors(infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> list[str]:
    return [name for info in infos.values() for name in _tensors_of(info)]


def _tensors_of(info: meta_graph_pb2.TensorInfo) -> Iterator[str]:
    match info.WhichOneof("encoding"):
        case "name":
            yield info.name
        case "coo_sparse":
            sparse = info.coo_sparse
            yield sparse.values_tensor_name
            yield sparse.indices_tensor_name
            yield sparse.dense_shape_tensor_name
        case "composite_tensor":
            for component in info.composite_tensor.components:
                yield from _tensors_of(component)
        case _:
            pass


def _operations(graph: GraphNodes, nodes: list[node_def_pb2.NodeDef], who: str) -> set[str]:
    """Return the names of the operations of nodes and of the functions that they run.

    Raises:
        ServingError: one of them calls Python.
    """
    found: set[str] = set()
    for function in ("", *graph.called(nodes)):
        for node in graph.body(function) if function else nodes:
            if node.op in PYTHON_OPERATIONS:
                raise _python_operation(node, function, who)
            found.add(node.op)
    return found


def _python_operation(node: node_def_pb2.NodeDef, function: str, who: str) -> ServingError:
    where = f'node "{node.name}"' + (f' of function "{function}"' if function else "")
    return not_found(
        f"Op type not registered '{node.op}' in this server: {where}, which {who} runs, calls "
        "Python code that only the process has that made the export. Express tf.numpy_function, tf.py_function or "
        "Dataset.from_generator with TensorFlow's operations, and export again"
    )


def _read_variables(
    nodes: list[node_def_pb2.NodeDef], assigned: Collection[str]
) -> list[node_def_pb2.NodeDef]:
    """Return the variables among nodes that have no value yet, and that these neither set nor may never read."""
    found = {
        node.name: node
        for node in nodes
        if (node.op == _RESOURCE or node.op in _REFERENCES) and node.name not in assigned
    }
    if not found:
        return []
    users: dict[str, set[str]] = {name: set() for name in found}
    for node in nodes:
        for tensor in node.input:
            if (name := node_of(tensor)) in users:
                users[name].add(node.op)
    return [node for name, node in found.items() if _needs_value(users[name])]


def _needs_value(users: set[str]) -> bool:
    if any(user.startswith(_ASSIGN) for user in users):
        return False
    return not users or not users <= _BRANCHES


def _assigned(nodes: Iterable[node_def_pb2.NodeDef]) -> Iterator[str]:
    """Yield the nodes that others assign to, or hand to a function, which is taken to do so."""
    for node in nodes:
        if node.op.startswith(_ASSIGN) or _calls(node):
            yield from (node_of(tensor) for tensor in node.input)


def _calls(node: node_def_pb2.NodeDef) -> bool:
    _, *functions = functions_of(node)
    return bool(functions)


def _captured(
    nodes: Iterable[node_def_pb2.NodeDef], objects: saved_object_graph_pb2.SavedObjectGraph
) -> Iterator[tuple[str, int]]:
    """Yield variables' nodes with their numbers in the object graph: what a function captures, it is given last."""
    for node in nodes:
        given = [node_of(tensor) for tensor in node.input if not tensor.startswith("^")]
        for function in dict.fromkeys(functions_of(node)):
            if function not in objects.concrete_functions:
                continue
            captures = objects.concrete_functions[function].bound_inputs
            if len(captures) <= len(given):
                yield from zip(given[len(given) - len(captures) :], captures, strict=True)
