"""The way out for a store's client: a proxy on loopback that looks at every address before it connects.

The object store library resolves names and follows redirects by itself, and offers no hook for either. So it is told
to use this proxy, which resolves each name once, judges all its addresses, and connects to the very address that it
judged: no redirect, no second answer of a DNS server and no other spelling gets past it. Bytes are moved by the
kernel (`splice`), not by Python.

Where the way leads through another proxy, every host that is known here is judged all the same, and so is that proxy;
what a name means that is not known here is the proxy's word.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from ipaddress import ip_address
from typing import Final
from weakref import WeakValueDictionary

from slipway_sync.stores.addresses import (
    Address,
    AddressPolicy,
    first_refusal,
    refusal_unseen,
)
from slipway_sync.stores.egress.request_head import Asked, read_head
from slipway_sync.stores.egress.routes import Proxy, Route
from slipway_sync.stores.egress.upstream_proxy import (
    WRONG_CREDENTIALS,
    ProxyError,
    asks_for_credentials,
    open_tunnel,
    read_to_empty_line,
    trouble,
)

Resolve = Callable[[str, int], Sequence[Address]]

PIPE_BYTES: Final = 1 << 20
ANSWER_BYTES: Final = 64 << 20
"""Of one answer: twice the longest that anybody asks for, but for whole files."""
_REQUEST_BYTES: Final = 64
"""No request is as short; what TLS says by itself is."""
_CONNECT_SECONDS: Final = 5.0
_HEAD_SECONDS: Final = 30.0
_BREATH: Final = 0.1
_TUNNEL: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


def resolved(host: str, port: int) -> Sequence[Address]:
    """Ask the system for a name's addresses, as `getaddrinfo` spells them out.

    Raises:
        OSError: It has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class Refused(Exception):  # noqa: N818 - what happened, in one word
    """A host may not be reached; str() is the sentence."""


class Pass:
    """One client's right to use the gate, and what its last attempt to connect met.

    Attributes:
        url: What the client's `proxy_url` has to be; nobody else knows it.
        refusal: Why the address may not be reached, as a sentence without its subject; or None.
        trouble: Why it could not be reached, likewise.
        denial: Why a proxy on the way does not let it through, likewise.
        most: Bytes that one answer may have; None sets no limit.
        received: Bytes of all answers together.
    """

    def __init__(self, policy: AddressPolicy, route: Route, address: str) -> None:
        self.policy = policy
        self.route = route
        self.most: int | None = ANSWER_BYTES
        self.received = 0
        self.token = secrets.token_hex(16)
        self.url = f"http://slipway:{self.token}@{address}"
        self.refusal: str | None = None
        self.trouble: str | None = None
        self.denial: str | None = None


class _Answer:
    """What has come of the answer that is under way on one connection.

    The library takes a listing's page, or a refusal, into memory before it looks at it.
    """

    def __init__(self, owner: Pass) -> None:
        self._owner = owner
        self._bytes = 0

    def asked(self, count: int) -> None:
        """Note that bytes of a request went out."""
        if count > _REQUEST_BYTES:
            self._bytes = 0

    def came(self, count: int) -> None:
        """Note that bytes came.

        Raises:
            OSError: They are too many.
        """
        self._bytes += count
        self._owner.received += count
        if self._owner.most is not None and self._bytes > self._owner.most:
            self._owner.trouble = "its answer does not end"
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))


class Gate:
    """A proxy for the clients of this process.

    Args:
        resolve: From host and port to addresses.
    """

    def __init__(self, resolve: Resolve = resolved) -> None:
        self._resolve = resolve
        self._passes: WeakValueDictionary[str, Pass] = WeakValueDictionary()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._thread = threading.Thread(target=self._accept, name="gate", daemon=True)
        self._thread.start()

    def issue(self, policy: AddressPolicy, route: Route | None = None) -> Pass:
        """Let a client through to what a policy does not refuse, for as long as the pass is kept."""
        made = Pass(policy, route or Route(), f"127.0.0.1:{self._listener.getsockname()[1]}")
        self._passes[made.token] = made
        return made

    def connect(self, owner: Pass, host: str, port: int) -> socket.socket:
        """Connect to an address that was judged, for who needs no proxy between.

        Raises:
            Refused: The host may not be reached.
            OSError: It cannot be.
        """
        return _first_connected(self._judged(owner, host, port, host), port)

    def close(self) -> None:
        """Take no more connections; those that are open end with their clients."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                if self._closed.is_set():
                    return
                self._closed.wait(_BREATH)  # Too many files are open: some will be closed.
                continue
            try:
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()
            except RuntimeError:
                client.close()  # Too many threads run: the client tries again.

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                client.settimeout(_HEAD_SECONDS)
                asked, rest = _read_request(client, b"")
                owner = self._passes.get(asked.token)
                if owner is None:
                    _answer(client, 407)
                    return
                server, through = self._connect(owner, asked)
            except Refused:
                _answer(client, 403)
                return
            except ValueError:
                _answer(client, 400)
                return
            except OSError:
                _answer(client, 502)
                return
            with server:
                self._relay(client, server, owner, asked, rest, through)

    def _relay(
        self,
        client: socket.socket,
        server: socket.socket,
        owner: Pass,
        asked: Asked,
        rest: bytes,
        through: Proxy | None,
    ) -> None:
        answer = _Answer(owner)
        if asked.tunnel:
            try:
                early = open_tunnel(server, asked, through) if through is not None else b""
            except ProxyError as error:
                if error.denied:
                    owner.denial = str(error)
                else:
                    owner.trouble = str(error)
                _answer(client, 502)
                return
            client.settimeout(None)
            server.settimeout(None)
            client.sendall(_TUNNEL + early)
            server.sendall(rest)
            back = threading.Thread(target=_move, args=(server, client, answer.came), daemon=True)
            back.start()
            _move(client, server, answer.asked)
        else:
            client.settimeout(None)
            server.settimeout(None)
            answers = _move if through is None else partial(_move_from_proxy, owner)
            back = threading.Thread(target=answers, args=(server, client, answer.came), daemon=True)
            back.start()
            _forward(client, server, asked, rest, through, answer.asked)
        # The client has gone. A server that stays, and says nothing, would keep this connection for ever.
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        back.join()

    def _connect(self, owner: Pass, asked: Asked) -> tuple[socket.socket, Proxy | None]:
        """Connect to the host or, where the way leads through one, to the proxy."""
        owner.refusal = owner.trouble = owner.denial = None
        through = owner.route.proxy
        exceptions = owner.route.exceptions
        if through is not None and exceptions.hold_name(asked.host):
            through = None
        addresses: Sequence[Address] = ()
        try:
            addresses = self._judged(owner, asked.host, asked.port, asked.host)
        except OSError as error:
            if through is None:
                owner.trouble = trouble(error)
                raise
            if (kind := refusal_unseen(asked.host)) is not None:
                owner.refusal = _refusal(asked.host, asked.host, kind)
                raise Refused(owner.refusal) from error
        if through is not None and exceptions.hold_all(addresses):
            through = None
        try:
            if through is None:
                return _first_connected(addresses, asked.port), None
            ways = self._judged(owner, through.host, through.port, f"the proxy {through.host}")
            return _first_connected(ways, through.port), through
        except OSError as error:
            owner.trouble = trouble(error, "it" if through is None else "the proxy")
            raise

    def _judged(self, owner: Pass, host: str, port: int, name: str) -> Sequence[Address]:
        """Return the addresses of a host, all of which may be reached."""
        addresses = self._resolve(host, port)
        if (found := first_refusal(owner.policy, addresses)) is not None:
            address, kind = found
            owner.refusal = _refusal(name, str(address), kind)
            raise Refused(owner.refusal)
        return addresses


@cache
def shared() -> Gate:
    """Return the gate of this process; it lives as long as the process."""
    return Gate()


def _refusal(host: str, address: str, kind: str) -> str:
    name = host if host.endswith(address) else f"{host} ({address})"
    return (
        f"{name} is {kind}, which is not allowed as a source; the cluster's administrator can allow it with the "
        "chart's value sources.allowedNetworks"
    )


def _first_connected(addresses: Sequence[Address], port: int) -> socket.socket:
    last: OSError = OSError("no address")
    for address in addresses:
        try:
            server = socket.create_connection((str(address), port), timeout=_CONNECT_SECONDS)
        except OSError as error:
            last = error
            continue
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server
    raise last


def _read_request(client: socket.socket, start: bytes) -> tuple[Asked, bytes]:
    """Read one head; `start` is what has arrived of it, and what comes after it is returned."""
    head, rest = read_to_empty_line(client, start)
    return read_head(head), rest


def _forward(
    client: socket.socket,
    server: socket.socket,
    asked: Asked,
    rest: bytes,
    through: Proxy | None,
    sent: Callable[[int], object],
) -> None:
    """Pass plain requests on, one after the other: each to the host that was judged, none with the pass."""
    first = asked
    try:
        while (asked.host, asked.port, asked.tunnel) == (first.host, first.port, False):
            sent(PIPE_BYTES)
            server.sendall(asked.forwarded(through))
            body, rest = rest[: asked.body], rest[asked.body :]
            server.sendall(body)
            left = asked.body - len(body)
            while left and (chunk := client.recv(min(left, PIPE_BYTES))):
                server.sendall(chunk)
                left -= len(chunk)
            asked, rest = _read_request(client, rest)
    except (OSError, ValueError):
        pass  # The client has gone, or sends what no client of ours does.
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)


def _answer(client: socket.socket, status: int) -> None:
    with contextlib.suppress(OSError):
        client.sendall(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)


def _move_from_proxy(
    owner: Pass, proxy: socket.socket, client: socket.socket, moved: Callable[[int], object]
) -> None:
    if asks_for_credentials(proxy):
        owner.denial = WRONG_CREDENTIALS
    _move(proxy, client, moved)


def _move(source: socket.socket, target: socket.socket, moved: Callable[[int], object]) -> None:
    """Move bytes until the source ends or `moved` raises OSError, then say so to the target."""
    reader, writer = os.pipe()
    try:
        widen(writer)
        while count := os.splice(source.fileno(), writer, PIPE_BYTES):
            moved(count)
            while count:
                count -= os.splice(reader, target.fileno(), count)
    except OSError:
        with contextlib.suppress(OSError):
            source.shutdown(socket.SHUT_RDWR)
    finally:
        os.close(reader)
        os.close(writer)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def widen(pipe: int) -> None:
    """Let a pipe hold PIPE_BYTES, where the system allows it."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
