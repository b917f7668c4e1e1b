"""Loads a version's directory, whatever it holds: a SavedModel, a legacy SessionBundle or a TensorFlow Lite file."""

from pathlib import Path

import structlog

from slipway_server.errors import ServingError, not_found
from slipway_server.servables.memory import release_free_memory
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.tensorflow.export import Export
from slipway_server.servables.tensorflow.file_caches import forget_files
from slipway_server.servables.tensorflow.runtime_warmup import rehearse
from slipway_server.servables.tensorflow.saved_model import is_saved_model, read_saved_model
from slipway_server.servables.tensorflow.session_bundle import (
    is_session_bundle,
    read_session_bundle,
)
from slipway_server.servables.tensorflow.session_config import SessionSettings
from slipway_server.servables.tensorflow.session_model import SessionModel
from slipway_server.servables.tensorflow.session_open import open_session
from slipway_server.servables.tensorflow.signature_defs import completed, read_signature
from slipway_server.servables.tensorflow.threads import ThreadRule
from slipway_server.servables.tflite.model import FILE_NAME, load_tflite

_log = structlog.get_logger("slipway_server.loader")


class SavedModelLoader:
    """Loads versions (`core.manager.Loader`).

    Args:
        tags: the exact tag set of the graph to load.
        threads: whether a model runs on its caller's thread.
        lite_interpreters: requests that a TensorFlow Lite file answers at a time; 0 leaves such files alone.
        flush_caches: let the kernel forget a version's files once they are loaded.

    Raises:
        ServingError: the settings name a file that cannot be used.
    """

    def __init__(
        self,
        tags: frozenset[str],
        settings: SessionSettings,
        threads: ThreadRule | None = None,
        *,
        lite_interpreters: int = 0,
        flush_caches: bool = False,
    ) -> None:
        self._tags = tags
        self._config = settings.config()
        self._threads = threads or ThreadRule()
        self._flush_caches = flush_caches
        self._lite_interpreters = lite_interpreters
        rehearse(self._config)

    def load(self, model: str, version: int, path: str) -> ServedModel:
        """Load a version and compile its signatures.

        Raises:
            ServingError: the directory holds no model, lacks the tags or its variables, or TensorFlow refuses it.
        """
        loaded = self._load(model, version, Path(path))
        if self._flush_caches:
            forget_files(Path(path))
        return loaded

    def unload(self, content: ServedModel) -> None:
        """Release a version's session and memory."""
        # Nothing here is in a reference cycle: the memory goes with the last reference, no collection is needed.
        content.close()
        del content
        release_free_memory()

    def _load(self, model: str, version: int, directory: Path) -> ServedModel:
        if self._lite_interpreters and (directory / FILE_NAME).exists():
            return load_tflite(directory, self._lite_interpreters)
        return self._load_session(model, version, directory)

    def _load_session(self, model: str, version: int, directory: Path) -> SessionModel:
        export = read_export(directory, self._tags)
        session = open_session(directory, export, self._config)
        find = session.graph.tensor
        # Copies: a part of a protobuf message keeps the whole in memory, and here the whole is the graph.
        definitions = {
            key: completed(definition, find) for key, definition in export.signatures.items()
        }
        for_examples = {
            key: read_signature(key, completed(definition, find))
            for key, definition in export.example_signatures.items()
        }
        loaded = SessionModel(
            session,
            {key: read_signature(key, definition) for key, definition in definitions.items()},
            definitions,
            for_examples,
            on_caller=self._threads.on_caller(model, export.graph),
        )
        for signature in (*loaded.signatures.values(), *for_examples.values()):
            try:
                loaded.prepare(signature)
            except ServingError as error:
                # One signature that cannot run does not spoil the others; who calls it gets this error.
                _log.warning(
                    "signature not usable",
                    model=model,
                    version=version,
                    signature=signature.key,
                    error=str(error),
                )
        return loaded


def read_export(directory: Path, tags: frozenset[str]) -> Export:
    """Read a directory as TensorFlow Serving 1.15 does: as a SavedModel when it is one, else as a SessionBundle.

    Raises:
        ServingError: NOT_FOUND when it is neither, or as the readers of the two say.
    """
    if is_saved_model(directory):
        return read_saved_model(directory, tags)
    if is_session_bundle(directory):
        return read_session_bundle(directory)
    raise not_found(
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
        f"`saved_model.pb`)\nSpecified file path: {directory}\n"
        "Session bundle or SavedModel bundle not found at specified export location"
    )
