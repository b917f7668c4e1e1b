"""Takes a SavedModel's bytes apart without parsing its graphs.

Python's protobuf library parses under the interpreter's lock, and a graph may hold hundreds of megabytes of constants
that only TensorFlow needs to look at. So the outer fields are walked here, and the graph stays a slice of the file.
Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2

from slipway_server.varints import read_varint

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}

# Field numbers.
_META_GRAPHS: Final = 2
_GRAPH_DEF: Final = 2
_OBJECT_GRAPH: Final = 7


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """One graph of a SavedModel.

    Attributes:
        about: everything but the graph and the object graph.
        graph: the serialized GraphDef.
        object_graph: the serialized SavedObjectGraph; empty when there is none.
    """

    about: meta_graph_pb2.MetaGraphDef
    graph: bytes | memoryview
    object_graph: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message on the wire.

    Attributes:
        begin: of the whole field, its tag included.
        content: where a delimited field's content begins; otherwise where the field ends.
    """

    number: int
    begin: int
    content: int
    end: int
    delimited: bool


def meta_graphs(data: memoryview) -> Iterator[MetaGraph]:
    """Return the graphs of a serialized SavedModel, in order.

    Raises:
        DecodeError: the bytes are no such message.
    """
    for field in fields(data):
        if field.number == _META_GRAPHS and field.delimited:
            yield meta_graph(data[field.content : field.end])


def meta_graph(data: memoryview) -> MetaGraph:
    """Return a serialized MetaGraphDef in its parts.

    Raises:
        DecodeError: the bytes are no such message.
    """
    rest, graphs, object_graphs = [], [], []
    for field in fields(data):
        if field.number == _GRAPH_DEF and field.delimited:
            graphs.append(data[field.content : field.end])
        elif field.number == _OBJECT_GRAPH and field.delimited:
            object_graphs.append(data[field.content : field.end])
        else:
            rest.append(data[field.begin : field.end])
    about = meta_graph_pb2.MetaGraphDef.FromString(b"".join(rest))
    return MetaGraph(about, _joined(graphs), _joined(object_graphs))


def _joined(parts: list[memoryview]) -> bytes | memoryview:
    # A message that comes in several parts is what they say together; for serialized ones that is their concatenation.
    return parts[0] if len(parts) == 1 else b"".join(parts)


def fields(data: memoryview) -> Iterator[Field]:
    """Return the fields of a serialized message, in order, without looking into them.

    Raises:
        DecodeError: the bytes are no message.
    """
    position = 0
    while position < len(data):
        begin = position
        tag, position = _varint(data, position)
        kind = tag & 7
        content = position
        if kind == _VARINT:
            _, position = _varint(data, position)
        elif kind == _DELIMITED:
            length, content = _varint(data, position)
            position = content + length
        elif kind in _FIXED:
            position += _FIXED[kind]
        else:
            raise DecodeError(f"Wire type {kind} at byte {begin}")
        if position > len(data):
            raise DecodeError(f"The field at byte {begin} ends beyond the message")
        yield Field(tag >> 3, begin, content, position, delimited=kind == _DELIMITED)


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    try:
        return read_varint(data, position)
    except IndexError:
        raise DecodeError(f"No number at byte {position}") from None
