"""From an export to a session that can answer: import the graph, restore the variables, initialise.

The steps are those of TensorFlow's own C++ loader. Two things differ on purpose: an export whose variables are missing
is refused here instead of failing at every request, and the Python side of the import (collections, variable objects)
is left out, since nobody uses it and it costs time under the interpreter's lock.
"""

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from slipway_server.errors import Code, ServingError, not_found
from slipway_server.savedmodel.export import Export, Restore
from slipway_server.savedmodel.failures import translated


def open_session(
    directory: Path, export: Export, config: config_pb2.ConfigProto
) -> tf.compat.v1.Session:
    """Return a session in which an export's graph is ready to run.

    Raises:
        ServingError: the variables are missing, or TensorFlow refuses the graph, the variables or the init operation.
    """
    graph = tf.Graph()
    with translated():
        with graph.as_default():
            tf.graph_util.import_graph_def(export.graph, name="")
        session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        if export.restore is not None:
            _restore(session, directory, export.restore, export.assets)
        if export.init_operation:
            operation = _operation(graph, export.init_operation)
            with translated():
                session.run(operation, feed_dict=_known(graph, export.assets))
    except BaseException:
        session.close()
        raise
    return session


def _restore(
    session: tf.compat.v1.Session, directory: Path, restore: Restore, assets: Mapping[str, str]
) -> None:
    if not restore.files:
        raise not_found(
            f"The export in {directory} has variables to restore, but {restore.expected} is missing; "
            "it is incomplete"
        )
    operation = _operation(session.graph, restore.operation)
    feeds = {**_known(session.graph, assets), restore.file_tensor: restore.files}
    try:
        with translated():
            session.run(operation, feed_dict=feeds)
    except ServingError as error:
        message = f"Cannot restore the variables of {directory}: {error.message}"
        raise ServingError(error.code, message) from error


def _known(graph: tf.Graph, feeds: Mapping[str, str]) -> dict[str, str]:
    """Return the feeds whose tensors are in the graph: a served graph may be a part of the one that was exported."""
    names = {operation.name for operation in graph.get_operations()} if feeds else set()
    return {tensor: value for tensor, value in feeds.items() if tensor.partition(":")[0] in names}


def _operation(graph: tf.Graph, name: str) -> tf.Operation:
    try:
        return graph.get_operation_by_name(name)
    except (KeyError, ValueError) as error:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"The graph has no operation {name}, which its export names"
        ) from error
