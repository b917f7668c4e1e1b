"""Brings a store's answers to the client: framing understood, lengths held to a limit, bytes moved by the kernel."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Final

PIPE_BYTES: Final = 1 << 20
_SPLICED: Final = 64 << 10
"""What is shorter costs less when Python moves it."""
_HEAD_BYTES: Final = 64 << 10
_LINE_BYTES: Final = 4096
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")

Moved = Callable[[int], object]
"""It is told how many bytes came; may raise OSError to stop them."""


class Incoming:
    """What a server sends on one connection, plain or by TLS."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._held = b""
        self._pipe: tuple[int, int] | None = None

    def close(self) -> None:
        """Let go of the pipe; the socket is its owner's."""
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def wait(self, sending: threading.Lock) -> None:
        """Wait until something comes, and no request is being sent.

        Args:
            sending: Held by who sends: one connection of TLS cannot be read and written at once.

        Raises:
            OSError: The server is gone.
        """
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        while not self._held:
            poll.poll()
            with sending:
                if not isinstance(self._source, ssl.SSLSocket):
                    if not self._source.recv(1, socket.MSG_PEEK):
                        raise _gone()
                    return
                try:
                    self._source.settimeout(0)
                    self._receive()
                except ssl.SSLWantReadError:
                    continue  # What TLS says by itself.
                finally:
                    self._source.settimeout(None)

    def head(self) -> list[bytes]:
        """Return the lines of the next head.

        Raises:
            OSError: The server is gone before its end.
            ValueError: It is too long.
        """
        while (end := _HEAD_END.search(self._held)) is None:
            if len(self._held) > _HEAD_BYTES:
                raise ValueError("no end of a head")
            self._receive()
        head, self._held = self._held[: end.start()], self._held[end.end() :]
        return [line.removesuffix(b"\r") for line in head.split(b"\n")]

    def body(self, target: socket.socket, length: int, moved: Moved) -> None:
        """Move so many bytes.

        Raises:
            OSError: They do not come, cannot be sent, or `moved` stops them.
        """
        while length:
            count = self._move(target, length)
            moved(count)
            length -= count

    def body_to_end(self, target: socket.socket, moved: Moved) -> None:
        """Move all that comes until the server closes the connection, in chunks: an end too early is seen as one."""
        while True:
            if not self._held:
                try:
                    self._receive()
                except ConnectionAbortedError:
                    break
            piece, self._held = self._held, b""
            moved(len(piece))
            target.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        target.sendall(b"0\r\n\r\n")

    def chunks(self, target: socket.socket, moved: Moved) -> None:
        """Move a body in chunks, each written anew; trailers are left out.

        Raises:
            OSError: As `body`.
            ValueError: It is no such body.
        """
        while True:
            match = _CHUNK_SIZE.fullmatch(self._line())
            if match is None:
                raise ValueError("no size of a chunk")
            size = int(match[1], 16)
            if not size:
                break
            target.sendall(b"%x\r\n" % size)
            self.body(target, size, moved)
            if self._line():
                raise ValueError("no end of a chunk")
            target.sendall(b"\r\n")
        while trailer := self._line():
            moved(len(trailer))
        target.sendall(b"0\r\n\r\n")

    def _line(self) -> bytes:
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > _LINE_BYTES:
                raise ValueError("no end of a line")
            self._receive()
        line, self._held = self._held[:end], self._held[end + 1 :]
        return line.removesuffix(b"\r")

    def _receive(self) -> None:
        came = self._source.recv(_HEAD_BYTES)
        if not came:
            raise _gone()
        self._held += came

    def _move(self, target: socket.socket, most: int) -> int:
        """Move some bytes, at least one."""
        if self._held or most < _SPLICED or isinstance(self._source, ssl.SSLSocket):
            if not self._held:
                self._receive()
            piece, self._held = self._held[:most], self._held[most:]
            target.sendall(piece)
            return len(piece)
        if self._pipe is None:
            self._pipe = os.pipe()
            widen(self._pipe[1])
        reader, writer = self._pipe
        count = os.splice(self._source.fileno(), writer, min(most, PIPE_BYTES))
        if not count:
            raise _gone()
        left = count
        while left:
            left -= os.splice(reader, target.fileno(), left)
        return count


def _gone() -> ConnectionAbortedError:
    return ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))


def widen(pipe: int) -> None:
    """Let a pipe hold PIPE_BYTES, where the system allows it."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
