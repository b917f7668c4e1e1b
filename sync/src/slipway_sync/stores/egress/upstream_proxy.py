"""What the egress proxy says to another proxy on the way to a source, and what that one's answers mean."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Final

from slipway_sync.stores.egress.request_head import ProxyRequest
from slipway_sync.stores.egress.routes import Proxy

_HEAD_BYTES: Final = 64 << 10
_HEAD_SECONDS: Final = 30.0
AUTHENTICATION_REQUIRED: Final = 407
_DENYING: Final = frozenset({401, 403, 405})
WRONG_CREDENTIALS: Final = (
    "the proxy requires credentials: put PROXY_USERNAME and PROXY_PASSWORD into the Secret"
)


class ProxyError(Exception):
    """A proxy opens no tunnel.

    Attributes:
        denied: Whether it does not want to; else it cannot. str() is the sentence.
    """

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message)
        self.denied = denied


def open_tunnel(proxy: socket.socket, asked: ProxyRequest, own: Proxy) -> None:
    """Have a proxy open a tunnel.

    Args:
        proxy: A connection to it.
        asked: What our client asked the egress proxy for.
        own: What the proxy is, and the credentials for it.

    Raises:
        ProxyError: It does not.
    """
    host = (b"Host: " + asked.authority.encode("ascii"),)
    try:
        proxy.settimeout(_HEAD_SECONDS)
        proxy.sendall(replace(asked, tunnel=True, method=b"CONNECT", headers=host).forwarded(own))
        head, rest = read_to_empty_line(proxy, b"")
        version, status, *_ = head.split(b"\r\n", 1)[0].split(b" ")
        number = int(status)
    except OSError as error:
        raise ProxyError(trouble(error, "the proxy")) from error
    except ValueError as error:
        raise ProxyError("the proxy does not answer like an HTTP proxy") from error
    opened = 200 <= number < 300  # noqa: PLR2004 - HTTP
    if not version.startswith(b"HTTP/1.") or (opened and rest):
        raise ProxyError("the proxy does not answer like an HTTP proxy")
    if opened:
        return
    if number == AUTHENTICATION_REQUIRED:
        raise ProxyError(WRONG_CREDENTIALS, denied=True)
    if number in _DENYING:
        raise ProxyError(f"the proxy denies access ({number})", denied=True)
    raise ProxyError(f"the proxy cannot reach it ({number})")


def read_to_empty_line(peer: socket.socket, start: bytes) -> tuple[bytes, bytes]:
    """Read the head of a message.

    Args:
        peer: Who sends it.
        start: What has arrived of it.

    Returns:
        The head without its empty line, and what came after it.

    Raises:
        ValueError: It is none, or too long.
    """
    head = start
    while (end := head.find(b"\r\n\r\n")) < 0:
        chunk = peer.recv(_HEAD_BYTES)
        if not chunk or len(head) > _HEAD_BYTES:
            raise ValueError("no head of a message")
        head += chunk
    return head[:end], head[end + 4 :]


def trouble(error: OSError, who: str = "it") -> str:
    """Return why a connection failed, as a sentence without its subject."""
    if isinstance(error, socket.gaierror):
        return (
            "its name cannot be resolved by DNS"
            if who == "it"
            else f"{who}'s name cannot be resolved by DNS"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"{who} refuses connections"
    if isinstance(error, TimeoutError):
        return f"{who} does not answer in time"
    return "the connection failed" if who == "it" else f"the connection to {who} failed"
