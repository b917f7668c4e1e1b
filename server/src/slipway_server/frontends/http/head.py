"""What is wrong with a request's head although each of its lines can be parsed. Pure; RFC 9112, §2.3, §3.2 and §6.1."""

from collections.abc import Collection, Mapping
from typing import Final

from slipway_server.frontends.http.messages import HttpResponse, failure

ONCE: Final = frozenset({b"host", b"transfer-encoding"})
"""Headers of which two would let two servers on the way see different requests."""

_VERSIONS: Final = frozenset({"1.0", "1.1"})


def head_fault(
    version: str, headers: Mapping[bytes, bytes], repeated: Collection[bytes]
) -> HttpResponse | None:
    """Return the refusal of a head, or None.

    Args:
        version: of HTTP, such as `1.1`.
        headers: by lower-case name.
        repeated: names in `ONCE` that came more than once.
    """
    if version not in _VERSIONS:
        return _bad(f"HTTP/{version} is not supported; use HTTP/1.1")
    if b"host" in repeated:
        return _bad("The request has more than one Host header")
    host = headers.get(b"host")
    if host is None and version == "1.1":
        return _bad("The request has no Host header, which HTTP/1.1 requires")
    if host is not None and (b"," in host or b" " in host):
        return _bad("The Host header does not name one host")
    coding = headers.get(b"transfer-encoding")
    if coding is None:
        return None
    if version != "1.1":
        return _bad(f"HTTP/{version} has no Transfer-Encoding")
    if b"transfer-encoding" in repeated or coding.strip().lower() != b"chunked":
        return failure(
            501,
            "The only supported Transfer-Encoding is chunked; send compressed bodies with Content-Encoding: gzip",
            close=True,
        )
    return None


def _bad(message: str) -> HttpResponse:
    return failure(400, f"Malformed HTTP request: {message}", close=True)
