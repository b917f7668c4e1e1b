"""What a graph says that its export must hold, read without TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from slipway_sync.wire import tensorflow_pb2 as wire

SAVED_MODEL = "saved_model.pb"
SAVED_MODEL_TEXT = "saved_model.pbtxt"
SESSION_BUNDLE = "export.meta"
GRAPHS = (SAVED_MODEL, SAVED_MODEL_TEXT, SESSION_BUNDLE)
"""The files that make a directory an export; the first one that is there counts."""

_ASSET_COLLECTIONS = ("saved_model_assets", "serving_assets")
_ASSET_TYPES = ("tensorflow.AssetFileDef", "tensorflow.serving.AssetFile")
# A string or comment is stepped over; what is left in brackets is an expanded Any.
_TEXT_TOKEN = re.compile(
    r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|#[^\n]*|\[\s*type\.googleapis\.com/([\w.]+)\s*\]"
)


class GraphError(ValueError):
    """The graph is unreadable; the message says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What matters of a graph file.

    Attributes:
        tags: The tag set of every MetaGraphDef; empty for a SessionBundle.
        has_saver: Whether any MetaGraphDef restores variables.
        assets: Names of the files under `assets/` that it reads, sorted.
    """

    tags: tuple[frozenset[str], ...]
    has_saver: bool
    assets: tuple[str, ...]


def read_graph(path: str, content: bytes) -> Graph:
    """Read `saved_model.pb`, `saved_model.pbtxt` or `export.meta`.

    Raises:
        GraphError: It is none.
    """
    if not content:
        raise GraphError("it is empty")
    if path == SESSION_BUNDLE:
        return _facts([_binary(wire.MetaGraphDef, content)], tagged=False)
    model = _text(content) if path == SAVED_MODEL_TEXT else _binary(wire.SavedModel, content)
    if not model.meta_graphs:
        raise GraphError("it holds no graph")
    return _facts(list(model.meta_graphs), tagged=True)


_Message = TypeVar("_Message", wire.SavedModel, wire.MetaGraphDef)


def _binary(kind: type[_Message], content: bytes) -> _Message:
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise GraphError(
            "it is no protocol buffer message; it is cut off or something else"
        ) from error


def _text(content: bytes) -> wire.SavedModel:
    model = wire.SavedModel()
    try:
        text = _TEXT_TOKEN.sub(_expanded, content.decode("utf-8"))
        text_format.Parse(text, model, allow_unknown_field=True, allow_unknown_extension=True)
    except UnicodeDecodeError as error:
        raise GraphError("it is no UTF-8 text") from error
    except (text_format.ParseError, RecursionError) as error:
        where = ""
        if isinstance(error, text_format.ParseError) and error.GetLine():
            where = f" (line {error.GetLine()})"
        raise GraphError(f"it is no protocol buffer text{where}") from error
    return model


def _expanded(match: re.Match[str]) -> str:
    """Give an Any that is written out a field of ours, so that no type has to be looked up."""
    kind = match.group(1)
    if kind is None:
        return match.group()
    return "expanded_asset" if kind in _ASSET_TYPES else "expanded_unknown"


def _facts(graphs: list[wire.MetaGraphDef], *, tagged: bool) -> Graph:
    assets = {name for graph in graphs for name in _assets(graph)}
    return Graph(
        tags=tuple(frozenset(graph.meta_info_def.tags) for graph in graphs) if tagged else (),
        has_saver=any(graph.HasField("saver_def") for graph in graphs),
        assets=tuple(sorted(assets)),
    )


def _assets(graph: wire.MetaGraphDef) -> Iterator[str]:
    yield from (asset.filename for asset in graph.asset_file_def)
    for collection in _ASSET_COLLECTIONS:
        if collection not in graph.collection_def:
            continue  # Reading a missing key of a protobuf map creates it.
        for item in graph.collection_def[collection].any_list.value:
            if item.HasField("expanded_asset"):
                yield item.expanded_asset.filename
            elif item.type_url.rpartition("/")[2] in _ASSET_TYPES:
                try:
                    yield wire.AssetFileDef.FromString(item.value).filename
                except DecodeError as error:
                    raise GraphError(f"its collection {collection} is damaged") from error
