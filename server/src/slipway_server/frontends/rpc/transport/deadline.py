"""Until when the client of a gRPC call waits."""

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import grpc

_NEVER_SECONDS: Final = 3.2e8
"""gRPC says "no deadline" with a time in the far future; ten years are as good, and safe to wait for."""


def deadline(context: "grpc.ServicerContext") -> float | None:
    """Return when the deadline of a call passes or has passed, in monotonic seconds; None when it has none."""
    left = context.time_remaining()
    if left is None or left > _NEVER_SECONDS:  # type: ignore[redundant-expr] # the stubs forget None
        return None
    return time.monotonic() + left
