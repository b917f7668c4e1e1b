"""The way out for a store's client: a proxy on loopback that looks at every address before it connects.

The object store library resolves names and follows redirects by itself, and offers no hook for either. So it is told
to use this proxy, which resolves each name once, judges all its addresses, and connects to the very address that it
judged: no redirect, no second answer of a DNS server and no other spelling gets past it.

The library also takes some answers whole into memory, and reserves what their head announces. So it speaks plain HTTP
to this proxy, which speaks TLS to the store where that is asked for, reads each head and holds its length to a limit
(ADR 13). Bodies that were not encrypted are moved by the kernel (`splice`), not by Python.

Where the way leads through another proxy, every host that is known here is judged all the same, and so is that proxy;
what a name means that is not known here is the proxy's word.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from typing import Final
from weakref import WeakValueDictionary

from slipway_sync.stores.addresses import (
    Address,
    AddressPolicy,
    first_refusal,
    refusal_unseen,
)
from slipway_sync.stores.egress.answers import PIPE_BYTES, widen
from slipway_sync.stores.egress.exchange import (
    AnswerMeter,
    Exchange,
    answer_with,
    read_request,
    shut,
)
from slipway_sync.stores.egress.request_head import ProxyRequest
from slipway_sync.stores.egress.routes import Proxy, Route
from slipway_sync.stores.egress.tls import tls_trouble, trust
from slipway_sync.stores.egress.token import ProxyToken
from slipway_sync.stores.egress.upstream_proxy import (
    ProxyError,
    open_tunnel,
    trouble,
)

Resolve = Callable[[str, int], Sequence[Address]]

_CONNECT_SECONDS: Final = 5.0
_HEAD_SECONDS: Final = 30.0
_BREATH: Final = 0.1
_PLAIN_PORT: Final = 80
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


class EgressProxy:
    """A proxy for the clients of this process.

    Args:
        resolve: From host and port to addresses.
    """

    def __init__(self, resolve: Resolve = resolved) -> None:
        self._resolve = resolve
        self._passes: WeakValueDictionary[str, ProxyToken] = WeakValueDictionary()
        self._redirected: WeakValueDictionary[str, ProxyToken] = WeakValueDictionary()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._thread = threading.Thread(target=self._accept, name="egress-proxy", daemon=True)
        self._thread.start()

    def issue_token(
        self,
        policy: AddressPolicy,
        route: Route | None = None,
        *,
        ca_bundle: bytes | None = None,
        tls_port: int | None = None,
        tunnels: Container[str] | None = None,
    ) -> ProxyToken:
        """Let a client through to what a policy does not refuse, for as long as the token is kept (see there)."""
        made = ProxyToken(
            policy,
            route or Route(),
            f"127.0.0.1:{self._listener.getsockname()[1]}",
            ca_bundle=ca_bundle,
            tls_port=tls_port,
            tunnels=tunnels,
        )
        self._passes[made.token] = made
        self._redirected[made.alias_suffix] = made
        return made

    def connect(self, owner: ProxyToken, host: str, port: int) -> socket.socket:
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
                asked, rest = read_request(client, b"")
                owner, asked = self._admitted(asked)
                if owner is None or (asked.tunnel and not owner.may_tunnel(asked.host)):
                    answer_with(client, 407)
                    return
                server, through = self._connect(owner, asked)
            except Refused:
                answer_with(client, 403)
                return
            except OSError:  # Before ValueError: a certificate that is not trusted is both.
                answer_with(client, 502)
                return
            except ValueError:
                answer_with(client, 400)
                return
            with server:
                self._relay(client, server, owner, asked, rest, through)

    def _admitted(self, asked: ProxyRequest) -> tuple[ProxyToken | None, ProxyRequest]:
        """Return whose request it is, and what it asks of whom in truth."""
        if (owner := self._passes.get(asked.token)) is not None:
            if owner.tls_port is None or asked.tunnel:
                return owner, asked
            port = owner.tls_port if asked.port == _PLAIN_PORT else asked.port
            return owner, replace(asked, port=port, tls=True)
        owner = self._redirected.get(asked.host.partition(".")[2])
        place = owner.aliased(asked.host) if owner is not None and not asked.tunnel else None
        return (None, asked) if place is None else (owner, asked.redirected_to(*place))

    def _relay(
        self,
        client: socket.socket,
        server: socket.socket,
        owner: ProxyToken,
        asked: ProxyRequest,
        rest: bytes,
        through: Proxy | None,
    ) -> None:
        client.settimeout(None)
        server.settimeout(None)
        if asked.tunnel:
            client.sendall(_TUNNEL)
            server.sendall(rest)
            answer = AnswerMeter(owner)
            back = threading.Thread(target=_move, args=(server, client, answer.came), daemon=True)
            back.start()
            _move(client, server, answer.asked)
        else:
            exchange = Exchange(client, server, owner, through, self._admitted)
            back = threading.Thread(target=exchange.bring_answers, daemon=True)
            back.start()
            exchange.forward(asked, rest)
        # The client has gone. A server that stays, and says nothing, would keep this connection for ever.
        shut(server)
        back.join()

    def _connect(
        self, owner: ProxyToken, asked: ProxyRequest
    ) -> tuple[socket.socket, Proxy | None]:
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
                server = _first_connected(addresses, asked.port)
            else:
                ways = self._judged(owner, through.host, through.port, f"the proxy {through.host}")
                server = _first_connected(ways, through.port)
        except OSError as error:
            owner.trouble = trouble(error, "it" if through is None else "the proxy")
            raise
        if through is not None and (asked.tunnel or asked.tls):
            _tunnel(owner, server, asked, through)
            through = None
        return (_secured(owner, server, asked.host) if asked.tls else server), through

    def _judged(self, owner: ProxyToken, host: str, port: int, name: str) -> Sequence[Address]:
        """Return the addresses of a host, all of which may be reached."""
        addresses = self._resolve(host, port)
        if (found := first_refusal(owner.policy, addresses)) is not None:
            address, kind = found
            owner.refusal = _refusal(name, str(address), kind)
            raise Refused(owner.refusal)
        return addresses


@cache
def shared() -> EgressProxy:
    """Return the egress proxy of this process; it lives as long as the process."""
    return EgressProxy()


def _refusal(host: str, address: str, kind: str) -> str:
    name = host if host.endswith(address) else f"{host} ({address})"
    return (
        f"{name} is {kind}, which is not allowed as a source; the cluster's administrator can allow it with the "
        "chart's value sources.allowedNetworks (flag --allow-network)"
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


def _tunnel(owner: ProxyToken, proxy: socket.socket, asked: ProxyRequest, through: Proxy) -> None:
    """Have a proxy open a tunnel.

    Raises:
        OSError: It does not.
    """
    try:
        open_tunnel(proxy, asked, through)
    except ProxyError as error:
        proxy.close()
        if error.denied:
            owner.denial = str(error)
        else:
            owner.trouble = str(error)
        raise OSError(str(error)) from error


def _secured(owner: ProxyToken, server: socket.socket, host: str) -> socket.socket:
    """Speak TLS on a connection.

    Raises:
        OSError: The server does not, or is not who it should be.
    """
    try:
        server.settimeout(_HEAD_SECONDS)
        # An end without TLS's own goodbye is an answer that was cut off, and not its end.
        return trust(owner.ca_bundle).wrap_socket(
            server, server_hostname=host.rstrip("."), suppress_ragged_eofs=False
        )
    except (OSError, ValueError) as error:
        server.close()
        failure = error if isinstance(error, OSError) else OSError(str(error))
        owner.trouble = tls_trouble(failure)
        raise failure from error


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
