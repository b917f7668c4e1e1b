"""What the gate says to another proxy on the way to a source, and what that one's answers mean."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from typing import Final

from slipway_sync.stores.egress.request_head import Asked
from slipway_sync.stores.egress.routes import Proxy

_HEAD_BYTES: Final = 64 << 10
_HEAD_SECONDS: Final = 30.0
_STATUS_LINE_BYTES: Final = len(b"HTTP/1.1 407")
_AUTHENTICATION_REQUIRED: Final = 407
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


def open_tunnel(proxy: socket.socket, asked: Asked, own: Proxy) -> bytes:
    """Have a proxy open a tunnel.

    Args:
        proxy: A connection to it.
        asked: What our client asked the gate for.
        own: What the proxy is, and the credentials for it.

    Returns:
        What comes out of the tunnel already.

    Raises:
        ProxyError: It does not.
    """
    host = (b"Host: " + asked.authority.encode("ascii"),)
    try:
        proxy.settimeout(_HEAD_SECONDS)
        proxy.sendall(replace(asked, headers=host).forwarded(own))
        head, rest = read_to_empty_line(proxy, b"")
        version, status, *_ = head.split(b"\r\n", 1)[0].split(b" ")
        number = int(status)
    except OSError as error:
        raise ProxyError(trouble(error, "the proxy")) from error
    except ValueError as error:
        raise ProxyError("the proxy does not answer like an HTTP proxy") from error
    if not version.startswith(b"HTTP/1."):
        raise ProxyError("the proxy does not answer like an HTTP proxy")
    if 200 <= number < 300:  # noqa: PLR2004 - HTTP
        return rest
    if number == _AUTHENTICATION_REQUIRED:
        raise ProxyError(WRONG_CREDENTIALS, denied=True)
    if number in _DENYING:
        raise ProxyError(f"the proxy denies access ({number})", denied=True)
    raise ProxyError(f"the proxy cannot reach it ({number})")


def asks_for_credentials(proxy: socket.socket) -> bool:
    """Wait for a proxy's answer to a plain request, and leave it there.

    A server's own answer is never this one.
    """
    with contextlib.suppress(OSError):
        start = proxy.recv(_STATUS_LINE_BYTES, socket.MSG_PEEK | socket.MSG_WAITALL)
        return start.endswith(b" %d" % _AUTHENTICATION_REQUIRED)
    return False


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
