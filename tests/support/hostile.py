"""Inputs that are made to do harm, built without taking the memory they announce."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MIB = 1 << 20

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def gzip_bomb(size: int, *, announced: int | None = None) -> bytes:
    """Return about `size / 1000` bytes that decompress to `size` zeros, which are whole MiBs.

    The checksum at the end is wrong: nobody should get as far.

    Args:
        announced: what the trailer says of the size instead of the truth.
    """
    packer = zlib.compressobj(9, wbits=-15)
    # A full flush forgets what was before, so the same block can follow itself.
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    count = size // MIB
    trailer = struct.pack("<II", 0, (size if announced is None else announced) % (1 << 32))
    return _HEADER + block * count + b"\x03\0" + trailer


# ---- what a server's memory did --------------------------------------------------------------------------------------


class PeakMemory:
    """How far a process's resident memory rises inside a `with` block.

    Attributes:
        growth: bytes of the highest point above the beginning; set at the end of the block.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = 0
        self.growth = 0

    def __enter__(self) -> Self:
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")  # the peak begins anew from here
        self._before = self._status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.growth = max(self._status("VmHWM") - self._before, 0)

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"the kernel tells no {name}")


# ---- HTTP/1.1 and HTTP/2 by hand -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What came back on a raw connection until it closed, or until nothing more came.

    Attributes:
        closed: whether the server ended the connection.
    """

    data: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """The statuses of the HTTP/1.1 answers in it."""
        return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.data)]


def exchange(port: int, *pieces: bytes, answers: int = 1, half_close: bool = False) -> Answer:
    """Send bytes and read until so many HTTP answers are there or the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        # A server that has already refused may not read the rest; its answer counts.
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        data = b""
        while not _complete(data, answers):
            try:
                piece = connection.recv(1 << 16)
            except ConnectionError:
                return Answer(data, closed=True)
            if not piece:
                return Answer(data, closed=True)
            data += piece
        return Answer(data, closed=False)


def _complete(data: bytes, answers: int) -> bool:
    for _ in range(answers):
        head, found, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if not found or length is None or len(rest) < int(length[1]):
            return False
        data = rest[int(length[1]) :]
    return True


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def grpc_call(path: str, message: bytes, *, announced: int, end: bool = False) -> bytes:
    """Return the bytes of a connection with one call, whose message announces some length."""

    def literal(name: str, value: str) -> bytes:
        return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()

    headers = b"".join(
        literal(name, value)
        for name, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "x"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        )
    )
    return (
        PREFACE
        + frame(SETTINGS, 0, 0, b"")
        + frame(HEADERS, _END_HEADERS, 1, headers)
        + frame(DATA, int(end), 1, b"\0" + announced.to_bytes(4, "big") + message)
    )


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process has used, which does not depend on what else the machine does."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def grpc_end(port: int, data: bytes, patience: float) -> str:
    """Send bytes to a gRPC port; return how the server ended call or connection, or "waiting"."""
    deadline = time.monotonic() + patience
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                piece = connection.recv(1 << 16)
            except TimeoutError:
                break
            except ConnectionError:
                return "closed"
            if not piece:
                return "closed"
            received += piece
            if end := _grpc_end(received):
                return end
    return "waiting"


def _grpc_end(data: bytes) -> str:
    while len(data) >= 9:
        size, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
        if kind == HEADERS and flags & _END_STREAM:
            return "status"
        if kind in {RST_STREAM, GOAWAY}:
            return "reset"
        data = data[9 + size :]
    return ""
