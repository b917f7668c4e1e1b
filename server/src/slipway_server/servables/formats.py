"""What a format of servables is: it says whether a version's directory is of its kind, and loads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway_server.servables.servable import ServedModel


@dataclass(frozen=True, slots=True)
class ServableFormat:
    """One format.

    Attributes:
        matches: whether a version's directory holds this format; looks at names only and raises nothing.
        load: loads a version (model, version number, directory); raises a ServingError, whose code decides whether
            the load is tried again.
    """

    matches: Callable[[Path], bool]
    load: Callable[[str, int, Path], ServedModel]
