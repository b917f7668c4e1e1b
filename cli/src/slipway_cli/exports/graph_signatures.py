"""The signatures of an export, read from its graph file without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from slipway_cli.errors import CliError
from slipway_cli.exports.location import Location, of_source
from slipway_cli.serving.signature import Signatures, of_messages
from slipway_cli.wire import serving_pb2 as wire
from slipway_sync.exports import GRAPHS, GraphError, graph_fields_of
from slipway_sync.stores import ObjectReplacedError, SourceError

_BINARY, _TEXT, _SESSION_BUNDLE = GRAPHS
_STEP: Final = 256 << 10
_MOST_TEXT: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """One graph of a SavedModel.

    Attributes:
        tags: Sorted.
        tensorflow: Version of TensorFlow that wrote it, or "".
        signatures: What it can be asked.
    """

    tags: tuple[str, ...]
    tensorflow: str
    signatures: Signatures


async def read_meta_graphs(location: Location) -> tuple[MetaGraph, ...]:
    """Read what an export can be asked; a graph of any size is stepped over, not read.

    Raises:
        CliError: It is no SavedModel, or its store cannot be read.
    """
    try:
        listing = await location.store.listing(location.directory)
        sizes = {item.path: item.size for item in listing}
        path = next((path for path in GRAPHS if path in sizes), None)
        if path is None:
            raise CliError(f"{location.where} is no SavedModel: it has no {_BINARY}")
        if path == _SESSION_BUNDLE:
            raise CliError(
                f"{location.where} is a SessionBundle ({path}), whose signatures only the server reads: ask it, "
                "with a URL http://HOST:PORT/v1/models/NAME"
            )
        if path == _TEXT:
            model = await _text(location, sizes[path])
        else:
            model = await _binary(location, path, sizes[path])
    except SourceError as error:
        raise of_source(error) from error
    except ObjectReplacedError as error:
        raise CliError(f"{location.where}: {error}; try again") from error
    except (GraphError, DecodeError) as error:
        raise CliError(f"{location.where}: its graph is not readable: {error}") from error
    return tuple(
        MetaGraph(
            tuple(sorted(graph.meta_info_def.tags)),
            graph.meta_info_def.tensorflow_version,
            of_messages(dict(graph.signature_def)),
        )
        for graph in model.meta_graphs
    )


async def _binary(location: Location, path: str, size: int) -> wire.SavedModel:
    steps = graph_fields_of(path, size, step=_STEP, most=0)
    try:
        wanted = next(steps)
        while True:
            start, length = wanted
            piece = await location.store.read(location.directory, path, start=start, length=length)
            wanted = steps.send(piece)
    except StopIteration as end:
        return wire.SavedModel.FromString(bytes(end.value))


async def _text(location: Location, size: int) -> wire.SavedModel:
    if size > _MOST_TEXT:
        raise GraphError(f"it has more than {_MOST_TEXT >> 20} MiB of text")
    content = await location.store.read(location.directory, _TEXT, length=size)
    try:
        return text_format.Parse(
            content.decode(),
            wire.SavedModel(),
            allow_unknown_field=True,
            allow_unknown_extension=True,
        )
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise GraphError("it is not protocol buffer text") from error
