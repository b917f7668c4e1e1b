"""What the command says of an export that cannot have checks, apart from all that is wrong with its arguments."""

from slipway_server.errors import ServingError


class RefusedError(ServingError):
    """The export cannot be loaded, or its answers cannot be written down."""
