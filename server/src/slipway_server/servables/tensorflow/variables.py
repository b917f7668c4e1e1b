"""Variables that an export's own restore operation leaves without a value: restored by the object graph, or refused.

Keras 3 models that are written with `tf.saved_model.save` are such exports. Each of their variables is in the graph
twice, and the restore operation fills the one that no signature reads. Python's loader does not run that operation: it
takes the values from the checkpoint by the objects' names, and so it is done here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tensorflow.core.framework import graph_pb2, types_pb2

from slipway_server.errors import Code, ServingError
from slipway_server.servables.tensorflow.c_api.checkpoint import checkpoint_shapes
from slipway_server.servables.tensorflow.c_api.session import Call, Session
from slipway_server.servables.tensorflow.exports.export import Export
from slipway_server.servables.tensorflow.exports.needs import Needs, Variable
from slipway_server.servables.tensorflow.exports.object_graph import checkpoint_keys

_SCOPE: Final = "slipway_variables"
_INDEX: Final = "variables/variables.index"


@dataclass(frozen=True, slots=True)
class _Stored:
    """A variable's value in a checkpoint."""

    variable: Variable
    key: str


def restore_by_objects(session: Session, export: Export, needs: Needs) -> None:
    """Give variables their values by the names of the exported objects, as far as the checkpoint has them.

    Raises:
        ServingError: a value is of another type or shape than its variable, or cannot be read.
    """
    if needs.objects is None or not export.variables:
        return
    shapes = checkpoint_shapes(export.variables)
    keys = checkpoint_keys(needs.objects, shapes)
    stored = [
        _Stored(variable, keys[variable.object])
        for variable in needs.variables.values()
        if variable.resource and variable.object in keys
    ]
    if not stored:
        return
    for one in stored:
        _check_shape(one, shapes[one.key])
    session.extend(
        _restore_graph(stored).SerializeToString(),
        [f"{one.variable.node.name}:0" for one in stored],
    )
    session.execute(f"{_SCOPE}/restored", {f"{_SCOPE}/files:0": export.variables})


def check_values(session: Session, directory: Path, export: Export, needs: Needs) -> None:
    """Refuse an export of which a signature reads a variable that has no value.

    Raises:
        ServingError: FAILED_PRECONDITION, with the variable's name and what to do.
    """
    variables = list(needs.variables.values())
    if not variables:
        return
    session.extend(
        _check_graph(variables).SerializeToString(), [f"{one.node.name}:0" for one in variables]
    )
    fetches = [f"{_SCOPE}/has_value_{number}:0" for number in range(len(variables))]
    found = Call(session, (), fetches)()
    for variable, has_value in zip(variables, found, strict=True):
        if not has_value:
            raise ServingError(Code.FAILED_PRECONDITION, _sentence(variable, directory, export))


def _sentence(variable: Variable, directory: Path, export: Export) -> str:
    where = f"{_INDEX} holds no value for it" if export.variables else f"{_INDEX} is missing"
    return (
        f'Variable "{variable.node.name}", which signature "{variable.signature}" reads, has no value after '
        f"{directory} was restored and initialised: {where}. Initialise or track the variable before the model is "
        "saved, and export again; a Keras model with model.export(...)"
    )


def _check_shape(stored: _Stored, found: Sequence[int]) -> None:
    shape = stored.variable.node.attr["shape"].shape
    wanted = [dim.size for dim in shape.dim]
    if shape.unknown_rank or (
        len(wanted) == len(found)
        and all(size in {-1, has} for size, has in zip(wanted, found, strict=True))
    ):
        return
    raise ServingError(
        Code.INVALID_ARGUMENT,
        f'Variable "{stored.variable.node.name}" has the shape {wanted}, but {_INDEX} holds a value of the shape '
        f"{list(found)} for it ({stored.key}): the files are of different exports; export again",
    )


def _restore_graph(stored: list[_Stored]) -> graph_pb2.GraphDef:
    """Return operations that read the values of all, and assign them."""
    graph = graph_pb2.GraphDef()
    files = graph.node.add(name=f"{_SCOPE}/files", op="Placeholder")
    files.attr["dtype"].type = types_pb2.DT_STRING
    files.attr["shape"].shape.SetInParent()
    _constant(graph, "keys", [one.key for one in stored])
    _constant(graph, "slices", [""] * len(stored))
    values = graph.node.add(
        name=f"{_SCOPE}/values",
        op="RestoreV2",
        input=[f"{_SCOPE}/{name}" for name in ("files", "keys", "slices")],
    )
    kinds = [one.variable.node.attr["dtype"].type for one in stored]
    values.attr["dtypes"].list.type.extend(kinds)
    restored = graph.node.add(name=f"{_SCOPE}/restored", op="NoOp")
    for number, (one, kind) in enumerate(zip(stored, kinds, strict=True)):
        name = f"{_SCOPE}/assign_{number}"
        assign = graph.node.add(
            name=name,
            op="AssignVariableOp",
            input=[one.variable.node.name, f"{_SCOPE}/values:{number}"],
        )
        assign.attr["dtype"].type = kind
        restored.input.append(f"^{name}")
    return graph


def _check_graph(variables: list[Variable]) -> graph_pb2.GraphDef:
    """Return operations that say of each variable whether it has a value."""
    graph = graph_pb2.GraphDef()
    for number, one in enumerate(variables):
        check = graph.node.add(
            name=f"{_SCOPE}/has_value_{number}",
            op="VarIsInitializedOp" if one.resource else "IsVariableInitialized",
            input=[one.node.name],
        )
        if not one.resource:
            check.attr["dtype"].type = one.node.attr["dtype"].type
    return graph


def _constant(graph: graph_pb2.GraphDef, name: str, values: list[str]) -> None:
    node: Any = graph.node.add(name=f"{_SCOPE}/{name}", op="Const")
    node.attr["dtype"].type = types_pb2.DT_STRING
    tensor = node.attr["value"].tensor
    tensor.dtype = types_pb2.DT_STRING
    tensor.tensor_shape.dim.add(size=len(values))
    tensor.string_val.extend(value.encode() for value in values)
