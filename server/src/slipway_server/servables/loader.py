"""Loads a version's directory with the first format that recognises it and that this build can run."""

from collections.abc import Sequence
from pathlib import Path

import structlog

from slipway_server.errors import not_found
from slipway_server.servables.formats import ServableFormat, UnsupportedError
from slipway_server.servables.memory import forget_files, release_free_memory
from slipway_server.servables.servable import ServedModel

_log = structlog.get_logger("slipway_server.loader")


class ServableLoader:
    """Loads and unloads versions (`core.managed_version.Loader`).

    Args:
        formats: in the order in which a directory is shown to them (`servables.registry`).
        flush_caches: let the kernel forget a version's files once they are loaded.
    """

    def __init__(self, formats: Sequence[ServableFormat], *, flush_caches: bool = False) -> None:
        self._formats = formats
        self._flush_caches = flush_caches

    def load(self, model: str, version: int, path: str) -> ServedModel:
        """Load a version.

        Raises:
            ServingError: NOT_FOUND when no format recognises the directory, or as the one that does says.
        """
        directory = Path(path)
        loaded = self._load(model, version, directory)
        if self._flush_caches:
            forget_files(directory)
        return loaded

    def unload(self, content: ServedModel) -> None:
        """Release what `load` returned, and give its memory back to the kernel."""
        # Nothing here is in a reference cycle: the memory goes with the last reference, no collection is needed.
        content.close()
        del content
        release_free_memory()

    def _load(self, model: str, version: int, directory: Path) -> ServedModel:
        unsupported = ""
        for one in self._formats:
            if not one.matches(directory):
                continue
            try:
                loaded = one.load(model, version, directory)
            except UnsupportedError as error:
                unsupported = unsupported or error.message
                continue
            if unsupported:
                _log.warning(
                    "another format of the version is served",
                    model=model,
                    version=version,
                    reason=unsupported,
                )
            return loaded
        if unsupported:
            raise UnsupportedError(unsupported)
        raise not_found(
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
            f"`saved_model.pb`)\nSpecified file path: {directory}\n"
            "Session bundle or SavedModel bundle not found at specified export location"
        )
