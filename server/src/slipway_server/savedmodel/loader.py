"""Loads a SavedModel directory into a session.

The steps are those of TensorFlow's own C++ loader: read the graph with exactly the wanted tags, import it, run its
restore operation, run its init operation with the asset files. Two things differ on purpose: an export whose variables
are missing is refused here instead of failing at every request, and the Python side of the import (collections,
variable objects) is left out, since nobody uses it and it costs time under the interpreter's lock.
"""

import gc
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2

from slipway_server.errors import Code, ServingError, not_found
from slipway_server.savedmodel.dtypes import DType
from slipway_server.savedmodel.failures import translated
from slipway_server.savedmodel.session_model import SessionModel
from slipway_server.savedmodel.signature import Signature, TensorSpec

_INIT_OP: Final = "__saved_model_init_op"
_TRAIN_OP: Final = "__saved_model_train_op"
_INIT_COLLECTIONS: Final = ("saved_model_main_op", "legacy_init_op")
_ASSET_COLLECTION: Final = "saved_model_assets"

_log = structlog.get_logger("slipway_server.loader")


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How sessions use the machine.

    Attributes:
        intra_op_threads: 0 lets TensorFlow decide; likewise `inter_op_threads`.
        gpu_memory_fraction: share of the GPU's memory; 0 lets the process grow as it needs.
    """

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0

    def config(self) -> config_pb2.ConfigProto:
        """Return TensorFlow's form of the settings."""
        config = config_pb2.ConfigProto(
            allow_soft_placement=True,
            intra_op_parallelism_threads=self.intra_op_threads,
            inter_op_parallelism_threads=self.inter_op_threads,
        )
        if self.gpu_memory_fraction > 0:
            config.gpu_options.per_process_gpu_memory_fraction = self.gpu_memory_fraction
        else:
            config.gpu_options.allow_growth = True
        return config


class SavedModelLoader:
    """Loads SavedModel directories (`core.manager.Loader`).

    Args:
        tags: the exact tag set of the graph to load.
    """

    def __init__(self, tags: frozenset[str], settings: SessionSettings) -> None:
        self._tags = tags
        self._config = settings.config()

    def load(self, model: str, version: int, path: str) -> SessionModel:
        """Load a version and compile its signatures.

        Raises:
            ServingError: the directory is no SavedModel, lacks the tags or its variables, or TensorFlow refuses it.
        """
        graph_def = read_meta_graph(Path(path), self._tags)
        session = _restored_session(Path(path), graph_def, self._config)
        signatures = {
            key: _signature(key, definition)
            for key, definition in graph_def.signature_def.items()
            if key not in {_INIT_OP, _TRAIN_OP}
        }
        loaded = SessionModel(
            session, signatures, {key: graph_def.signature_def[key] for key in signatures}
        )
        for signature in signatures.values():
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

    def unload(self, content: SessionModel) -> None:
        """Release a version's session and memory."""
        content.close()
        del content
        # Graphs hold reference cycles. What is not this model's was frozen at start-up, so this is quick.
        gc.collect()


def read_meta_graph(directory: Path, tags: frozenset[str]) -> meta_graph_pb2.MetaGraphDef:
    """Read the one graph of a SavedModel that carries exactly these tags."""
    saved_model = _read_saved_model(directory)
    for meta_graph in saved_model.meta_graphs:
        if frozenset(meta_graph.meta_info_def.tags) == tags:
            return meta_graph
    raise not_found(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. To inspect available "
        "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )


def _read_saved_model(directory: Path) -> saved_model_pb2.SavedModel:
    binary, text = directory / "saved_model.pb", directory / "saved_model.pbtxt"
    message = saved_model_pb2.SavedModel()
    try:
        if binary.exists():
            message.ParseFromString(binary.read_bytes())
            return message
        if text.exists():
            return text_format.Parse(text.read_text(encoding="utf-8"), message)
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        broken = binary if binary.exists() else text
        raise ServingError(
            Code.DATA_LOSS, f"Can't parse {broken} as a SavedModel: {error}"
        ) from error
    except OSError as error:
        raise ServingError(
            Code.UNAVAILABLE, f"Cannot read the SavedModel in {directory}: {error.strerror}"
        ) from error
    if (directory / "export.meta").exists():
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"{directory} is a legacy SessionBundle (export.meta), which this server cannot load",
        )
    raise not_found(
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
        f"`saved_model.pb`)\nSpecified file path: {directory}"
    )


def _restored_session(
    directory: Path, meta_graph: meta_graph_pb2.MetaGraphDef, config: config_pb2.ConfigProto
) -> tf.compat.v1.Session:
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        with translated():
            with graph.as_default():
                tf.graph_util.import_graph_def(meta_graph.graph_def, name="")
            assets = _asset_feeds(directory, meta_graph)
            _restore(session, directory, meta_graph, assets)
            if init := _init_operation(meta_graph):
                session.run(graph.get_operation_by_name(init), feed_dict=assets)
    except BaseException:
        session.close()
        raise
    return session


def _restore(
    session: tf.compat.v1.Session,
    directory: Path,
    meta_graph: meta_graph_pb2.MetaGraphDef,
    assets: Mapping[str, str],
) -> None:
    saver = meta_graph.saver_def
    if not saver.restore_op_name:
        return
    prefix = directory / "variables" / "variables"
    if not prefix.with_name("variables.index").exists():
        raise not_found(
            f"The SavedModel in {directory} has variables to restore, but variables/variables.index is missing; "
            "the export is incomplete"
        )
    feeds = {**assets, saver.filename_tensor_name: os.fspath(prefix)}
    try:
        with translated():
            session.run(session.graph.get_operation_by_name(saver.restore_op_name), feed_dict=feeds)
    except ServingError as error:
        message = f"Cannot restore the variables under {prefix.parent}: {error.message}"
        raise ServingError(error.code, message) from error


def _asset_feeds(directory: Path, meta_graph: meta_graph_pb2.MetaGraphDef) -> dict[str, str]:
    definitions = list(meta_graph.asset_file_def)
    if not definitions:
        for value in meta_graph.collection_def[_ASSET_COLLECTION].any_list.value:
            definition = meta_graph_pb2.AssetFileDef()
            value.Unpack(definition)
            definitions.append(definition)
    return {
        one.tensor_info.name: os.fspath(directory / "assets" / one.filename) for one in definitions
    }


def _init_operation(meta_graph: meta_graph_pb2.MetaGraphDef) -> str:
    if _INIT_OP in meta_graph.signature_def:
        return str(meta_graph.signature_def[_INIT_OP].outputs[_INIT_OP].name).partition(":")[0]
    for collection in _INIT_COLLECTIONS:
        names = meta_graph.collection_def[collection].node_list.value
        if len(names) > 1:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"Expected exactly one main op in : {collection}"
            )
        if names:
            return str(names[0])
    return ""


def _signature(key: str, definition: meta_graph_pb2.SignatureDef) -> Signature:
    return Signature(
        key=key,
        method=definition.method_name,
        inputs={alias: _spec(definition.inputs[alias]) for alias in sorted(definition.inputs)},
        outputs={alias: _spec(definition.outputs[alias]) for alias in sorted(definition.outputs)},
        defaults={alias: tf.make_ndarray(value) for alias, value in definition.defaults.items()},
    )


def _spec(info: meta_graph_pb2.TensorInfo) -> TensorSpec:
    shape = (
        None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    )
    return TensorSpec(info.name, DType.of(info.dtype), shape)
