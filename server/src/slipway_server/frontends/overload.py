"""What a caller hears when the server has more requests than it may hold. Alike over gRPC and REST."""

from slipway_server.errors import Code, ServingError


def overloaded(limit: int) -> ServingError:
    """Return the refusal: UNAVAILABLE, because another replica may have room and clients retry that code there."""
    return ServingError(
        Code.UNAVAILABLE,
        f"The server is overloaded: {limit} requests are in flight, and --max_inflight_requests allows no more",
    )
