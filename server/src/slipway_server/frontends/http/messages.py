"""A parsed HTTP request, the response to it, and errors as responses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import orjson

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.http.budget import BodyBudget

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"

Headers = tuple[tuple[str, str], ...]

HTTP_STATUS: Final[dict[Code, int]] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


@dataclass(slots=True)
class HttpRequest:
    """One HTTP request.

    Attributes:
        target: path and query as sent.
        headers: lower-case names; of a repeated header the last one.
        keep_alive: whether the client wants to go on using the connection.
        deadline: when the client gets 504, in seconds on `time.monotonic`; None means never.
        peer: the client's address and port.
        counted: bytes of the body that are counted in the budget of all bodies.
        working: whether a worker has the request, which keeps the body even when the client has been answered.
    """

    method: str = ""
    target: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True
    deadline: float | None = None
    peer: str = ""
    counted: int = 0
    budget: BodyBudget | None = None
    working: bool = False

    def release(self) -> None:
        """Count the body no longer; on the loop's thread."""
        if self.budget is not None:
            self.budget.released(self.counted)
            self.budget = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition(b"?")[0].decode("latin-1")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One HTTP response.

    Attributes:
        close: end the connection after it.
    """

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Headers = ()
    close: bool = False


HttpHandler = Callable[[HttpRequest], HttpResponse]


def error_response(
    error: ServingError, *, close: bool = False, headers: Headers = ()
) -> HttpResponse:
    """Return the answer that tells a client about an error."""
    return failure(HTTP_STATUS[error.code], error.message, close=close, headers=headers)


def failure(
    status: int, message: str, *, close: bool = False, headers: Headers = ()
) -> HttpResponse:
    """Return an error with TensorFlow Serving's one body form."""
    safe = message.encode("utf-8", "replace").decode()
    return HttpResponse(status, orjson.dumps({"error": safe}), headers=headers, close=close)
