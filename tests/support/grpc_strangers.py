"""Clients that are no clients: what they send to a gRPC port, as bytes of HTTP/2."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from hostile import DATA, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame

CONTINUATION, PING, WINDOW_UPDATE = 9, 6, 8
_END_HEADERS = 4
_PATH = b"/tensorflow.serving.PredictionService/Predict"
_OPEN = PREFACE + frame(SETTINGS, 0, 0, b"")


def _literal(name: bytes, value: bytes, kind: int = 0) -> bytes:
    return bytes((kind, len(name))) + name + bytes((len(value),)) + value


_HEAD = b"".join(
    _literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", _PATH),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
)


def half_bodies() -> Iterator[bytes]:
    """Many calls of one connection, each of whose messages is begun and never finished."""
    yield _OPEN
    for stream in range(1, 200, 2):
        yield frame(HEADERS, _END_HEADERS, stream, _HEAD)
        yield frame(DATA, 0, stream, b"\0" + (60 << 20).to_bytes(4, "big") + bytes(5000))


def rapid_reset() -> Iterator[bytes]:
    """Calls that are taken back as soon as they are made."""
    yield _OPEN
    for stream in range(1, 60_000, 2):
        yield frame(HEADERS, _END_HEADERS, stream, _HEAD) + frame(
            RST_STREAM, 0, stream, (8).to_bytes(4, "big")
        )


def continuation_flood() -> Iterator[bytes]:
    """Headers without end."""
    yield _OPEN + frame(HEADERS, 0, 1, _HEAD)
    for _ in range(5000):
        yield frame(CONTINUATION, 0, 1, _literal(b"x", b"y" * 100) * 100)


def settings_flood() -> Iterator[bytes]:
    """Settings, each of which the server has to acknowledge, and pings."""
    yield _OPEN
    for number in range(50_000):
        yield frame(SETTINGS, 0, 0, b"") + frame(PING, 0, 0, number.to_bytes(8, "big"))


def header_references() -> Iterator[bytes]:
    """One large header in the table, then thousands of references to it, each of one byte."""
    yield _OPEN + frame(HEADERS, _END_HEADERS, 1, _HEAD + b"\x40\x01a\x7f\xd1\x1e" + b"v" * 4000)
    for stream in range(3, 600, 2):
        yield frame(HEADERS, _END_HEADERS, stream, _HEAD + b"\xbe" * 16_000)


def not_http() -> Iterator[bytes]:
    """Another protocol."""
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100


STRANGERS: dict[str, Callable[[], Iterator[bytes]]] = {
    one.__name__: one
    for one in (
        half_bodies,
        rapid_reset,
        continuation_flood,
        settings_flood,
        header_references,
        not_http,
    )
}


@contextlib.contextmanager
def strangers(port: int, sent: Callable[[], Iterator[bytes]], count: int) -> Iterator[None]:
    """Let so many connections send, over and over, until the end of the block; each is kept open until it is cut."""
    over = threading.Event()

    def act() -> None:
        while not over.is_set():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=1) as connection,
            ):
                for piece in sent():
                    if over.is_set():
                        return
                    connection.sendall(piece)
                while not over.is_set() and connection.recv(1 << 16):
                    pass

    threads = [threading.Thread(target=act, daemon=True) for _ in range(count)]
    for one in threads:
        one.start()
    try:
        yield
    finally:
        over.set()
        for one in threads:
            one.join(60)
