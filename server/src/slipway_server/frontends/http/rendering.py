"""An answer as the bytes that go out."""

from dataclasses import replace
from http import HTTPStatus
from typing import Final

from slipway_server.frontends.http.messages import Headers, HttpResponse

_MAX_REQUEST_ID: Final = 128
_REASONS: Final = {
    **{
        status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        for status in HTTPStatus
    },
    499: b"HTTP/1.1 499 Client Closed Request\r\n",
}


def rendered(response: HttpResponse, *, close: bool, head_only: bool) -> bytes:
    """Return head and body; `close` tells the client that the connection ends with it."""
    head = [
        _REASONS.get(response.status) or f"HTTP/1.1 {response.status} \r\n".encode(),
        b"Content-Type: ",
        response.content_type.encode("latin-1"),
        b"\r\nContent-Length: ",
        str(len(response.body)).encode(),
    ]
    for name, value in response.headers:
        head.append(f"\r\n{name}: {value}".encode("latin-1"))
    head.append(b"\r\nConnection: close\r\n\r\n" if close else b"\r\n\r\n")
    if not head_only:
        head.append(response.body)
    return b"".join(head)


def with_headers(response: HttpResponse, further: Headers) -> HttpResponse:
    """Return a response with further headers behind its own."""
    return replace(response, headers=(*response.headers, *further)) if further else response


def with_request_id(response: HttpResponse, request_id: bytes) -> HttpResponse:
    """Return a response that gives the client its X-Request-Id back, unless that is no short printable text."""
    text = request_id.decode("latin-1")
    if not (text.isascii() and text.isprintable() and len(text) <= _MAX_REQUEST_ID):
        return response
    return replace(response, headers=(*response.headers, ("X-Request-Id", text)))
