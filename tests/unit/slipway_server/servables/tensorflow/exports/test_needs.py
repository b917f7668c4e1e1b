"""What signatures need: found in memory and work that do not grow with a product of what the export names."""

from __future__ import annotations

import tracemalloc
from typing import Any

from line_limit import at_most_lines


def export_of(graph: Any, signatures: int, output: str, objects: bytes = b"") -> Any:
    from tensorflow.core.protobuf import meta_graph_pb2

    from slipway_server.servables.tensorflow.exports.export import Export

    definition = meta_graph_pb2.SignatureDef()
    definition.outputs["y"].name = output
    return Export(
        graph=graph.SerializeToString(),
        signatures={f"s{number}": definition for number in range(signatures)},
        assets={},
        restore=None,
        init_operation="",
        object_graph=objects,
    )


def test_nodes_that_many_signatures_run_are_held_once() -> None:
    from tensorflow.core.framework import graph_pb2

    from slipway_server.servables.tensorflow.exports.needs import needs_of

    graph = graph_pb2.GraphDef()
    for number in range(200):
        graph.node.add(name=f"n{number}", op="NoOp", input=[f"^n{number - 1}"] if number else [])

    def peak(signatures: int) -> int:
        export = export_of(graph, signatures, "n199:0")
        tracemalloc.start()
        try:
            needs_of(export)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    # A reference to each node for each signature is 800 kB.
    assert peak(500) < peak(1) + (300 << 10)


def test_a_function_that_a_node_names_many_times_is_looked_at_once() -> None:
    from tensorflow.core.framework import graph_pb2
    from tensorflow.core.protobuf import saved_object_graph_pb2

    from slipway_server.servables.tensorflow.exports.needs import needs_of

    many = 2000
    graph = graph_pb2.GraphDef()
    graph.node.add(name="v", op="VarHandleOp")
    call = graph.node.add(name="y", op="StatefulPartitionedCall", input=["v"] * many)
    for _ in range(many):
        call.attr["f"].list.func.add(name="f")
    objects = saved_object_graph_pb2.SavedObjectGraph()
    objects.concrete_functions["f"].bound_inputs.extend([7] * many)
    with at_most_lines(100 * many):
        found = needs_of(export_of(graph, 1, "y:0", objects.SerializeToString()))
    assert found.variables["v"].object == 7
