"""From an export to a session that can answer: import the graph, restore the variables, initialise.

The steps are those of TensorFlow's own C++ loader. What differs on purpose: variables that its restore operation leaves
out are restored by the object graph, and an export of which some are still missing is refused here instead of failing
at every request.
"""

from collections.abc import Mapping
from pathlib import Path

from tensorflow.core.protobuf import config_pb2

from slipway_server.errors import ServingError, not_found
from slipway_server.servables.tensorflow.c_api.graph import Graph
from slipway_server.servables.tensorflow.c_api.session import Session
from slipway_server.servables.tensorflow.exports.export import Export, Restore
from slipway_server.servables.tensorflow.exports.needs import Needs
from slipway_server.servables.tensorflow.variables import check_values, restore_by_objects


def open_session(
    directory: Path, export: Export, needs: Needs, config: config_pb2.ConfigProto
) -> Session:
    """Return a session in which an export's graph is ready to run.

    Raises:
        ServingError: the variables are missing, or TensorFlow refuses the graph, the variables or the init operation.
    """
    session = Session(Graph(export.graph), config)
    try:
        if export.restore is not None:
            _restore(session, directory, export.restore, export.assets)
        restore_by_objects(session, export, needs)
        if export.init_operation:
            session.execute(export.init_operation, _known(session.graph, export.assets))
        check_values(session, directory, export, needs)
    except BaseException:
        session.close()
        raise
    return session


def _restore(
    session: Session, directory: Path, restore: Restore, assets: Mapping[str, str]
) -> None:
    if not restore.files:
        raise not_found(
            f"The export in {directory} has variables to restore, but {restore.expected} is missing; "
            "it is incomplete"
        )
    feeds = {**_known(session.graph, assets), restore.file_tensor: restore.files}
    session.graph.target(restore.operation)  # Whose sentence needs no other words.
    try:
        session.execute(restore.operation, feeds)
    except ServingError as error:
        message = f"Cannot restore the variables of {directory}: {error.message}"
        raise ServingError(error.code, message) from error


def _known(graph: Graph, feeds: Mapping[str, str]) -> dict[str, str]:
    """Return the feeds whose tensors are in the graph: a served graph may be a part of the one that was exported."""
    return {tensor: value for tensor, value in feeds.items() if graph.tensor(tensor) is not None}
