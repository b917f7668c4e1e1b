"""TensorFlow's profiler service, which TensorBoard's "capture profile" asks, on a port of its own."""

import socket
from typing import Final

import structlog

from slipway_server.tensorflow_library.lean_import import import_part

PROFILER: Final = "tensorflow.python.profiler.internal._pywrap_profiler"
"""The C API does not start it."""

_log = structlog.get_logger("slipway_server")


def start_profiler(port: int) -> None:
    """Serve `tensorflow.ProfilerService` until the process ends.

    Raises:
        OSError: the port cannot be listened on.
    """
    _check_free(port)
    import_part(PROFILER).start_server(port)
    _log.warning(
        "profiler open, without TLS or authentication: its clients name the directory that the server writes to",
        port=port,
    )


def _check_free(port: int) -> None:
    """Refuse a port in use; TensorFlow would share it, or say nothing."""
    # A machine may have no IPv6, whatever Python was built with.
    with _socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise OSError(
                f"Cannot listen on port {port} for the profiler: {error.strerror}"
            ) from error


def _socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET6)
    except OSError:
        return socket.socket(socket.AF_INET)
