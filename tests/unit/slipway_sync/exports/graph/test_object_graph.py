"""Variables by the objects that were exported (§17): which of them a checkpoint lacks."""

from __future__ import annotations

import pytest

from line_limit import at_most_lines
from slipway_sync.exports import read_graph
from slipway_sync.exports.graph.object_graph import CapturedVariable, ObjectGraph, object_graph
from slipway_sync.wire import tensorflow_pb2 as wire

VALUE = ".ATTRIBUTES/VARIABLE_VALUE"
KERNEL, BIAS = f"layers/0/a.Sb..c/{VALUE}", f"bias/{VALUE}"


def objects() -> wire.SavedObjectGraph:
    """root → layers → 0 → "a/b.c" (a variable), root → bias, root → unread, root → signatures → serve (a function)."""
    made = wire.SavedObjectGraph()
    children = [
        {"layers": 1, "bias": 4, "unread": 5, "signatures": 6},
        {"0": 2},
        {"a/b.c": 3},
        *({}, {}, {}),
        {"serve": 7},
        {},
    ]
    for number, names in enumerate(children):
        node = made.nodes.add()
        for name, child in names.items():
            node.children.add(local_name=name, node_id=child)
        if number in {3, 4, 5}:
            node.variable.name = {3: "kernel", 4: "bias", 5: "unread"}[number]
    made.nodes[7].bare_concrete_function.concrete_function_name = "f"
    made.concrete_functions["f"].bound_inputs.extend([3, 4, 2])
    return made


CASES: dict[str, tuple[tuple[str, ...], str]] = {
    "all values": ((KERNEL, BIAS), ""),
    "the value of an unread variable as well": ((KERNEL, BIAS, f"unread/{VALUE}"), ""),
    "one value": ((KERNEL,), "bias"),
    "the other": ((BIAS,), "kernel"),
    "another attribute": ((BIAS, KERNEL.replace("VARIABLE_VALUE", "OTHER")), "kernel"),
    "a slot of a variable": ((BIAS, f"layers/0/a.Sb..c/.OPTIMIZER_SLOT/o/m/{VALUE}"), "kernel"),
    "a name that no object has": ((KERNEL, f"elsewhere/{VALUE}"), ""),
    "names of other objects": ((f"elsewhere/{VALUE}",), "kernel"),
    "no value of an object": (("kernel", "bias"), ""),
}


@pytest.mark.parametrize("what", CASES)
def test_a_checkpoint_with(what: str) -> None:
    keys, missing = CASES[what]
    found = object_graph(objects()).without_value(keys)
    assert found == (CapturedVariable(missing, "serve") if missing else None)


def test_the_objects_are_read_from_a_file_without_what_is_large() -> None:
    model = wire.SavedModel()
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.object_graph_def.CopyFrom(objects())
    content = model.SerializeToString()
    found = read_graph("saved_model.pb", content).objects[frozenset({"serve"})]
    assert found == object_graph(objects())


def harmed(change: str) -> wire.SavedObjectGraph:
    made = objects()
    match change:
        case "a child that is not there":
            made.nodes[0].children[0].node_id = 99
        case "a child before the first":
            made.nodes[1].children[0].node_id = -1
        case "a capture that is not there":
            made.concrete_functions["f"].bound_inputs[0] = 99
        case "a signature that is not there":
            made.nodes[6].children[0].node_id = 99
        case "signatures that are not there":
            made.nodes[0].children[3].node_id = -5
        case "an object that is its own child":
            made.nodes[0].children[0].node_id = 0
    return made


@pytest.mark.parametrize(
    "change",
    [
        *("a child that is not there", "a child before the first", "a capture that is not there"),
        *("a signature that is not there", "signatures that are not there"),
        "an object that is its own child",
    ],
)
def test_of_a_damaged_graph_nothing_false_is_said(change: str) -> None:
    assert object_graph(harmed(change)).without_value([KERNEL, BIAS]) is None


def test_no_objects_say_nothing() -> None:
    assert object_graph(wire.SavedObjectGraph()) == ObjectGraph()
    assert ObjectGraph().without_value([KERNEL]) is None


def test_the_work_does_not_grow_with_a_power_of_the_file() -> None:
    """Containers × signatures × functions × captures, 3000 each, are some 10 KB that name the same four objects."""
    many = 3000
    made = wire.SavedObjectGraph()
    for _ in range(4):
        made.nodes.add()
    for _ in range(many):
        made.nodes[0].children.add(local_name="signatures", node_id=1)
        made.nodes[1].children.add(local_name="serve", node_id=2)
    made.nodes[2].function.concrete_functions.extend(["f"] * many)
    made.concrete_functions["f"].bound_inputs.extend([3] * many)
    made.nodes[3].variable.name = "kernel"
    with at_most_lines(50 * many):
        found = object_graph(made)
    assert found.captured == {3: CapturedVariable("kernel", "serve")}


def test_the_first_signature_of_several_is_named() -> None:
    made = objects()
    made.nodes[6].children.add(local_name="other", node_id=7)
    made.nodes.add().function.concrete_functions.extend(["f", "g", "g"])
    made.nodes[6].children.add(local_name="third", node_id=8)
    made.concrete_functions["g"].bound_inputs.extend([5, 3])
    assert object_graph(made).captured == {
        3: CapturedVariable("kernel", "serve"),
        4: CapturedVariable("bias", "serve"),
        5: CapturedVariable("unread", "third"),
    }
