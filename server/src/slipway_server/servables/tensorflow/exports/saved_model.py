"""Reads a SavedModel: the one graph with the wanted tags, and how it is restored and initialised."""

import mmap
import os
from pathlib import Path
from typing import Final

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from slipway_server.errors import Code, ServingError, not_found
from slipway_server.servables.tensorflow.exports.export import (
    ASSETS_DIRECTORY,
    Export,
    Restore,
    tensor_name,
)
from slipway_server.servables.tensorflow.exports.graph_file import MetaGraph, meta_graphs

_BINARY: Final = "saved_model.pb"
_TEXT: Final = "saved_model.pbtxt"
_INIT_OP: Final = "__saved_model_init_op"
_TRAIN_OP: Final = "__saved_model_train_op"
_INIT_COLLECTIONS: Final = ("saved_model_main_op", "legacy_init_op")
_ASSET_COLLECTION: Final = "saved_model_assets"
_VARIABLES: Final = "variables/variables"


def is_saved_model(directory: Path) -> bool:
    """Whether a directory holds a SavedModel."""
    return (directory / _BINARY).exists() or (directory / _TEXT).exists()


def read_saved_model(directory: Path, tags: frozenset[str]) -> Export:
    """Read what a SavedModel says about the graph that carries exactly these tags.

    Raises:
        ServingError: NOT_FOUND without such a graph, DATA_LOSS when the file cannot be parsed.
    """
    chosen = _chosen(directory, tags)
    about = chosen.about
    return Export(
        graph=chosen.graph,
        signatures={
            key: definition
            for key, definition in about.signature_def.items()
            if key not in {_INIT_OP, _TRAIN_OP}
        },
        assets=_assets(directory, about),
        restore=_restore(directory, about),
        init_operation=_init_operation(about),
        object_graph=chosen.object_graph,
        variables=_variables(directory),
    )


def _chosen(directory: Path, tags: frozenset[str]) -> MetaGraph:
    path = directory / (_BINARY if (directory / _BINARY).exists() else _TEXT)
    try:
        for one in meta_graphs(_content(path)):
            if frozenset(one.about.meta_info_def.tags) == tags:
                return one
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ServingError(
            Code.DATA_LOSS, f"Can't parse {path} as a SavedModel: {error}"
        ) from error
    except OSError as error:
        raise ServingError(
            Code.UNAVAILABLE, f"Cannot read the SavedModel in {directory}: {error.strerror}"
        ) from error
    raise not_found(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. To inspect available "
        "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )


def _content(path: Path) -> memoryview:
    """Return a SavedModel in its binary form."""
    if path.name == _TEXT:
        message = text_format.Parse(path.read_text(encoding="utf-8"), saved_model_pb2.SavedModel())
        return memoryview(message.SerializeToString())
    # Into anonymous memory: whoever cuts a mapped file short kills its readers. One call reads it all, without the
    # interpreter's lock.
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        content = memoryview(mmap.mmap(-1, max(size, 1)))[:size]
        done = 0
        while done < size and (count := file.readinto(content[done:])):
            done += count
    return content[:done]


def _restore(directory: Path, meta_graph: meta_graph_pb2.MetaGraphDef) -> Restore | None:
    saver = meta_graph.saver_def
    if not saver.restore_op_name:
        return None
    return Restore(
        saver.restore_op_name,
        tensor_name(saver.filename_tensor_name),
        _variables(directory),
        expected=f"{_VARIABLES}.index",
    )


def _variables(directory: Path) -> str:
    there = (directory / f"{_VARIABLES}.index").exists()
    return os.fspath(directory / _VARIABLES) if there else ""


def _assets(directory: Path, meta_graph: meta_graph_pb2.MetaGraphDef) -> dict[str, str]:
    definitions = list(meta_graph.asset_file_def)
    if not definitions:
        for value in meta_graph.collection_def[_ASSET_COLLECTION].any_list.value:
            definition = meta_graph_pb2.AssetFileDef()
            value.Unpack(definition)
            definitions.append(definition)
    return {
        tensor_name(one.tensor_info.name): os.fspath(directory / ASSETS_DIRECTORY / one.filename)
        for one in definitions
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
