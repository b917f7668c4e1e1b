"""Calls of Python in a graph (§17): found where serving runs them, wherever they are, and nowhere else."""

from __future__ import annotations

import pytest

from line_limit import at_most_lines
from slipway_sync.exports import graph_fields_of, read_graph
from slipway_sync.exports.graph import operations
from slipway_sync.exports.graph.graph_fields import driven
from slipway_sync.exports.graph.operations import PythonOperation
from slipway_sync.wire import tensorflow_pb2 as wire

SERVE = frozenset({"serve"})


def node(name: str, op: str, *inputs: str, calls: tuple[str, ...] = ()) -> wire.NodeDef:
    made = wire.NodeDef(name=name, op=op, input=inputs)
    for number, function in enumerate(calls):
        made.attr[f"f{number}"].func.name = function
    made.attr["T"].SetInParent()
    return made


def function(name: str, *nodes: wire.NodeDef) -> wire.FunctionDef:
    return wire.FunctionDef(signature=wire.OpDef(name=name), node_def=nodes)


def model(
    *nodes: wire.NodeDef, functions: tuple[wire.FunctionDef, ...] = (), **outputs: str
) -> wire.SavedModel:
    """A graph whose signatures have an output each."""
    meta = wire.MetaGraphDef()
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.node.extend(nodes)
    meta.graph_def.library.function.extend(functions)
    for key, tensor in outputs.items():
        meta.signature_def[key].outputs["y"].name = tensor
    return wire.SavedModel(meta_graphs=[meta])


def found(graph: wire.SavedModel) -> PythonOperation | None:
    return read_graph("saved_model.pb", graph.SerializeToString()).python_operations.get(SERVE)


PY = node("call", "PyFunc")
AROUND = node("y", "Identity", "call:0")

CASES: dict[str, tuple[wire.SavedModel, PythonOperation | None]] = {
    "behind an output": (
        model(PY, AROUND, a="y:0"),
        PythonOperation("PyFunc", "call", "", "a"),
    ),
    "behind a control input": (
        model(node("call", "EagerPyFunc"), node("y", "Const", "^call"), a="y:0"),
        PythonOperation("EagerPyFunc", "call", "", "a"),
    ),
    "in a function of a function": (
        model(
            node("y", "StatefulPartitionedCall", calls=("outer",)),
            functions=(
                function("outer", node("z", "PartitionedCall", calls=("inner", "outer"))),
                function("inner", node("call", "PyFuncStateless")),
            ),
            a="y:0",
        ),
        PythonOperation("PyFuncStateless", "call", "inner", "a"),
    ),
    "in a function whose name is the operation": (
        model(node("y", "inner"), functions=(function("inner", PY),), a="y"),
        PythonOperation("PyFunc", "call", "inner", "a"),
    ),
    "in the initialisation": (
        model(PY, node("y", "Const"), a="y:0", __saved_model_init_op="call"),
        PythonOperation("PyFunc", "call", "", ""),
    ),
    "in the training": (
        model(PY, node("y", "Const"), a="y:0", __saved_model_train_op="call"),
        None,
    ),
    "behind no output": (model(PY, node("y", "Const"), a="y:0"), None),
    "in a function that is not called": (
        model(node("y", "Const"), functions=(function("inner", PY),), a="y:0"),
        None,
    ),
    "in a node that is only named so": (model(node("PyFunc", "Const"), a="PyFunc:0"), None),
    "in a loop of nodes": (
        model(node("y", "Identity", "z", "call"), node("z", "Identity", "y"), PY, a="y:0"),
        PythonOperation("PyFunc", "call", "", "a"),
    ),
}


@pytest.mark.parametrize("where", CASES)
def test_a_call_of_python(where: str) -> None:
    graph, expected = CASES[where]
    assert found(graph) == expected


def test_what_is_fed_is_not_run() -> None:
    graph = model(PY, AROUND, a="y:0")
    graph.meta_graphs[0].signature_def["a"].inputs["x"].name = "call:0"
    assert found(graph) is None


def test_a_branch_in_a_list_of_functions_is_run() -> None:
    case = node("y", "Case")
    case.attr["branches"].list.func.add(name="inner")
    graph = model(case, functions=(function("inner", PY),), a="y:0")
    assert found(graph) == PythonOperation("PyFunc", "call", "inner", "a")


def test_a_text_graph_is_looked_into_as_well() -> None:
    text = str(model(PY, AROUND, a="y:0")).encode()
    assert read_graph("saved_model.pbtxt", text).python_operations[SERVE].node == "call"


def large(graph: wire.SavedModel, size: int) -> bytes:
    """Serialize a graph with a constant of some bytes, which unknown fields of our messages stand for."""
    constant = b"\x0a\x05large\x12\x05Const" + _field(5, b"\x0a\x05value\x12" + _sized(bytes(size)))
    content = graph.meta_graphs[0].SerializeToString()
    return _field(2, content + _field(2, _field(1, constant)))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _sized(content)


def _sized(content: bytes) -> bytes:
    from tables import varint

    return varint(len(content)) + content


@pytest.mark.parametrize("python", [True, False])
def test_of_a_large_graph_little_is_kept(*, python: bool) -> None:
    chosen = model(PY, AROUND, a="y:0") if python else model(node("y", "Const"), a="y:0")
    content = large(chosen, 5 << 20)
    steps = graph_fields_of("saved_model.pb", len(content), step=4096)
    pieces: list[int] = []

    def read(start: int, length: int) -> bytes:
        pieces.append(length)
        return content[start : start + length]

    short = driven(steps, read)
    assert max(pieces) < 100_000
    assert len(short) < 1000
    again = read_graph("saved_model.pb", short)
    assert (SERVE in again.python_operations) is python


def test_of_a_graph_that_is_too_large_nothing_is_said() -> None:
    content = large(model(PY, AROUND, a="y:0"), 2000)
    steps = graph_fields_of("saved_model.pb", len(content), most=10)
    short = driven(steps, lambda start, length: content[start : start + length])
    graph = read_graph("saved_model.pb", short)
    assert graph.tags == (SERVE,)
    assert graph.python_operations == {}


def chain(length: int) -> list[wire.NodeDef]:
    """Nodes of which each runs the one before, and one beside them that calls Python."""
    return [PY, *(node(f"n{i}", "Identity", f"n{i - 1}") for i in range(length))]


def many_signatures(kind: str, many: int) -> wire.SavedModel:
    """Signatures that all run the same; their number times what each runs is some millions."""
    last = f"n{many - 1}:0"
    match kind:
        case "nodes":
            nodes, functions = chain(many), []
        case "inputs":
            nodes, functions = [PY, node(last[:-2], "Identity", *["absent"] * many)], []
        case "calls":
            nodes, functions = [PY, node(last[:-2], "Call", calls=("f",) * many)], []
        case _:
            nodes = [node(last[:-2], "f")]
            functions = [function("f", *chain(many)[1:]), function("g", PY)]
    outputs = {f"s{i}": last for i in range(many)}
    return model(*nodes, functions=tuple(functions), **outputs)


@pytest.mark.parametrize("kind", ["nodes", "inputs", "calls", "functions"])
def test_the_work_does_not_grow_with_signatures_times(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_MOST_STEPS", 20_000)
    [graph] = many_signatures(kind, 1000).meta_graphs
    with at_most_lines(600_000):
        assert operations.python_operation(graph) is None


def test_a_real_graph_is_far_from_the_most_that_is_looked_through() -> None:
    graph = model(*chain(10_000), **{f"a{i}": "n9999:0" for i in range(10)}, b="call")
    assert found(graph) == PythonOperation("PyFunc", "call", "", "b")


def test_a_function_of_several_signatures_is_found_for_the_first() -> None:
    calls = [node(name, "f") for name in "xyz"]
    graph = model(
        *calls, functions=(function("f", node("a", "g")), function("g", PY)), b="x", a="y"
    )
    assert found(graph) == PythonOperation("PyFunc", "call", "g", "a")


def test_a_long_name_counts_for_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_MOST_STEPS", 1000)
    for length, expected in ((60, PythonOperation("PyFunc", "call", "", "b")), (60_000, None)):
        graph = model(PY, node("y", "Identity", *["x" * length] * 10), a="y:0", b="call:0")
        assert found(graph) == expected


def test_a_function_is_looked_through_once_for_all_signatures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operations, "_MOST_STEPS", 10_000)
    inner = function("f", *chain(1000)[1:])
    graph = model(
        PY, node("y", "f"), functions=(inner,), **{f"a{i}": "y" for i in range(100)}, b="call"
    )
    assert found(graph) == PythonOperation("PyFunc", "call", "", "b")
