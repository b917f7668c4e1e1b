"""The way out for a store's client: a proxy on loopback that looks at every address before it connects.

The object store library resolves names and follows redirects by itself, and offers no hook for either. So it is told
to use this proxy, which resolves each name once, judges all its addresses, and connects to the very address that it
judged: no redirect, no second answer of a DNS server and no other spelling gets past it. Bytes are moved by the
kernel (`splice`), not by Python.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import threading
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from slipway_sync.stores.addresses import Address, AddressPolicy, first_refusal

Resolve = Callable[[str, int], Sequence[Address]]

_HEAD_BYTES: Final = 64 << 10
_PIPE_BYTES: Final = 1 << 20
_CONNECT_SECONDS: Final = 5.0
_HEAD_SECONDS: Final = 30.0
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
    """

    def __init__(self, policy: AddressPolicy, address: str) -> None:
        self.policy = policy
        self.token = secrets.token_hex(16)
        self.url = f"http://slipway:{self.token}@{address}"
        self.refusal: str | None = None
        self.trouble: str | None = None


class Gate:
    """A proxy for the clients of this process.

    Args:
        resolve: From host and port to addresses.
    """

    def __init__(self, resolve: Resolve = resolved) -> None:
        self._resolve = resolve
        self._passes: WeakValueDictionary[str, Pass] = WeakValueDictionary()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._thread = threading.Thread(target=self._accept, name="gate", daemon=True)
        self._thread.start()

    def issue(self, policy: AddressPolicy) -> Pass:
        """Let a client through to what a policy does not refuse, for as long as the pass is kept."""
        made = Pass(policy, f"127.0.0.1:{self._listener.getsockname()[1]}")
        self._passes[made.token] = made
        return made

    def close(self) -> None:
        """Take no more connections; those that are open end with their clients."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                client.settimeout(_HEAD_SECONDS)
                asked, rest = _read_request(client, b"")
                owner = self._passes.get(asked.token)
                if owner is None:
                    _answer(client, 407)
                    return
                server = self._connect(owner, asked.host, asked.port)
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
                client.settimeout(None)
                server.settimeout(None)
                back = threading.Thread(target=_move, args=(server, client), daemon=True)
                if asked.tunnel:
                    client.sendall(_TUNNEL)
                    server.sendall(rest)
                    back.start()
                    _move(client, server)
                else:
                    back.start()
                    _forward(client, server, asked, rest)
                back.join()

    def _connect(self, owner: Pass, host: str, port: int) -> socket.socket:
        owner.refusal = owner.trouble = None
        try:
            addresses = self._resolve(host, port)
            if (found := first_refusal(owner.policy, addresses)) is not None:
                owner.refusal = _refusal(host, *found)
                raise Refused(owner.refusal)
            return _first_connected(addresses, port)
        except OSError as error:
            owner.trouble = _trouble(error)
            raise


@cache
def shared() -> Gate:
    """Return the gate of this process; it lives as long as the process."""
    return Gate()


def _refusal(host: str, address: Address, kind: str) -> str:
    name = host if host == str(address) else f"{host} ({address})"
    return (
        f"{name} is {kind}, which is no source; the cluster's administrator can allow it with the "
        "chart's value sources.allowedNetworks"
    )


def _trouble(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its name is not known to DNS"
    if isinstance(error, ConnectionRefusedError):
        return "it refuses connections"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return "the connection failed"


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


@dataclass(frozen=True, slots=True)
class Asked:
    """The head of a request to the proxy.

    Attributes:
        tunnel: Whether a tunnel is asked for (CONNECT), else this one request.
        token: Whose pass it shows, or "".
        forwarded: The head for the server, without what was meant for the proxy.
        body: Bytes that follow the head.
    """

    host: str
    port: int
    tunnel: bool
    token: str
    forwarded: bytes
    body: int


def read_head(head: bytes) -> Asked:
    r"""Read the head of a proxy request, up to and without its empty line.

    Raises:
        ValueError: It is no such request.

    >>> read_head(b"CONNECT s3.example:443 HTTP/1.1").port
    443
    >>> read_head(b"GET http://[::1]:9000/bucket HTTP/1.1").host
    '::1'
    """
    first, *headers = head.split(b"\r\n")
    method, where, version = first.decode("ascii").split(" ")
    tunnel = method == "CONNECT"
    parts = urlsplit(f"//{where}" if tunnel else where)
    if not version.startswith("HTTP/1.") or not parts.hostname:
        raise ValueError(where)
    if not tunnel and parts.scheme != "http":
        raise ValueError(where)
    token, body = "", 0
    kept = [first]
    for header in headers:
        name, _, value = header.partition(b":")
        match name.lower():
            case b"proxy-authorization":
                shown = b64decode(value.strip().removeprefix(b"Basic ").strip())
                token = shown.decode("ascii").partition(":")[2]
                continue
            case b"content-length":
                body = int(value)
            case b"transfer-encoding":
                raise ValueError("the clients of this proxy send bodies of a known length")
            case _:
                pass
        kept.append(header)
    port = parts.port or (443 if tunnel else 80)
    forwarded = b"\r\n".join(kept) + b"\r\n\r\n"
    return Asked(parts.hostname, port, tunnel, token, forwarded, body)


def _read_request(client: socket.socket, start: bytes) -> tuple[Asked, bytes]:
    """Read one head; `start` is what has arrived of it, and what comes after it is returned."""
    head = start
    while (end := head.find(b"\r\n\r\n")) < 0:
        chunk = client.recv(_HEAD_BYTES)
        if not chunk or len(head) > _HEAD_BYTES:
            raise ValueError("no head of a request")
        head += chunk
    return read_head(head[:end]), head[end + 4 :]


def _forward(client: socket.socket, server: socket.socket, asked: Asked, rest: bytes) -> None:
    """Pass plain requests on, one after the other: each to the host that was judged, none with the pass."""
    first = asked
    try:
        while (asked.host, asked.port, asked.tunnel) == (first.host, first.port, False):
            server.sendall(asked.forwarded)
            body, rest = rest[: asked.body], rest[asked.body :]
            server.sendall(body)
            left = asked.body - len(body)
            while left and (chunk := client.recv(min(left, _PIPE_BYTES))):
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


def _move(source: socket.socket, target: socket.socket) -> None:
    """Move bytes until the source ends, then say so to the target."""
    reader, writer = os.pipe()
    try:
        _widen(writer)
        while count := os.splice(source.fileno(), writer, _PIPE_BYTES):
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


def _widen(pipe: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
