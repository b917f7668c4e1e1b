"""TensorFlow's two formats, SavedModel and the legacy SessionBundle: one reader each, the same session for both."""

import os
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import config_pb2

from slipway_server.errors import ServingError
from slipway_server.servables.formats import ServableFormat
from slipway_server.servables.tensorflow.exports.export import Export
from slipway_server.servables.tensorflow.exports.needs import Needs, needs_of
from slipway_server.servables.tensorflow.exports.saved_model import (
    is_saved_model,
    read_saved_model,
)
from slipway_server.servables.tensorflow.exports.session_bundle import (
    is_session_bundle,
    read_session_bundle,
)
from slipway_server.servables.tensorflow.runtime_warmup import warm_up_runtime
from slipway_server.servables.tensorflow.session_config import SessionSettings
from slipway_server.servables.tensorflow.session_model import SessionModel
from slipway_server.servables.tensorflow.session_open import open_session
from slipway_server.servables.tensorflow.signature_defs import completed, read_signature
from slipway_server.servables.tensorflow.threads import ThreadRule

_log = structlog.get_logger("slipway_server.loader")


def tensorflow_formats(
    tags: frozenset[str], session: SessionSettings, threads: ThreadRule
) -> tuple[ServableFormat, ...]:
    """Return the formats in TensorFlow Serving 1.15's order: a SavedModel when it is one, else a SessionBundle.

    Args:
        tags: the exact tag set of the graph to load; only a SavedModel has several.
        session: how sessions use the machine.
        threads: whether a model runs on its caller's thread.

    Raises:
        ServingError: the settings name a file that cannot be used.
    """
    config = session.config()
    warm_up_runtime(config)

    def saved_model(model: str, version: int, directory: Path) -> SessionModel:
        export = read_saved_model(directory, tags)
        return _load(model, version, directory, export, config, threads)

    def session_bundle(model: str, version: int, directory: Path) -> SessionModel:
        export = read_session_bundle(directory)
        return _load(model, version, directory, export, config, threads)

    return (
        ServableFormat(is_saved_model, saved_model),
        ServableFormat(is_session_bundle, session_bundle),
    )


def _load(
    model: str,
    version: int,
    directory: Path,
    export: Export,
    config: config_pb2.ConfigProto,
    threads: ThreadRule,
) -> SessionModel:
    """Open a session and compile the signatures."""
    needs = _needs(export)
    session = open_session(directory, export, needs, config)
    find = session.graph.tensor
    # Copies: a part of a protobuf message keeps the whole in memory, and here the whole is the graph.
    definitions = {
        key: completed(definition, find) for key, definition in export.signatures.items()
    }
    for_examples = {
        key: read_signature(key, completed(definition, find), stateful=key in needs.stateful)
        for key, definition in export.example_signatures.items()
    }
    loaded = SessionModel(
        session,
        {
            key: read_signature(key, definition, stateful=key in needs.stateful)
            for key, definition in definitions.items()
        },
        definitions,
        for_examples,
        on_caller=threads.on_caller(model, export.graph),
        directory=os.fspath(directory),
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


def _needs(export: Export) -> Needs:
    try:
        return needs_of(export)
    except DecodeError:
        return Needs(
            {}, frozenset()
        )  # TensorFlow, which parses the graph next, says so in its words.
