"""What has become of the routes of a Model when they were written."""

from dataclasses import dataclass

from slipway_operator.model.actions import Apply, Delete


@dataclass(frozen=True, slots=True)
class RefusedRoute:
    """What the API server, or an admission policy or webhook of it, refused.

    Attributes:
        action: What was asked for: a no is about this very manifest.
        message: The API server's message.
        retry: It is time to ask again.
    """

    action: Apply | Delete
    message: str
    retry: bool = False
