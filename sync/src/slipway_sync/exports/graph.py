"""What a graph says that its export must hold, read without TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from slipway_sync.exports.table import TableError, varint
from slipway_sync.wire import tensorflow_pb2 as wire

SAVED_MODEL = "saved_model.pb"
SAVED_MODEL_TEXT = "saved_model.pbtxt"
SESSION_BUNDLE = "export.meta"
GRAPHS = (SAVED_MODEL, SAVED_MODEL_TEXT, SESSION_BUNDLE)
"""The files that make a directory an export; the first one that is there counts."""

# Of the wire format: kinds of fields, and the numbers of those that are read.
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_SIZES = {1: 8, 5: 4}
_META_GRAPHS = 2
_KEPT = frozenset({1, 3, 4, 6})
# A hostile file must not unfold: real ones have one or two graphs and some hundred KiB beside them.
_MAX_KEPT = 8 << 20
_MAX_GRAPHS = 100
_MAX_FIELDS = 100_000

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


def read_graph(path: str, content: bytes | memoryview) -> Graph:
    """Read `saved_model.pb`, `saved_model.pbtxt` or `export.meta`.

    Of a binary file only what is needed is copied: a mapped file of any size takes no memory.

    Raises:
        GraphError: It is none.
    """
    view = memoryview(content)
    if not view:
        raise GraphError("it is empty")
    if path == SAVED_MODEL_TEXT:
        graphs = list(_text(view.tobytes()).meta_graphs)
    elif path == SESSION_BUNDLE:
        graphs = [_meta_graph(view)]
    else:
        found = [item for number, item in _fields(view) if number == _META_GRAPHS]
        if len(found) > _MAX_GRAPHS:
            raise GraphError(f"it holds more than {_MAX_GRAPHS} graphs")
        graphs = [_meta_graph(item) for item in found]
    if not graphs:
        raise GraphError("it holds no graph")
    return _facts(graphs, tagged=path != SESSION_BUNDLE)


def _meta_graph(view: memoryview) -> wire.MetaGraphDef:
    """Parse a MetaGraphDef without its graph_def, which may be as large as the file."""
    kept = bytearray()
    for number, item in _fields(view):
        if number in _KEPT:
            if len(kept) + len(item) > _MAX_KEPT:
                raise GraphError(f"it has more than {_MAX_KEPT >> 20} MiB beside its graph")
            kept += _varint_bytes(number << 3 | _LENGTH_DELIMITED)
            kept += _varint_bytes(len(item))
            kept += item
    try:
        return wire.MetaGraphDef.FromString(bytes(kept))
    except DecodeError as error:
        raise GraphError("its graph is damaged") from error


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of every length-delimited field of a message, step over others."""
    position = 0
    count = 0
    try:
        while position < len(view):
            count += 1
            if count > _MAX_FIELDS:
                raise GraphError(f"it holds more than {_MAX_FIELDS} fields")
            key, position = varint(view, position)
            kind = key & 7
            if kind == _LENGTH_DELIMITED:
                length, position = varint(view, position)
                if length > len(view) - position:
                    raise GraphError("it is cut off")
                yield key >> 3, view[position : position + length]
                position += length
            elif kind == _VARINT:
                _, position = varint(view, position)
            elif kind in _FIXED_SIZES:
                position += _FIXED_SIZES[kind]
            else:
                raise GraphError("it is no protocol buffer message")
    except TableError as error:
        raise GraphError("it is no protocol buffer message, or cut off") from error
    if position > len(view):
        raise GraphError("it is cut off")


def _varint_bytes(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - the continuation bit
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


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
