"""Bounds the bytes of gRPC messages that are still arriving, all of them together.

grpcio tells of a message when it is complete; until then its bytes are in the library's memory, and nothing says how
many there are. The kernel knows how many a connection has received, and we know how many were in its complete messages:
the difference is what is arriving. When there is too much, the connections that have kept most memory for longest lose
their unfinished calls: an honest message is large and soon complete.
"""

import errno
import logging
import math
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

_log: Final = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.05
_SLOW_SECONDS: Final = 0.1
"""Messages that are complete sooner are never looked at; more than comes in this time is not known of either."""
_LOOKING_SHARE: Final = 0.1
"""Share of the time that looking may take, where there are very many connections."""
_UNCOUNTED_SECONDS: Final = 10.0
"""While bytes cannot be counted, messages that have been arriving for longer must go."""

_FRAMING_BYTES: Final = 128
"""What the kernel counts for a message besides the message itself: its header, mostly."""

_TOO_MUCH: Final = b"The server is overloaded: too many bytes of unfinished requests are arriving"

_BYTES_RECEIVED: Final = struct.Struct("@Q")
_BYTES_RECEIVED_AT: Final = 128
"""Of `tcpi_bytes_received` in the kernel's `struct tcp_info`; since Linux 4.1."""
_NO_MORE_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_MAPPED: Final = "::ffff:"


class ArrivingCall(Protocol):
    """A call whose message is not complete."""

    @property
    def peer(self) -> str:
        """Its client, as gRPC writes it."""
        ...

    def abort_arrival(self, details: bytes) -> None:
        """End it."""
        ...


class ArrivingBytes:
    """Estimates how many bytes of unfinished messages each connection has brought, and says which ones must go.

    Args:
        limit: bytes of all unfinished messages.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._complete: dict[str, int] = {}
        self._base: dict[str, int] | None = None

    @property
    def counts(self) -> bool:
        """Whether complete messages have to be told."""
        return self._base is not None

    def completed(self, connection: str, size: int) -> None:
        """Take note that a message has arrived; on gRPC's serving thread."""
        with self._lock:
            self._complete[connection] = self._complete.get(connection, 0) + size + _FRAMING_BYTES

    def forget(self) -> None:
        """Begin anew: nothing is arriving."""
        with self._lock:
            self._base = None
            self._complete.clear()

    def too_much(self, received: Mapping[str, int], arriving: Mapping[str, float]) -> list[str]:
        """Return the connections that must give their unfinished messages up, by bytes times seconds.

        Args:
            received: bytes that each open connection has brought since it was opened.
            arriving: connections with unfinished messages, and for how many seconds the oldest has been arriving.
        """
        with self._lock:
            if self._base is None:
                # What came before is taken for complete, and counts on connections that are opened from now on.
                self._base = dict(received)
            bytes_of: dict[str, int] = {}
            for connection, size in received.items():
                since = self._base.setdefault(connection, 0)
                unfinished = size - since - self._complete.get(connection, 0)
                if connection in arriving and unfinished > 0:
                    bytes_of[connection] = unfinished
                else:
                    self._begin(connection, size)
            for connection in self._base.keys() - received.keys():
                del self._base[connection]
                self._complete.pop(connection, None)
            total = sum(bytes_of.values())
            chosen = []
            for connection in sorted(
                bytes_of, key=lambda one: bytes_of[one] * arriving[one], reverse=True
            ):
                if total <= self._limit:
                    break
                chosen.append(connection)
                total -= bytes_of[connection]
                self._begin(connection, received[connection])
            return chosen

    def _begin(self, connection: str, size: int) -> None:
        if self._base is not None:
            self._base[connection] = size
        self._complete.pop(connection, None)


class ArrivalWatch:
    """Looks again and again whether too much is arriving, on a thread of its own.

    Args:
        counter: decides.
        slow: returns the calls whose message has been arriving since before a moment, and since when, in monotonic
            seconds.
        received: counts the bytes of each connection.
    """

    def __init__(
        self,
        counter: ArrivingBytes,
        slow: Callable[[float], Sequence[tuple[ArrivingCall, float]]],
        received: Callable[[], Mapping[str, int]],
    ) -> None:
        self._counter = counter
        self._slow = slow
        self._received = received
        self._stopped = threading.Event()
        self._logged = False

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="rpc-arrivals", daemon=True).start()

    def stop(self) -> None:
        """End, soon."""
        self._stopped.set()

    def look(self) -> None:
        """Look once."""
        now = time.monotonic()
        if not self._slow(now - _SLOW_SECONDS):
            self._counter.forget()
            return
        try:
            received = self._received()
        except OSError as error:
            # Too many open files, mostly: connections that keep messages unfinished may be why.
            self._end_old(now, error)
            return
        calls: dict[str, list[ArrivingCall]] = {}
        ages: dict[str, float] = {}
        for call, since in self._slow(math.inf):
            connection = connection_of(call.peer)
            calls.setdefault(connection, []).append(call)
            ages[connection] = max(ages.get(connection, 0.0), now - since)
        for connection in self._counter.too_much(received, ages):
            for call in calls[connection]:
                call.abort_arrival(_TOO_MUCH)

    def look_safely(self) -> None:
        """Look once, whatever happens: the next look may go well."""
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - without this thread nothing is bounded
            self._log_once("gRPC messages that are arriving could not be counted: %r", error)

    def _end_old(self, now: float, error: OSError) -> None:
        """End calls by their age alone; what they have brought is counted anew afterwards."""
        self._log_once(
            "The bytes of gRPC messages that are arriving cannot be counted (%s): until they can, those that take more "
            "than 10 seconds are ended",
            error,
        )
        self._counter.forget()
        for call, _since in self._slow(now - _UNCOUNTED_SECONDS):
            call.abort_arrival(_TOO_MUCH)

    def _log_once(self, text: str, error: Exception) -> None:
        if not self._logged:
            self._logged = True
            _log.warning(text, error)

    def _run(self) -> None:
        pause = _PAUSE_SECONDS
        while not self._stopped.wait(pause):
            began = time.monotonic()
            self.look_safely()
            pause = max(_PAUSE_SECONDS, (time.monotonic() - began) / _LOOKING_SHARE)


def connection_of(peer: str) -> str:
    """Return how a connection is called here, from what gRPC calls its client.

    >>> connection_of("ipv4:10.0.0.7:51324"), connection_of("ipv6:%5Bfd00::7%5D:51324")
    ('10.0.0.7:51324', '[fd00::7]:51324')
    """
    return unquote(peer).partition(":")[2]


def received_bytes(ports: Collection[int]) -> dict[str, int]:
    """Return how many bytes each of this process's connections to some ports has received.

    A UNIX socket has no such count, nor has a kernel that is no Linux; their connections are missing.

    Raises:
        OSError: no further file can be opened, so connections cannot be looked at.
    """
    return dict(_connections(ports))


def _connections(ports: Collection[int]) -> Iterator[tuple[str, int]]:
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except FileNotFoundError:  # no Linux
        return
    for path in descriptors:
        # Whoever owns a descriptor may close it at any moment.
        try:
            if str(path.readlink()).startswith("socket:") and (found := _received(path, ports)):
                yield found
        except OSError as error:
            if error.errno in _NO_MORE_FILES:
                raise


def _received(path: Path, ports: Collection[int]) -> tuple[str, int] | None:
    own = os.dup(int(path.name))
    try:
        connection = socket.socket(fileno=own)
    except OSError:
        os.close(own)
        raise
    with connection:
        if connection.family not in {socket.AF_INET, socket.AF_INET6}:
            return None
        if connection.getsockname()[1] not in ports:
            return None
        host, port = connection.getpeername()[:2]
        size = _BYTES_RECEIVED_AT + _BYTES_RECEIVED.size
        known = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    if len(known) < size:
        return None
    host = host.removeprefix(_MAPPED) if "." in host else host
    text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return text, _BYTES_RECEIVED.unpack_from(known, _BYTES_RECEIVED_AT)[0]
