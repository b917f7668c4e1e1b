"""From an export to a session that can answer: import the graph, restore the variables, initialise.

The steps are those of TensorFlow's own C++ loader. What differs on purpose: variables that its restore operation leaves
out are restored by the object graph, and an export of which some are still missing is refused here instead of failing
at every request.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import structlog
from tensorflow.core.protobuf import config_pb2

from slipway_server.errors import Code, ServingError, not_found
from slipway_server.servables.tensorflow import native
from slipway_server.servables.tensorflow.exports.export import Export, Restore
from slipway_server.servables.tensorflow.exports.needs import Needs
from slipway_server.servables.tensorflow.failures import translated
from slipway_server.servables.tensorflow.session import Graph, GraphSession
from slipway_server.servables.tensorflow.variables import check_values, restore_by_objects
from slipway_server.tensorflow_library.lean_import import import_whole
from slipway_server.tensorflow_library.names import VERSION

_log = structlog.get_logger("slipway_server.loader")


def open_session(
    directory: Path, export: Export, needs: Needs, config: config_pb2.ConfigProto
) -> GraphSession:
    """Return a session in which an export's graph is ready to run.

    Raises:
        ServingError: the variables are missing, or TensorFlow refuses the graph, the variables or the init operation.
    """
    with translated():
        session = _new_session(export.graph, config)
    try:
        if export.restore is not None:
            _restore(session, directory, export.restore, export.assets)
        restore_by_objects(session, export, needs)
        if export.init_operation:
            _run(session, export.init_operation, _known(session.graph, export.assets))
        check_values(session, directory, export, needs)
    except BaseException:
        session.close()
        raise
    return session


def _new_session(definition: bytes | memoryview, config: config_pb2.ConfigProto) -> GraphSession:
    if not (reason := native.unsupported()):
        return native.NativeSession(native.NativeGraph(definition), config)
    _warn(reason)
    import_whole()
    from slipway_server.servables.tensorflow.python_session import PythonGraph, PythonSession  # noqa: PLC0415 - see above

    return PythonSession(PythonGraph(definition), config)


@cache
def _warn(reason: str) -> None:
    """Log once per process: it is true of all models alike."""
    _log.warning(
        "loading through TensorFlow's Python API, which holds up requests while a large model is loaded",
        tensorflow=VERSION,
        reason=reason,
    )


def _restore(
    session: GraphSession, directory: Path, restore: Restore, assets: Mapping[str, str]
) -> None:
    if not restore.files:
        raise not_found(
            f"The export in {directory} has variables to restore, but {restore.expected} is missing; "
            "it is incomplete"
        )
    feeds = {**_known(session.graph, assets), restore.file_tensor: restore.files}
    _check(session.graph, restore.operation)
    try:
        _run(session, restore.operation, feeds)
    except ServingError as error:
        message = f"Cannot restore the variables of {directory}: {error.message}"
        raise ServingError(error.code, message) from error


def _run(session: GraphSession, operation: str, feeds: Mapping[str, str]) -> None:
    _check(session.graph, operation)
    with translated():
        session.execute(operation, feeds)


def _known(graph: Graph, feeds: Mapping[str, str]) -> dict[str, str]:
    """Return the feeds whose tensors are in the graph: a served graph may be a part of the one that was exported."""
    return {tensor: value for tensor, value in feeds.items() if graph.tensor(tensor) is not None}


def _check(graph: Graph, operation: str) -> None:
    if not graph.has_operation(operation):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"The graph has no operation {operation}, which its export names",
        )
