"""Ranges of objects straight into files: a signed URL, a judged connection, and the kernel moves the bytes.

The library's way takes every byte through the egress proxy, the library and Python: three copies more than are needed.
Here the library only signs; the URL is asked over a connection that is judged as the egress proxy judges, and the body
goes from the socket to the file by `splice`. That is for plain HTTP: what is encrypted has to pass a library anyway,
and Python's is slower than the other one. This way explains nothing: any answer but the expected one, and any trouble
on the line, ends it, and the caller goes on in the library's way, which knows retries, redirects and sentences.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final
from urllib.parse import urlsplit

from slipway_sync.exports import ObjectInfo
from slipway_sync.stores.base import Patience, Sink
from slipway_sync.stores.egress.answers import PIPE_BYTES, widen
from slipway_sync.stores.egress.proxy import Refused

_HEAD_BUFFER: Final = 64 << 10
_PORT: Final = 80
_PARTIAL_CONTENT: Final = 206
_FAILURES: Final = 3
"""So many in a row, and the way is given up."""

Sign = Callable[[str], str]
"""From a key to a URL that may be read for some minutes."""

Connect = Callable[[str, int], socket.socket]
"""From host and port to a connection; raises Refused or OSError."""


class ZeroCopy:
    """The direct way to the objects of one client.

    Args:
        sign: Signs a URL; may raise what the library raises.
        connect: Connects to a host and port that may be reached.
        patience: How long to wait.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self,
        sign: Sign,
        connect: Connect,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sign = sign
        self.patience = patience
        self.clock = clock
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        # It lives as long as its store, which nobody closes.
        weakref.finalize(self, _close_all, self._idle)
        self._failures = 0

    @property
    def open(self) -> bool:
        """Whether it is worth a try."""
        return self._failures < _FAILURES

    def connection(self, url: str) -> _Connection:
        """Take an idle connection to a URL's host, or make one.

        Raises:
            Refused: The host may not be reached.
            OSError: It cannot be.
        """
        parts = urlsplit(url)
        if parts.scheme != "http":
            raise Refused(f"{parts.scheme} is not for this way")
        place = (parts.hostname or "", parts.port or _PORT)
        with self._lock:
            for number, idle in enumerate(self._idle):
                if idle.place == place:
                    return self._idle.pop(number)
        made = self._connect(*place)
        # No timeout of Python's, which makes a socket non-blocking: `splice` has to wait by itself.
        made.settimeout(None)
        seconds, rest = divmod(self.patience.stall, 1)
        limit = struct.pack("ll", int(seconds), int(rest * 1e6))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        return _Connection(place, made)

    def done(self, connection: _Connection) -> None:
        """Keep a connection whose answer was read to its end."""
        with self._lock:
            self._failures = 0
            self._idle.append(connection)

    def failed(self, *, for_good: bool) -> None:
        """Note that it did not work."""
        with self._lock:
            self._failures = _FAILURES if for_good else self._failures + 1

    def close(self) -> None:
        """Let go of idle connections."""
        with self._lock:
            _close_all(self._idle)


class RangeTransfer:
    """One range on its way into a file.

    Attributes:
        position: Where the next byte goes; all before it are in the file.
    """

    def __init__(
        self, egress: ZeroCopy, key: str, item: ObjectInfo, sink: Sink, *, start: int, length: int
    ) -> None:
        self.position = start
        self._egress = egress
        self._key = key
        self._item = item
        self._sink = sink
        self._start = start
        self._end = start + length
        self._deadline = egress.clock() + egress.patience.request
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cancelled = False

    def run(self) -> None:
        """Bring as much as comes without trouble; `position` says how much that was. Blocks."""
        # Python reads a head to its end, however slowly it comes.
        limit = threading.Timer(self._egress.patience.request, self.cancel)
        limit.daemon = True
        limit.start()
        try:
            connection = self._asked()
        except (OSError, HTTPException, Refused, ValueError):
            self._egress.failed(for_good=False)
            return
        finally:
            limit.cancel()
        if connection is None:
            return
        try:
            self._body(connection)
        except (OSError, HTTPException, ValueError):
            pass  # The line broke, was silent for too long, or was cut by `cancel`.
        finally:
            if self.position == self._end and not connection.ends:
                connection.finish()
                self._egress.done(connection)
            else:
                connection.close()
                if self.position == self._start:
                    self._egress.failed(for_good=False)
            with self._lock:
                self._socket = None

    def cancel(self) -> None:
        """Let `run` return soon; to be called from another thread."""
        with self._lock:
            self._cancelled = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _asked(self) -> _Connection | None:
        """Return a connection whose next bytes are the range, or None."""
        try:
            url = self._egress.sign(self._key)
        except Exception:  # noqa: BLE001 - whatever the library raises, its own way says it better
            self._egress.failed(for_good=True)
            return None
        while True:
            connection = self._egress.connection(url)
            used = connection.used
            try:
                self._watch(connection)
                right = connection.ask(url, self._item, self.position, self._end)
            except (OSError, HTTPException):
                connection.close()
                if used and not self._cancelled:
                    continue  # The server had closed an idle one.
                raise
            except BaseException:
                connection.close()
                raise
            if right:
                return connection
            connection.close()
            self._egress.failed(for_good=connection.status < 500)  # noqa: PLR2004 - HTTP
            return None

    def _watch(self, connection: _Connection) -> None:
        with self._lock:
            self._socket = connection.socket
            if self._cancelled:
                raise OSError("cancelled")

    def _body(self, connection: _Connection) -> None:
        end = min(self._end, self.position + connection.length)
        # What came together with the head lies in the response's buffer.
        first = connection.rest(min(_HEAD_BUFFER, end - self.position))
        self._sink.write(memoryview(first), self.position)
        self.position += len(first)
        if first:
            self._splice(connection.socket, end)

    def _splice(self, source: socket.socket, end: int) -> None:
        reader, writer = os.pipe()
        try:
            widen(writer)
            while self.position < end and self._in_time():
                count = os.splice(source.fileno(), writer, min(PIPE_BYTES, end - self.position))
                if not count:
                    return
                while count:
                    taken = self._sink.take(reader, count, self.position)
                    count -= taken
                    self.position += taken
        finally:
            os.close(reader)
            os.close(writer)

    def _in_time(self) -> bool:
        return not self._cancelled and self._egress.clock() < self._deadline


class _Connection:
    """An HTTP connection, used for one request after the other."""

    def __init__(self, place: tuple[str, int], made: socket.socket) -> None:
        self.place = place
        self.socket = made
        self.used = False
        self.status = 0
        self.length = 0
        self._http = HTTPConnection(*place)
        self._http.sock = made
        self._response: HTTPResponse | None = None

    @property
    def ends(self) -> bool:
        """Whether the server closes it after this answer."""
        return self._response is None or self._response.will_close

    def ask(self, url: str, item: ObjectInfo, start: int, end: int) -> bool:
        """Ask for bytes of an object; return whether these come, of the listed object and no others.

        Fewer may come than were asked for: `length` says how many.
        """
        parts = urlsplit(url)
        self.used = True
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._http.putrequest("GET", target, skip_host=True)
        self._http.putheader("Host", parts.netloc)
        self._http.putheader("Range", f"bytes={start}-{end - 1}")
        if item.etag:
            self._http.putheader("If-Match", f'"{item.etag}"')
        self._http.endheaders()
        response = self._response = self._http.getresponse()
        self.status = response.status
        self.length = response.length or 0
        etag = (response.getheader("ETag") or "").removeprefix("W/").strip('"')
        return (
            response.status == _PARTIAL_CONTENT
            and response.getheader("Content-Range") == f"bytes {start}-{end - 1}/{item.size}"
            # In chunks, its length is not known.
            and 0 < self.length <= end - start
            and response.getheader("Content-Encoding") is None
            and etag == item.etag
        )

    def rest(self, count: int) -> bytes:
        """Return what the response has buffered, or what comes next."""
        return self._response.read1(count) if self._response is not None else b""

    def finish(self) -> None:
        """Forget an answer whose body was read."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            if self._response is not None:
                self._response.close()
            self._http.close()
            self.socket.close()


def _close_all(connections: list[_Connection]) -> None:
    while connections:
        connections.pop().close()
