"""gRPC calls whose messages stay unfinished: as many bytes of each as the server lets come, and never the last one."""

from __future__ import annotations

import select
import socket
import time

from hostile import DATA, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, grpc_call

WINDOW_UPDATE, PING = 8, 6
_ACK, _END_STREAM = 1, 1
_INITIAL_WINDOW_SETTING = 4
_FRAME = 16 << 10
_ZEROS = bytes(_FRAME)


class HalfSent:
    """A connection with unfinished calls.

    Attributes:
        sent: bytes of each call's message so far, by stream.
        ended: what the server has ended.

    Args:
        port: of the server.
        path: of the method.
        calls: number of calls.
        announced: bytes that each message says it has.
    """

    def __init__(self, port: int, path: str, calls: int, announced: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._initial = self._window = (1 << 16) - 1
        self._windows: dict[int, int] = {}
        self._received = b""
        self.sent: dict[int, int] = {}
        self.ended: set[int] = set()
        self._announced = announced
        first = grpc_call(path, b"", announced=announced)
        at = first.index(frame(DATA, 0, 1, b"\0" + announced.to_bytes(4, "big")))
        settings = PREFACE + frame(SETTINGS, 0, 0, b"")
        headers = first[len(settings) + 9 : at]
        self._socket.sendall(settings)
        for stream in range(1, 2 * calls, 2):
            prefix = b"\0" + announced.to_bytes(4, "big")
            self._socket.sendall(
                frame(HEADERS, 4, stream, headers) + frame(DATA, 0, stream, prefix)
            )
            self._window -= len(prefix)
            self._windows[stream] = self._initial - len(prefix)
            self.sent[stream] = 0

    def pump(self, most: int) -> int:
        """Send what the server lets come now, up to so many bytes of each message; return how many that were."""
        self._read()
        total = 0
        for stream in [stream for stream in self.sent if stream not in self.ended]:
            room = min(most, self._announced - 1) - self.sent[stream]
            while (size := min(room, self._window, self._windows[stream], _FRAME)) > 0:
                try:
                    self._socket.sendall(frame(DATA, 0, stream, _ZEROS[:size]))
                except ConnectionError:
                    self.ended.update(self.sent)
                    return total
                self._window -= size
                self._windows[stream] -= size
                self.sent[stream] += size
                room -= size
                total += size
                self._read()
        return total

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _read(self) -> None:
        while select.select([self._socket], [], [], 0)[0]:
            try:
                piece = self._socket.recv(1 << 16)
            except ConnectionError:
                piece = b""
            if not piece:
                self.ended.update(self.sent)
                return
            self._received += piece
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + size:
                return
            kind, flags = self._received[3], self._received[4]
            stream = int.from_bytes(self._received[5:9], "big")
            payload = self._received[9 : 9 + size]
            self._received = self._received[9 + size :]
            self._heed(kind, flags, stream, payload)

    def _heed(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream:
                self._windows[stream] += more
            else:
                self._window += more
        elif kind == SETTINGS and not flags & _ACK:
            for at in range(0, len(payload), 6):
                if int.from_bytes(payload[at : at + 2], "big") == _INITIAL_WINDOW_SETTING:
                    initial = int.from_bytes(payload[at + 2 : at + 6], "big")
                    for known in self._windows:
                        self._windows[known] += initial - self._initial
                    self._initial = initial
            self._socket.sendall(frame(SETTINGS, _ACK, 0, b""))
        elif kind == PING and not flags & _ACK:
            self._socket.sendall(frame(PING, _ACK, 0, payload))
        elif kind == RST_STREAM or (kind == HEADERS and flags & _END_STREAM):
            self.ended.add(stream)
        elif kind == GOAWAY and int.from_bytes(payload[4:8], "big"):
            self.ended.update(self.sent)


def pump_all(connections: list[HalfSent], most: int, quiet: float = 1.0) -> int:
    """Send on all connections until nothing more may be sent for some seconds; return how many bytes that were."""
    total, since = 0, time.monotonic()
    while time.monotonic() < since + quiet:
        if size := sum(connection.pump(most) for connection in connections):
            total += size
            since = time.monotonic()
        else:
            time.sleep(0.01)
    return total
