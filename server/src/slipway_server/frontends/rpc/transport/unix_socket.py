"""The file of a UNIX socket: stale ones removed before bind, permissions, removal at the end. Imports no grpc."""

import contextlib
import socket
import stat
from pathlib import Path


def remove_stale(path: str) -> None:
    """Remove the socket that a server left behind when it was killed.

    Raises:
        OSError: another server listens on it, or the file is no socket.
    """
    file = Path(path)
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(f"Cannot listen on unix:{path} for gRPC: the file exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            file.unlink(missing_ok=True)
            return
    raise OSError(f"Cannot listen on unix:{path} for gRPC: another process listens on it")


def set_mode(path: str, mode: int | None) -> None:
    """Give a socket its permissions: who may write to it may call. None leaves them to the process's umask."""
    if mode is not None:
        Path(path).chmod(mode)


def remove(path: str) -> None:
    """Remove the file at the end; that it is gone already is no error."""
    with contextlib.suppress(OSError):
        Path(path).unlink()
