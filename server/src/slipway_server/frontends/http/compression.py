"""Answers in gzip, for clients that ask for it."""

import gzip
import re
from dataclasses import replace
from typing import Final

from slipway_server.frontends.http.messages import HttpRequest, HttpResponse

_COMPRESSED: Final = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
_LEAST_COMPRESSED: Final = 1024
"""Bytes; what fits into one packet anyway is not worth the time."""
_GZIP_LEVEL: Final = 1


def compressed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return an answer in a form that its request accepts."""
    body = response.body
    if len(body) < _LEAST_COMPRESSED or not accepts_gzip(
        request.headers.get(b"accept-encoding", b"")
    ):
        return response
    return replace(
        response,
        body=gzip.compress(body, _GZIP_LEVEL, mtime=0),
        headers=(*response.headers, *_COMPRESSED),
    )


def accepts_gzip(header: bytes) -> bool:
    """Whether an Accept-Encoding header asks for gzip.

    >>> [accepts_gzip(text) for text in (b"gzip, deflate", b"br;q=1.0, GZIP;q=0.5", b"gzip;q=0", b"identity", b"")]
    [True, True, False, False, False]
    """
    for part in header.lower().split(b","):
        coding, _, weight = part.partition(b";")
        if coding.strip() in {b"gzip", b"x-gzip"}:
            return not re.fullmatch(rb"\s*q\s*=\s*0(\.0*)?\s*", weight)
    return False
