"""Which client connections are open, read from /proc/net.

grpcio has no API for the number of open connections. /proc/net lists the sockets of the process's network namespace.
"""

import socket
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC_NET: Final = Path("/proc/self/net")
_ESTABLISHED: Final = "01"
_LISTEN: Final = "0A"
_UNIX_LISTENS: Final = 0x10000
_UNIX_CONNECTED: Final = frozenset({"02", "03"})
"""02 (connecting) is a connection that the server has not accepted yet."""
_WORD: Final = 8
"""Hexadecimal digits of the 32-bit words in which an address is printed, each in the machine's byte order."""
_IPV4: Final = 8
_MAPPED: Final = "::ffff:"


@dataclass(frozen=True, slots=True)
class SocketListing:
    """The server's own sockets in one file of /proc/net.

    Attributes:
        listening: ports, or the path of a UNIX socket.
        peers: the client of each connection, e.g. `10.0.0.7:51324`, `[fd00::7]:51324`; "" over a UNIX socket.
    """

    listening: frozenset[int | str] = frozenset()
    peers: tuple[str, ...] = ()


def tcp_listing(text: str, ports: Collection[int]) -> SocketListing:
    """Parse /proc/net/tcp or tcp6, restricted to sockets of these local ports."""
    listening: set[int | str] = set()
    peers: list[str] = []
    for line in text.splitlines()[1:]:
        fields = line.split(None, 4)
        if len(fields) < 4 or fields[3] not in {_ESTABLISHED, _LISTEN}:  # noqa: PLR2004 - number, local, remote, state
            continue
        port = _port(fields[1])
        if port not in ports:
            continue
        if fields[3] == _LISTEN:
            listening.add(port)
        else:
            peers.append(_peer(fields[2]))
    return SocketListing(frozenset(listening), tuple(peers))


def unix_listing(text: str, path: str) -> SocketListing:
    """Parse /proc/net/unix; the server's end of a connection has the path of the listening socket."""
    listening: frozenset[int | str] = frozenset()
    peers: list[str] = []
    for line in text.splitlines()[1:]:
        match line.split(None, 7):
            case [_, _, _, flags, _, state, _, name] if name == path:
                if int(flags, 16) & _UNIX_LISTENS:
                    listening = frozenset({path})
                elif state in _UNIX_CONNECTED:
                    peers.append("")
    return SocketListing(listening, tuple(peers))


def client_peers(
    ports: Collection[int], socket_path: str = "", proc_net: Path = _PROC_NET
) -> tuple[str, ...] | None:
    """Return the client of each open connection; None if unknown.

    A listing that lacks the listening sockets of the server cannot be trusted to have its connections.
    """
    found: list[SocketListing] = []
    if ports:
        found += [
            tcp_listing(text, ports)
            for name in ("tcp", "tcp6")
            if (text := _read(proc_net / name)) is not None
        ]
    if socket_path and (text := _read(proc_net / "unix")) is not None:
        found.append(unix_listing(text, socket_path))
    wanted = {*ports, *filter(None, [socket_path])}
    if not wanted <= frozenset[int | str]().union(*(one.listening for one in found)):
        return None
    return tuple(peer for one in found for peer in one.peers)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return None


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _peer(address: str) -> str:
    """Return an address as in the access log, IPv4-mapped addresses as IPv4."""
    digits, _, _ = address.rpartition(":")
    packed = b"".join(
        int(digits[at : at + _WORD], 16).to_bytes(4, sys.byteorder)
        for at in range(0, len(digits), _WORD)
    )
    family = socket.AF_INET if len(digits) == _IPV4 else socket.AF_INET6
    host = socket.inet_ntop(family, packed)
    if host.startswith(_MAPPED) and "." in host:
        host = host.removeprefix(_MAPPED)
    return f"[{host}]:{_port(address)}" if ":" in host else f"{host}:{_port(address)}"
