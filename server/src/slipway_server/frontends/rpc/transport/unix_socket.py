"""The file of a UNIX socket: taken over from who was there before, permissions, removal at the end. Imports no grpc."""

import contextlib
import errno
import os
import secrets
import socket
import stat
from pathlib import Path
from typing import Final

_MAX_PATH: Final = 107
"""Bytes of a socket's path (unix(7))."""
_NOBODY_LISTENS: Final = frozenset({errno.ECONNREFUSED, errno.ENOENT})


class UnixSocket:
    """The file at a path, from before gRPC listens until the server's end.

    gRPC unlinks the path that it listens on, at the beginning and at its end: then the file may long be another
    server's. So it is given another name in the same directory, which `publish` renames. Clients always find one
    server or the other at the path, and never one without its permissions.

    Attributes:
        bound: where gRPC has to listen, which is also the socket's name in /proc/net/unix.

    Raises:
        OSError: the path cannot be used.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._inode: tuple[int, int] | None = None
        self.bound = str(self._path.with_name(f".{secrets.token_hex(4)}"))
        length = max(len(os.fsencode(self.bound)), len(os.fsencode(path)))
        if length > _MAX_PATH:
            raise OSError(
                f"Cannot listen on unix:{path} for gRPC: the path is too long by {length - _MAX_PATH} bytes"
            )
        self._check_kind()

    def listener(self) -> bool:
        """Whether another process listens at the path, as far as can be told."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # one whose queue is full would hold up the start
            return probe.connect_ex(str(self._path)) not in _NOBODY_LISTENS

    def publish(self, mode: int | None) -> None:
        """Put the socket, on which gRPC listens now, in its place, whatever socket is there.

        Args:
            mode: its permissions: who may write to it may call. None leaves them to the process's umask.

        Raises:
            OSError: the directory does not allow it.
        """
        try:
            self._check_kind()
            if mode is not None:
                Path(self.bound).chmod(mode)
            status = Path(self.bound).lstat()
            Path(self.bound).rename(self._path)
        except OSError as error:
            self.remove()
            raise OSError(f"Cannot listen on unix:{self._path} for gRPC: {error}") from error
        self._inode = (status.st_dev, status.st_ino)

    def remove(self) -> None:
        """Remove the file, unless it is gone already or has become another server's."""
        with contextlib.suppress(OSError):
            Path(self.bound).unlink()
        with contextlib.suppress(OSError):
            status = self._path.lstat()
            if (status.st_dev, status.st_ino) == self._inode:
                self._path.unlink()

    def _check_kind(self) -> None:
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise OSError(
                f"Cannot listen on unix:{self._path} for gRPC: the file exists and is not a socket"
            )
