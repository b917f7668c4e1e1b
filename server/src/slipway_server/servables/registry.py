"""Which formats this server loads.

To add a format: write a package beside `tensorflow` and `tflite` whose loaded version is a `ServedModel`, and register
a factory here that returns its `ServableFormat`. What comes from elsewhere calls `register` when it is imported, which
must be before the loader is made, in the server and in the sandbox's child alike.

A directory is shown to the formats in the order of their registration; the first that recognises it loads it. Each
factory imports its own library, so that a format that is off costs nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from slipway_server.servables.formats import ServableFormat
from slipway_server.servables.tensorflow.session_config import SessionSettings
from slipway_server.servables.tensorflow.threads import ThreadRule
from slipway_server.tensorflow_library.lean_import import import_part


@dataclass(frozen=True, slots=True)
class FormatSettings:
    """What the flags say about formats; each takes what concerns it.

    Attributes:
        tags: the exact tag set of the graph that is loaded from a SavedModel.
        session: how TensorFlow's sessions use the machine.
        threads: whether a model runs on its caller's thread.
        lite_interpreters: requests that a TensorFlow Lite file answers at a time; 0 leaves such files alone.
    """

    tags: frozenset[str] = frozenset({"serve"})
    session: SessionSettings = field(default_factory=SessionSettings)
    threads: ThreadRule = field(default_factory=ThreadRule)
    lite_interpreters: int = 0


FormatFactory = Callable[[FormatSettings], Iterable[ServableFormat]]
"""Returns the formats that the settings ask for; may raise a ServingError when they cannot be used."""

LITE: Final = "slipway_server.tensorflow_library.lite"

_factories: Final[list[FormatFactory]] = []


def register(factory: FormatFactory) -> FormatFactory:
    """Add a factory behind those that are registered already; also a decorator."""
    _factories.append(factory)
    return factory


def registered_formats(settings: FormatSettings) -> tuple[ServableFormat, ...]:
    """Return all formats that the settings ask for, in the order of their registration.

    Raises:
        ServingError: the settings name a file that cannot be used.
    """
    return tuple(one for factory in _factories for one in factory(settings))


@register
def _tensorflow_lite(settings: FormatSettings) -> Iterable[ServableFormat]:
    # First: a directory may hold the same model as a SavedModel, too.
    if not settings.lite_interpreters:
        return ()
    import_part(LITE)
    from slipway_server.servables.tflite.model import tflite_format  # noqa: PLC0415 - see above

    return (tflite_format(settings.lite_interpreters),)


@register
def _tensorflow(settings: FormatSettings) -> Iterable[ServableFormat]:
    from slipway_server.servables.tensorflow.formats import tensorflow_formats  # noqa: PLC0415 - see above

    return tensorflow_formats(settings.tags, settings.session, settings.threads)
