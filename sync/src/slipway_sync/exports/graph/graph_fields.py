"""What a binary graph file says beside its graph, copied out of it piece by piece.

A SavedModel of tens of MiB has some KiB that say what its export must hold; the rest is stepped
over, unread, or kept in a short form: of the objects which functions capture which, and of a graph
that calls Python its nodes without their values. The reader asks for the bytes that it needs next,
so that it can be driven by a store as well as by a mapped file; it does no reading of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from google.protobuf.message import DecodeError

from slipway_sync.exports.tensorbundle.leveldb_table import TableError, varint
from slipway_sync.wire import tensorflow_pb2 as wire

# Of the wire format: kinds of fields, and the numbers of those that are kept.
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_SIZES = {1: 8, 5: 4}
_META_GRAPHS = 2
_KEPT = frozenset({1, 3, 4, 6})
_GRAPH, _SIGNATURES, _OBJECTS = 2, 5, 7
_NODES, _LIBRARY, _FUNCTIONS, _FUNCTION_NAME, _BODY = 1, 2, 1, 1, 3
_SAVED_OBJECTS, _CONCRETE_FUNCTIONS = 1, 2
_HEAD = 20  # Two varints.
# A hostile file must not unfold: real ones have one or two graphs and some hundred KiB beside them.
_MAX_KEPT = 8 << 20
_MAX_GRAPHS = 100
_MAX_FIELDS = 100_000
# Of what is kept in a short form; beyond that nothing is said of it, and the server judges.
_MAX_SHORT = 16 << 20
_MAX_PARTS = 2_000_000
_SMALL = 16  # Real objects and nodes have more bytes; each takes some hundred of memory when it is parsed.
_LARGE = 64 << 10  # What has more bytes is a value, not a name.
_PYTHON = b"PyFunc"  # The end of the names of all operations that call Python.

Steps = Generator[tuple[int, int], bytes | memoryview, bytes]
"""Yields start and length of the bytes it needs next, is sent them, returns the skeleton."""


class GraphError(ValueError):
    """The graph is unreadable; the message says why, as the end of a sentence."""


class _TooMuchError(ValueError):
    """A part is larger than is looked into."""


def graph_fields(size: int, *, saved_model: bool, step: int, most: int) -> Steps:
    """Copy a graph file without whatever is not read here.

    Args:
        size: Bytes of the file.
        saved_model: Whether it is a SavedModel; otherwise it is one MetaGraphDef.
        step: Bytes to ask for at once, at least.
        most: Graphs and object graphs of more bytes are not looked into, nor is more than that kept of all of them.

    Raises:
        GraphError: It is no such message.
    """
    reader = _Reader(size, step, most)
    if not saved_model:
        return (yield from reader.meta_graph(0, size))
    kept = bytearray()
    graphs = position = 0
    while position < size:
        number, start, length, position = yield from reader.field(position, size)
        if number != _META_GRAPHS:
            continue
        graphs += 1
        if graphs > _MAX_GRAPHS:
            raise GraphError(f"it holds more than {_MAX_GRAPHS} graphs")
        kept += _field(_META_GRAPHS, (yield from reader.meta_graph(start, start + length)))
    return bytes(kept)


def driven(steps: Steps, read: Callable[[int, int], bytes | memoryview]) -> bytes:
    """Let a reader read from what is at hand, and return what it returns."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(read(*wanted))
    except StopIteration as within_limit:
        result: bytes = within_limit.value
        return result


class _Reader:
    """Knows the last piece that was read of a file."""

    def __init__(self, size: int, step: int, most: int) -> None:
        self._size = size
        self._step = step
        self._most = most
        self._most_short = min(_MAX_SHORT, most)
        self._most_parts = min(_MAX_PARTS, most // _SMALL)
        self._start = 0
        self._piece: bytes | memoryview = b""
        self._fields = 0
        self._kept = 0
        self._parts = 0
        self._short = 0

    def meta_graph(self, position: int, end: int) -> Steps:
        """Copy the fields of a MetaGraphDef that are kept."""
        kept = bytearray()
        while position < end:
            number, start, length, position = yield from self.field(position, end)
            if number in {_OBJECTS, _GRAPH}:
                kept += yield from self._shortened(number, start, length)
            elif number in _KEPT or (number == _SIGNATURES and length <= _LARGE):
                self._kept += length
                if self._kept > _MAX_KEPT:
                    raise GraphError(f"it has more than {_MAX_KEPT >> 20} MiB besides its graph")
                kept += _field(number, (yield from self._bytes(start, length)))
        return bytes(kept)

    def _shortened(self, number: int, start: int, length: int) -> Steps:
        """Copy what matters of a graph or an object graph; nothing, if that cannot be told."""
        if length > self._most:
            return b""
        steps = self._graph if number == _GRAPH else self._objects
        before = self._short
        try:
            # The list of operations in the file is no help: it lacks those of branches and loops.
            if number == _GRAPH and not (yield from self._calls_python(start, start + length)):
                return b""
            return _field(number, (yield from steps(start, start + length)))
        except (GraphError, DecodeError, _TooMuchError):
            self._short = before  # What was kept of it is not.
            return b""

    def _calls_python(
        self, position: int, end: int
    ) -> Generator[tuple[int, int], bytes | memoryview, bool]:
        """Look for the name of such an operation; a value that looks like it is no harm."""
        before = b""
        while position < end:
            piece = yield from self._bytes(position, min(self._step, end - position))
            if _PYTHON in before + piece:
                return True
            before = piece[-len(_PYTHON) :]
            position += len(piece)
        return False

    def _graph(self, position: int, end: int) -> Steps:
        kept = bytearray()
        while position < end:
            number, start, length, position = yield from self._part(position, end)
            if number == _NODES:
                kept += _field(number, (yield from self._node(start, length)))
            elif number == _LIBRARY:
                kept += _field(number, (yield from self._library(start, start + length)))
        return bytes(kept)

    def _library(self, position: int, end: int) -> Steps:
        kept = bytearray()
        while position < end:
            number, start, length, position = yield from self._part(position, end)
            if number == _FUNCTIONS:
                kept += _field(number, (yield from self._function(start, start + length)))
        return bytes(kept)

    def _function(self, position: int, end: int) -> Steps:
        kept = bytearray()
        while position < end:
            number, start, length, position = yield from self._part(position, end)
            if number == _FUNCTION_NAME:
                definition = wire.OpDef.FromString((yield from self._names(start, length)))
                definition.DiscardUnknownFields()
                kept += _field(number, self._keep(definition.SerializeToString()))
            elif number == _BODY:
                kept += _field(number, (yield from self._node(start, length)))
        return bytes(kept)

    def _node(self, start: int, length: int) -> Steps:
        node = wire.NodeDef.FromString((yield from self._names(start, length)))
        node.DiscardUnknownFields()
        for name in [
            name
            for name, value in node.attr.items()
            if not value.HasField("func") and not value.list.func
        ]:
            del node.attr[name]
        return self._keep(node.SerializeToString())

    def _objects(self, position: int, end: int) -> Steps:
        kept = bytearray()
        while position < end:
            number, start, length, position = yield from self._part(position, end)
            if number not in {_SAVED_OBJECTS, _CONCRETE_FUNCTIONS}:
                continue
            one = wire.SavedObjectGraph.FromString(
                _field(number, (yield from self._names(start, length)))
            )
            one.DiscardUnknownFields()
            kept += self._keep(one.SerializeToString())
        return bytes(kept)

    def _names(self, start: int, length: int) -> Steps:
        """Copy a message without its large fields."""
        if length <= _LARGE:
            return (yield from self._bytes(start, length))
        kept = bytearray()
        position = start
        while position < start + length:
            number, at, size, position = yield from self._part(position, start + length)
            if number and size <= _LARGE:
                kept += _field(number, (yield from self._bytes(at, size)))
        return bytes(kept)

    def _part(
        self, position: int, end: int
    ) -> Generator[tuple[int, int], bytes | memoryview, tuple[int, int, int, int]]:
        """Return as `field` a field of what is shortened."""
        self._parts += 1
        if self._parts > self._most_parts:
            raise _TooMuchError
        self._fields -= 1
        return (yield from self.field(position, end))

    def _keep(self, content: bytes) -> bytes:
        self._short += len(content)
        if self._short > self._most_short:
            raise _TooMuchError
        return content

    def field(
        self, position: int, end: int
    ) -> Generator[tuple[int, int], bytes | memoryview, tuple[int, int, int, int]]:
        """Return number, start and length of a length-delimited field, and where the next begins.

        The number is 0 for a field of another kind.
        """
        self._fields += 1
        if self._fields > _MAX_FIELDS:
            raise GraphError(f"it holds more than {_MAX_FIELDS} fields")
        head = yield from self._bytes(position, min(_HEAD, end - position))
        length = 0
        number = 0
        try:
            key, used = varint(head, 0)
            kind = key & 7
            if kind == _LENGTH_DELIMITED:
                number = key >> 3
                length, used = varint(head, used)
            elif kind == _VARINT:
                _, used = varint(head, used)
            elif kind in _FIXED_SIZES:
                used += _FIXED_SIZES[kind]
            else:
                raise GraphError("it is not a protocol buffer message")
        except TableError as error:
            raise GraphError("it is not a protocol buffer message, or it is truncated") from error
        start = position + used
        if start + length > end:
            raise GraphError("it is truncated")
        return number, start, length, start + length

    def _bytes(self, start: int, length: int) -> Steps:
        at = start - self._start
        if at < 0 or at + length > len(self._piece):
            wanted = min(max(length, self._step), self._size - start)
            self._piece = yield start, wanted
            self._start, at = start, 0
            if len(self._piece) < length:
                raise GraphError("it is truncated")
        return bytes(self._piece[at : at + length])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - the continuation bit
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
