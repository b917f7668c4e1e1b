"""The loader as the server makes it, for tests that load exports in their own process."""

from typing import Any

from slipway_server.servables.loader import ServableLoader
from slipway_server.servables.registry import FormatSettings, registered_formats


def servable_loader(**settings: Any) -> ServableLoader:
    """Return a loader; `settings` are fields of `FormatSettings`."""
    return ServableLoader(registered_formats(FormatSettings(**settings)))
