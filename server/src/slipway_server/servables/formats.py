"""What a format of servables is: it says whether a version's directory is of its kind, and loads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway_server.errors import Code, ServingError
from slipway_server.servables.servable import ServedModel


class UnsupportedError(ServingError):
    """A sound directory of a format needs something that this build of the format's library lacks.

    If the directory holds another format as well, that one is loaded instead.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message)


@dataclass(frozen=True, slots=True)
class ServableFormat:
    """One format.

    Attributes:
        matches: whether a version's directory holds this format; looks at names only and raises nothing.
        load: loads a version (model, version number, directory); raises a ServingError, whose code decides whether
            the load is tried again, or an UnsupportedError, after which the next format that matches is tried.
    """

    matches: Callable[[Path], bool]
    load: Callable[[str, int, Path], ServedModel]
