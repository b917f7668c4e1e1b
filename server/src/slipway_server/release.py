"""Which release this is."""

from importlib import metadata


def version() -> str:
    """Return the version of the installed package."""
    return metadata.version("slipway-server")
