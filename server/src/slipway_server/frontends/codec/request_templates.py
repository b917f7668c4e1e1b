"""Requests that differ from an earlier one in nothing but their numbers, and so need no parsing.

A client sends one kind of PredictRequest again and again: the same model, aliases, types and shapes, other values. The
values of most element types lie in the message as the array's memory. So once a request was parsed, a *template* is
kept: where the values are, and all the other bytes. A request of the same length whose other bytes are the same means
the same, with its own values in the same places: lengths stand before what they count, and nothing inside values
is ever looked at as anything else.

Pure; knows the wire format, not TensorFlow.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from slipway_server.core.serving_map import Selector
from slipway_server.servables.signature import Array
from slipway_server.varints import read_varint

_MAX_TEMPLATES: Final = 1024
_MAX_OTHER_BYTES: Final = 2048
_MAX_LAYOUTS: Final = 8
"""Of one length: so many places for the values are tried."""

_INPUTS, _KEY, _VALUE = 2, 1, 2
_CONTENT: Final = 4
_TYPED: Final[dict[int, np.dtype[Any]]] = {5: np.dtype("<f4"), 6: np.dtype("<f8")}
"""Fields of TensorProto that hold packed numbers of fixed width: the array's memory."""
_DESCRIPTION: Final = frozenset({1, 2, 3})
"""Fields that say what the values are: dtype, tensor_shape, version_number."""
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PredictTarget:
    """A PredictRequest without its inputs: model and version, signature and wanted outputs."""

    selector: Selector
    signature: str
    output_filter: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """Target and layout that all requests of one template share.

    Attributes:
        inputs: alias, element type, shape, count of elements, and offset of the first one.
    """

    target: PredictTarget
    inputs: tuple[tuple[str, np.dtype[Any], tuple[int, ...], int, int], ...]

    def arrays(self, data: bytes) -> dict[str, Array]:
        """Return a request's inputs; views of its bytes."""
        return {
            alias: np.frombuffer(data, kind, count, start).reshape(shape)
            for alias, kind, shape, count, start in self.inputs
        }


class RequestTemplates:
    """The templates of requests seen so far; at the bound it starts over."""

    def __init__(self) -> None:
        self._by_length: dict[int, dict[tuple[Span, ...], dict[bytes, RequestTemplate]]] = {}
        self._kept = 0
        self._tried = 0
        self._hits = 0

    def find(self, data: bytes) -> RequestTemplate | None:
        """Return the template that a request matches, or None."""
        layouts = self._by_length.get(len(data))
        if layouts is None:
            return None
        for others, templates in layouts.items():
            if len(others) == 2:  # noqa: PLR2004 - one input, by far the most usual; the same as below
                (begin, first), (second, end) = others
                template = templates.get(data[begin:first] + data[second:end])
            else:
                template = templates.get(b"".join([data[start:stop] for start, stop in others]))
            if template is not None:
                self._hits += 1
                return template
        return None

    def learn(self, data: bytes, target: PredictTarget, inputs: Mapping[str, Array]) -> None:
        """Remember the template of a request that was parsed and answered.

        Args:
            data: the request.
            target: as it was parsed.
            inputs: likewise.
        """
        # A client whose every request is new would pay for templates that are never used.
        if self._tried > _MAX_TEMPLATES + self._hits:
            return
        self._tried += 1
        found = value_spans(data, inputs)
        if found is None:
            return
        template = RequestTemplate(
            target,
            tuple(
                (alias, inputs[alias].dtype, inputs[alias].shape, inputs[alias].size, start)
                for alias, (start, _) in found.items()
            ),
        )
        others = tuple(_between(sorted(found.values()), len(data)))
        rest = b"".join(data[start:stop] for start, stop in others)
        if len(rest) > _MAX_OTHER_BYTES:
            return
        if self._kept >= _MAX_TEMPLATES:
            self._by_length, self._kept = {}, 0
        # Other threads walk through these while they are read: they are replaced, not changed.
        layouts = dict(self._by_length.get(len(data), {}))
        if others in layouts or len(layouts) < _MAX_LAYOUTS:
            layouts[others] = {**layouts.get(others, {}), rest: template}
            self._by_length[len(data)] = layouts
            self._kept += 1


def value_spans(data: bytes, inputs: Mapping[str, Array]) -> dict[str, Span] | None:
    """Return where the values of each input lie in a PredictRequest; None unless they lie there as memory, once."""
    found: dict[str, Span] = {}
    try:
        for number, wire, start, stop in _fields(data, 0, len(data)):
            if number != _INPUTS:
                continue
            entry = {field: span for field, span in _distinct(data, start, stop) if span}
            if wire != _DELIMITED or entry.keys() != {_KEY, _VALUE}:
                return None
            alias = data[slice(*entry[_KEY])].decode()
            span = _values(data, entry[_VALUE], inputs[alias])
            if span is None or alias in found:
                return None
            found[alias] = span
    except (ValueError, KeyError, IndexError):
        return None
    return found if found and found.keys() == inputs.keys() else None


def _values(data: bytes, tensor: Span, array: Array) -> Span | None:
    kind = array.dtype
    if kind.kind not in "fiuc" or kind.byteorder == ">" or not array.size:
        return None
    found = None
    for number, span in _distinct(data, *tensor):
        if number in _DESCRIPTION:
            continue
        if number != _CONTENT and _TYPED.get(number) != kind:
            return None
        if found is not None or span is None or span[1] - span[0] != array.nbytes:
            return None
        found = span
    return found


def _between(spans: list[Span], length: int) -> Iterator[Span]:
    at = 0
    for start, stop in spans:
        yield at, start
        at = stop
    yield at, length


def _distinct(data: bytes, start: int, stop: int) -> Iterator[tuple[int, Span | None]]:
    """Give the fields of a message, with a span where they are length-delimited.

    Raises:
        ValueError: a field that comes twice.
    """
    seen: set[int] = set()
    for number, wire, begin, end in _fields(data, start, stop):
        if number in seen:
            raise ValueError("a field comes twice")
        seen.add(number)
        yield number, (begin, end) if wire == _DELIMITED else None


def _fields(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Give number, wire type and the value's span of each field.

    Raises:
        ValueError: no such wire format.
        IndexError: the data ends too early.
    """
    at = start
    while at < stop:
        tag, at = read_varint(data, at)
        wire = tag & 7
        if wire == _DELIMITED:
            length, at = read_varint(data, at)
            end = at + length
        elif wire == _VARINT:
            _, end = read_varint(data, at)
        elif wire in {_FIXED64, _FIXED32}:
            end = at + (8 if wire == _FIXED64 else 4)
        else:
            raise ValueError(f"wire type {wire}")
        if end > stop:
            raise ValueError("a field reaches beyond its message")
        yield tag >> 3, wire, at, end
        at = end
