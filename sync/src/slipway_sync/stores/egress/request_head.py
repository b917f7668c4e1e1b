"""Heads of HTTP/1.1 requests to a proxy: read, and written for the next hop. Pure."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from slipway_sync.stores.egress.routes import Proxy


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """The head of a request to the proxy.

    Attributes:
        tunnel: Whether a tunnel is asked for (CONNECT), else this one request.
        token: Whose token it shows, or "".
        method: As it came.
        target: What the server is asked for: path and query; of a tunnel nothing.
        netloc: Host and port as the client wrote them.
        ranged: Whether a part is asked for: the library takes such answers piece by piece.
        tls: Whether the server is spoken to by TLS.
        headers: As they came, without what was meant for the proxy.
        body: Bytes that follow the head.
    """

    host: str
    port: int
    tunnel: bool
    token: str
    method: bytes
    target: bytes
    headers: tuple[bytes, ...]
    body: int
    netloc: str = ""
    ranged: bool = False
    tls: bool = False

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port of the server."""
        return "https" if self.tls else "http", self.host, self.port

    @property
    def authority(self) -> str:
        """`HOST:PORT`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def redirected_to(self, host: str, port: int) -> ProxyRequest:
        """Return this request for another host, by TLS."""
        moved = replace(self, host=host, port=port, tls=True)
        name = moved.authority.removesuffix(":443").encode("ascii")
        others = (line for line in self.headers if not line.lower().startswith(b"host:"))
        return replace(moved, headers=(b"Host: " + name, *others))

    def forwarded(self, through: Proxy | None = None) -> bytes:
        """Return the head for the server, or for another proxy on the way to it."""
        target = self.target
        own: tuple[bytes, ...] = ()
        if through is not None:
            where = self.authority.encode("ascii")
            target = where if self.tunnel else b"http://" + where.removesuffix(b":80") + target
            own = _authorization(through)
        first = b" ".join((self.method, target, b"HTTP/1.1"))
        return b"\r\n".join((first, *self.headers, *own)) + b"\r\n\r\n"


def read_head(head: bytes) -> ProxyRequest:
    r"""Read the head of a proxy request, up to and without its empty line.

    Raises:
        ValueError: It is no such request.

    >>> read_head(b"CONNECT s3.example:443 HTTP/1.1").port
    443
    >>> read_head(b"GET http://[::1]:9000/bucket HTTP/1.1").host
    '::1'
    >>> read_head(b"GET http://s3.example?list-type=2 HTTP/1.1").forwarded()
    b'GET /?list-type=2 HTTP/1.1\r\n\r\n'
    """
    first, *headers = head.split(b"\r\n")
    method, where, version = first.decode("ascii").split(" ")
    tunnel = method == "CONNECT"
    parts = urlsplit(f"//{where}" if tunnel else where)
    if not version.startswith("HTTP/1.") or not parts.hostname:
        raise ValueError(where)
    if not tunnel and parts.scheme != "http":
        raise ValueError(where)
    token, body, ranged = "", 0, False
    kept = []
    for header in headers:
        name, _, value = header.partition(b":")
        match name.lower():
            case b"proxy-authorization":
                shown = b64decode(value.strip().removeprefix(b"Basic ").strip())
                token = shown.decode("ascii").partition(":")[2]
                continue
            case b"referer":
                continue  # After a redirect it is spelled for this proxy alone.
            case b"range":
                ranged = True
            case b"content-length":
                body = int(value)
            case b"transfer-encoding":
                raise ValueError("the clients of this proxy send bodies of a known length")
            case _:
                pass
        kept.append(header)
    return ProxyRequest(
        host=parts.hostname,
        port=parts.port or (443 if tunnel else 80),
        tunnel=tunnel,
        token=token,
        method=method.encode("ascii"),
        target=b"" if tunnel else _target(where),
        headers=tuple(kept),
        body=body,
        netloc=parts.netloc,
        ranged=ranged,
    )


def _target(url: str) -> bytes:
    """Return path and query of a URL just as they stand there: signatures are made over them."""
    _, _, rest = url.partition("//")
    ends = [at for mark in "/?#" if (at := rest.find(mark)) >= 0]
    target = rest[min(ends) :] if ends else ""
    return (target if target.startswith("/") else f"/{target}").encode("ascii")


def _authorization(proxy: Proxy) -> tuple[bytes, ...]:
    if not proxy.username:
        return ()
    pair = f"{proxy.username}:{proxy.password}".encode()
    return (b"Proxy-Authorization: Basic " + b64encode(pair),)
