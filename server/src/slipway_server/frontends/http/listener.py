"""Accepts connections of one listening socket and gives each a protocol, with TLS where there is a certificate.

asyncio's own `create_server` fixes the TLS context when it starts. Here each connection is shaken hands with the
context of its moment, so a new certificate is used without closing the port.
"""

import asyncio
import contextlib
import errno
import select
import socket
import ssl
from collections.abc import Callable
from typing import Final

from slipway_server.frontends.http.messages import failure

_BACKLOG: Final = 1024
_HANDSHAKE_SECONDS: Final = 10.0
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS: Final = 0.5

Context = Callable[[], ssl.SSLContext | None]


class Listener:
    """One port.

    Args:
        connection: makes the protocol of a new connection.
        has_room: whether one more connection is allowed; a client gets 503 where not (with TLS: is disconnected).
        context: the TLS context for the next connection, or None for plain HTTP.
    """

    def __init__(
        self,
        listening: socket.socket,
        connection: Callable[[], asyncio.Protocol],
        has_room: Callable[[], bool],
        context: Context,
    ) -> None:
        listening.setblocking(False)
        self._socket = listening
        self._connection = connection
        self._has_room = has_room
        self._context = context
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._socket.getsockname()[1])

    @property
    def handshaking(self) -> int:
        """How many connections are still shaking hands."""
        return len(self._handshakes)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to accept; called on the loop's thread or before it runs."""
        self._accepting = loop.create_task(self._accept(loop))

    def close(self) -> None:
        """Accept no more; called on the loop's thread."""
        if self._accepting is not None:
            self._accepting.cancel()
        for task in tuple(self._handshakes):
            task.cancel()
        self._socket.close()

    async def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                client, _address = await loop.sock_accept(self._socket)
            except OSError as error:
                # A client that has gone again is no fault of the port; without file descriptors, wait for some.
                if error.errno in _OUT_OF_RESOURCES:
                    await asyncio.sleep(_PAUSE_SECONDS)
                continue
            context = self._context()
            if not self._has_room():
                _reject(client, plain=context is None)
                continue
            task = loop.create_task(self._handshake(loop, client, context))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _handshake(
        self, loop: asyncio.AbstractEventLoop, client: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        try:
            if context is None:
                await loop.connect_accepted_socket(self._connection, client)
            else:
                await loop.connect_accepted_socket(
                    self._connection, client, ssl=context, ssl_handshake_timeout=_HANDSHAKE_SECONDS
                )
        except (
            OSError
        ):  # also ssl.SSLError and timeouts: a client that speaks no TLS, or has no certificate
            client.close()


def _reject(client: socket.socket, *, plain: bool) -> None:
    if plain:
        body = failure(503, "The server has reached its connection limit").body
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        with contextlib.suppress(OSError):
            client.send(head.encode() + body)
    client.close()


def has_unread(transport: asyncio.BaseTransport) -> bool:
    """Whether data, or the end of the stream, has arrived that the event loop has not delivered yet."""
    connected = transport.get_extra_info("socket")
    if connected is None:
        return False
    poll = select.poll()
    poll.register(connected.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def peer_address(peer: object) -> str:
    """Return a client's address for logs.

    >>> peer_address(("::1", 8501, 0, 0)), peer_address(("::ffff:127.0.0.1", 8501, 0, 0)), peer_address("")
    ('[::1]:8501', '127.0.0.1:8501', '')
    """
    match peer:
        case (str(host), int(port), *_):
            host = host.removeprefix("::ffff:")
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return ""


def listening_socket(port: int) -> socket.socket:
    """Return a socket that listens on all addresses: of both families where the machine has both, else of IPv4.

    Raises:
        OSError: the port cannot be listened on.
    """
    try:
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6,
            backlog=_BACKLOG,
            dualstack_ipv6=socket.has_dualstack_ipv6(),
        )
    except OSError as first:
        try:
            return socket.create_server(("", port), backlog=_BACKLOG)
        except OSError:
            raise OSError(
                f"Cannot listen on port {port} for HTTP: {first.strerror or first}"
            ) from first
