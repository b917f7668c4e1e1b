"""Heads of HTTP/1.1 answers from a store: read, and written anew for the client. Pure.

A head is written from what was understood, never passed on as it came: a client that read the same bytes in another
way would be free of every limit that was held against them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\0]*)?")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\0]*?)[ \t]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"trailer", b"upgrade"}
)
"""Headers of one connection, not of the answer."""
_BODILESS: Final = frozenset({204, 304})
_LOCATION: Final = re.compile(
    r"(https?)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?"
    r"([/?][^#]*)?(?:#.*)?"
)
_SAFE: Final = "-._~:/?[]@!$&'()*+,;=%"
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Location:
    """Where a redirect leads.

    Attributes:
        host: Without the brackets of an IPv6 address.
        target: Path and query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """`HOST[:PORT]`, as a URL of the scheme has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of an answer.

    Attributes:
        headers: Names in lower case, with their values; none that is about framing or redirection.
        length: Bytes of the body that it announces; None when the body tells its end itself.
        bodiless: Whether no body follows, whatever it announces.
        chunked: Whether the body comes in chunks.
        closes: Whether the connection ends with this answer.
        location: Where it redirects to, as it stands there; None when it does not.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    length: int | None
    bodiless: bool
    chunked: bool
    closes: bool
    location: str | None

    def written(self, location: str | None = None) -> bytes:
        """Return the head for the client, with the place that a redirect is to lead to.

        A body that announces no length is to follow in chunks.
        """
        lines = [b"HTTP/1.1 %d -" % self.status, *(b"%b: %b" % header for header in self.headers)]
        if location is not None:
            lines.append(b"location: " + location.encode("ascii"))
        if self.length is None and not self.bodiless:
            lines.append(b"transfer-encoding: chunked")
        elif self.length is not None and self.status not in _BODILESS:
            lines.append(b"content-length: %d" % self.length)
        if self.closes:
            lines.append(b"connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n"


def read_response_head(lines: Sequence[bytes], method: bytes) -> ResponseHead:
    r"""Read the head of an answer to a request of some method.

    Raises:
        ValueError: It is none, or what clients could understand in several ways.

    >>> read_response_head([b"HTTP/1.1 200 OK", b"Content-Length: 5"], b"GET").length
    5
    """
    first = _STATUS_LINE.fullmatch(lines[0])
    if first is None:
        raise ValueError("no status line")
    old, status = first[1] == b"0", int(first[2])
    headers: list[tuple[bytes, bytes]] = []
    lengths: set[bytes] = set()
    codings: list[bytes] = []
    connection = b""
    location: str | None = None
    for line in lines[1:]:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ValueError("no header")
        name, value = match[1].lower(), match[2]
        if name == b"content-length":
            lengths.add(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
        elif name == b"location":
            location = value.decode("ascii") if location is None else location
        elif name in _CONNECTION:
            connection += b"," + value.lower() if name == b"connection" else b""
        else:
            headers.append((name, value))
    if len(lengths) > 1 or any(_LENGTH.fullmatch(length) is None for length in lengths):
        raise ValueError("no length")
    if codings and (codings != [b"chunked"] or old):
        raise ValueError("no coding that is known here")
    bodiless = method == b"HEAD" or status in _BODILESS
    length = None if codings or not lengths else int(lengths.pop())
    options = {option.strip() for option in connection.split(b",")}
    return ResponseHead(
        status=status,
        headers=tuple(headers),
        length=length,
        bodiless=bodiless,
        chunked=bool(codings),
        closes=b"close" in options
        or (old and b"keep-alive" not in options)
        or (length is None and not codings and not bodiless),
        location=location if 300 <= status < 400 else None,  # noqa: PLR2004 - HTTP
    )


def read_location(base: str, text: str) -> Location:
    """Return where a redirect of a URL leads.

    Raises:
        ValueError: It is no http(s) URL of a plain spelling: clients do not agree about others.

    >>> read_location("https://host:9000/a/b", "../c?d").authority
    'host:9000'
    """
    match = _LOCATION.fullmatch(urljoin(base, text))
    if match is None:
        raise ValueError("no plain URL")
    scheme, host, port, target = match.groups()
    target = target or "/"
    return Location(
        scheme,
        host.strip("[]").lower(),
        int(port) if port else _PORTS[scheme],
        quote(target if target.startswith("/") else f"/{target}", safe=_SAFE),
    )
