"""The Open Inference Protocol's questions about the server itself, answered also before there are models.

Nothing here imports more than it must: the ports open with it.
"""

from collections.abc import Callable
from typing import Any, Final

import orjson

from slipway_server.frontends.http.messages import HttpResponse

SERVER_NAME: Final = "slipway-server"
EXTENSIONS: Final = ("binary_tensor_data",)
GRPC_SERVICE: Final = "/inference.GRPCInferenceService/"

TRUE: Final = b"\x08\x01"
"""A message whose first field is a boolean that is true; a false one is empty."""


def fixed_pages(version: str) -> dict[str, Callable[[], HttpResponse]]:
    """Return the pages of REST that always say the same, by path."""
    metadata = {"name": SERVER_NAME, "version": version, "extensions": EXTENSIONS}
    return {
        "/v2": lambda: HttpResponse(200, orjson.dumps(metadata)),
        "/v2/health/live": lambda: HttpResponse(200, orjson.dumps({"live": True})),
    }


def pages(ready: Callable[[], bool]) -> dict[str, Callable[[], HttpResponse]]:
    """Return the pages of REST that say how things stand, by path."""

    def health_ready() -> HttpResponse:
        now = ready()
        return HttpResponse(200 if now else 503, orjson.dumps({"ready": now}))

    return {"/v2/health/ready": health_ready}


def methods(ready: Callable[[], bool]) -> dict[str, Callable[[bytes, Any], bytes]]:
    """Return the gRPC methods ServerLive and ServerReady, by path."""
    return {
        GRPC_SERVICE + "ServerLive": lambda _request, _context: TRUE,
        GRPC_SERVICE + "ServerReady": lambda _request, _context: TRUE if ready() else b"",
    }
