"""Goes once through all that a load and a request do, with a graph of two operations.

The library is loaded when it is first used, registers its operations, starts its threads with the first session, and
so on. Done by the first real load, that would stall the requests of models that are served already; done before the
first model is loaded, it stalls nobody.
"""

from pathlib import Path

import numpy as np
from tensorflow.core.framework import graph_pb2, types_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from slipway_server.servables.tensorflow.exports.export import Export
from slipway_server.servables.tensorflow.exports.needs import needs_of
from slipway_server.servables.tensorflow.session_model import SessionModel
from slipway_server.servables.tensorflow.session_open import open_session
from slipway_server.servables.tensorflow.signature_defs import completed, read_signature

_KEY = "serving_default"


def warm_up_runtime(config: config_pb2.ConfigProto) -> None:
    """Load, run and release a graph of two operations."""
    export = _export()
    session = open_session(Path("/nonexistent"), export, needs_of(export), config)
    definition = completed(export.signatures[_KEY], session.graph.tensor)
    signature = read_signature(_KEY, definition)
    model = SessionModel(session, {_KEY: signature}, {_KEY: definition})
    model.prepare(signature)
    model.run(signature, {"x": np.zeros(1, np.float32)}, ["y"])
    model.close()


def _export() -> Export:
    graph = graph_pb2.GraphDef()
    graph.versions.producer = 1
    for name, operation, inputs, type_attribute in (
        ("x", "Placeholder", [], "dtype"),
        ("y", "Identity", ["x"], "T"),
        ("init", "NoOp", [], ""),
    ):
        node = graph.node.add(name=name, op=operation, input=inputs)
        if type_attribute:
            node.attr[type_attribute].type = types_pb2.DT_FLOAT
    signature = meta_graph_pb2.SignatureDef()
    signature.inputs["x"].name = "x:0"
    signature.outputs["y"].name = "y:0"
    return Export(
        graph=graph.SerializeToString(),
        signatures={_KEY: signature},
        assets={},
        restore=None,
        init_operation="init",
    )
