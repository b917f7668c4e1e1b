"""Calls from web pages of other origins: headers of every answer, and the browser's question before a call. Pure."""

import re
from typing import Final

from slipway_server.errors import invalid_argument
from slipway_server.frontends.http.messages import (
    Headers,
    HttpRequest,
    HttpResponse,
    error_response,
)

_ALLOWED: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
)
_TENSORFLOW_SERVING: Final = (*_ALLOWED, ("Access-Control-Allow-Headers", "Content-Type"))
_OPEN_INFERENCE: Final = (
    *_ALLOWED,
    (
        "Access-Control-Allow-Headers",
        "Content-Type, Content-Encoding, Inference-Header-Content-Length",
    ),
    # Without it a page cannot tell where the JSON of a binary answer ends.
    ("Access-Control-Expose-Headers", "Inference-Header-Content-Length"),
)
_WEB_ORIGIN: Final = re.compile(rb"https?://", re.IGNORECASE)


CORS_HEADERS: Final = (("/v2", _OPEN_INFERENCE), ("", _TENSORFLOW_SERVING))
"""How a target begins → what lets a page of any origin read the answer, whatever it is; the first that fits counts."""


def cors_headers(request: HttpRequest) -> Headers:
    """Return the headers of `CORS_HEADERS` for a request."""
    return next(of for start, of in CORS_HEADERS if request.target.startswith(start.encode()))


def preflight(request: HttpRequest) -> HttpResponse:
    """Answer OPTIONS: whether a page may call is in the headers."""
    if _WEB_ORIGIN.match(request.headers.get(b"origin", b"")):
        return HttpResponse(200)
    return error_response(invalid_argument(f"Malformed request: {request.method} {request.path}"))
