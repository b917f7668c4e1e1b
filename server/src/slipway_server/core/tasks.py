"""What the manager has done in threads of their own: measure, load, wait, unload. Each ends as an event."""

from collections.abc import Callable
from typing import TypeVar

import structlog

from slipway_server.core.managed_version import (
    LoadEnded,
    Loader,
    ManagedVersion,
    Measured,
    Quiesced,
    Unloaded,
)
from slipway_server.core.serving_map import Servable
from slipway_server.errors import Code, ServingError

T = TypeVar("T")

_log = structlog.get_logger("slipway_server.manager")


def measure(size_of: Callable[[str], int], managed: ManagedVersion[T]) -> Measured[T]:
    """Add up the bytes of a version's files."""
    try:
        return Measured(managed, size_of(managed.aspiration.path), None)
    except OSError as error:
        return Measured(managed, 0, ServingError(Code.UNAVAILABLE, str(error)))
    except Exception as error:  # noqa: BLE001 - as for `load`
        return Measured(managed, 0, ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}"))


def load(loader: Loader[T], managed: ManagedVersion[T]) -> LoadEnded[T]:
    """Try to load a version."""
    try:
        content = loader.load(managed.model, managed.version, managed.aspiration.path)
    except ServingError as error:
        return LoadEnded(managed, None, _without_frames(error))
    except Exception as error:  # noqa: BLE001 - a loader's bug must not leave the version Loading for ever
        return LoadEnded(
            managed, None, ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
        )
    return LoadEnded(managed, content, None)


def _without_frames(error: ServingError) -> ServingError:
    """Return an error that can be kept: its traceback would keep all that the failed load had in memory."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def quiesce(servable: Servable[T], managed: ManagedVersion[T]) -> Quiesced[T]:
    """Wait for the last request."""
    servable.close()
    return Quiesced(managed)


def unload(
    loader: Loader[T], servable: Servable[T] | None, managed: ManagedVersion[T]
) -> Unloaded[T]:
    """Free a version's memory."""
    try:
        if servable is not None:
            loader.unload(servable.content)
    except Exception as error:  # noqa: BLE001 - whatever it was, the version is out of use and must end
        _log.warning(
            "unload failed", model=managed.model, version=managed.version, error=str(error)
        )
    return Unloaded(managed)
