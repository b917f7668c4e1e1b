"""What a graph says that its export must hold, read without TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from slipway_sync.exports.graph.graph_fields import GraphError, Steps, driven, graph_fields
from slipway_sync.exports.graph.object_graph import ObjectGraph, object_graph
from slipway_sync.exports.graph.operations import PythonOperation, python_operation
from slipway_sync.wire import tensorflow_pb2 as wire

SAVED_MODEL = "saved_model.pb"
SAVED_MODEL_TEXT = "saved_model.pbtxt"
SESSION_BUNDLE = "export.meta"
GRAPHS = (SAVED_MODEL, SAVED_MODEL_TEXT, SESSION_BUNDLE)
"""The files that make a directory an export; the first one that is there counts."""

_STEP = 1 << 20
_MOST = 1 << 30

_ASSET_COLLECTIONS = ("saved_model_assets", "serving_assets")
_ASSET_TYPES = ("tensorflow.AssetFileDef", "tensorflow.serving.AssetFile")
# A string or comment is stepped over; what is left in brackets is an expanded Any.
_TEXT_TOKEN = re.compile(
    r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|#[^\n]*|\[\s*type\.googleapis\.com/([\w.]+)\s*\]"
)


@dataclass(frozen=True, slots=True)
class Graph:
    """What matters of a graph file.

    Attributes:
        tags: The tag set of every MetaGraphDef; empty for a SessionBundle.
        has_saver: Whether any MetaGraphDef restores variables.
        assets: Names of the files under `assets/` that it reads, sorted.
        objects: What was exported with each tag set, as far as it was looked into.
        python_operations: A call of Python that serving the graph of a tag set would run.
    """

    tags: tuple[frozenset[str], ...]
    has_saver: bool
    assets: tuple[str, ...]
    objects: Mapping[frozenset[str], ObjectGraph] = field(default_factory=dict)
    python_operations: Mapping[frozenset[str], PythonOperation] = field(default_factory=dict)


def read_graph(
    path: str, content: bytes | memoryview, *, tags: frozenset[str] | None = None
) -> Graph:
    """Read `saved_model.pb`, `saved_model.pbtxt` or `export.meta`.

    Of a binary file only what is needed is copied: a mapped file of any size takes no memory.

    Args:
        path: The file's name.
        content: Of the file, or what `graph_fields_of` copied of it.
        tags: The tag set whose objects and calls of Python are looked into; None for those of all.

    Raises:
        GraphError: It is none.
    """
    view = memoryview(content)
    if not view:
        raise GraphError("it is empty")
    graphs = _text(view.tobytes()) if path == SAVED_MODEL_TEXT else _binary(path, view)
    if not graphs:
        raise GraphError("it contains no graph")
    return _facts(graphs, tags, tagged=path != SESSION_BUNDLE)


def graph_fields_of(path: str, size: int, *, step: int = _STEP, most: int = _MOST) -> Steps:
    """Copy what matters of a binary graph file; `read_graph` reads the copy like the file.

    Args:
        path: `saved_model.pb` or `export.meta`.
        size: Bytes of the file.
        step: Bytes to ask for at once, at least.
        most: Graphs and object graphs of more bytes are not looked into, nor is more than that kept of all of them.

    Raises:
        GraphError: It is none.
    """
    return graph_fields(size, saved_model=path == SAVED_MODEL, step=step, most=most)


def _binary(path: str, view: memoryview) -> list[wire.MetaGraphDef]:
    kept = driven(
        graph_fields_of(path, len(view)), lambda start, length: view[start : start + length]
    )
    try:
        if path == SESSION_BUNDLE:
            return [wire.MetaGraphDef.FromString(kept)]
        return list(wire.SavedModel.FromString(kept).meta_graphs)
    except DecodeError as error:
        raise GraphError("its graph is damaged") from error


def _text(content: bytes) -> list[wire.MetaGraphDef]:
    model = wire.SavedModel()
    try:
        text = _TEXT_TOKEN.sub(_expanded, content.decode("utf-8"))
        text_format.Parse(text, model, allow_unknown_field=True, allow_unknown_extension=True)
    except UnicodeDecodeError as error:
        raise GraphError("it is not UTF-8 text") from error
    except (text_format.ParseError, RecursionError) as error:
        where = ""
        if isinstance(error, text_format.ParseError) and error.GetLine():
            where = f" (line {error.GetLine()})"
        raise GraphError(f"it is not protocol buffer text{where}") from error
    return list(model.meta_graphs)


def _expanded(match: re.Match[str]) -> str:
    """Give an Any that is written out a field of ours, so that no type has to be looked up."""
    kind = match.group(1)
    if kind is None:
        return match.group()
    return "expanded_asset" if kind in _ASSET_TYPES else "expanded_unknown"


def _facts(
    graphs: list[wire.MetaGraphDef], wanted: frozenset[str] | None, *, tagged: bool
) -> Graph:
    assets = {name for graph in graphs for name in _assets(graph)}
    by_tags = {
        tags: graph
        for graph in reversed(graphs)
        if (tags := frozenset(graph.meta_info_def.tags)) == wanted or wanted is None
    }
    calls = {tags: python_operation(graph) for tags, graph in by_tags.items()} if tagged else {}
    return Graph(
        tags=tuple(frozenset(graph.meta_info_def.tags) for graph in graphs) if tagged else (),
        has_saver=any(graph.HasField("saver_def") for graph in graphs),
        assets=tuple(sorted(assets)),
        objects={tags: object_graph(graph.object_graph_def) for tags, graph in by_tags.items()},
        python_operations={tags: call for tags, call in calls.items() if call is not None},
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
