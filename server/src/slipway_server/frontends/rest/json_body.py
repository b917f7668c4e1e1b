"""The JSON of request bodies: counted before it is built, and built within bounds for all requests together.

A list costs twenty times its two brackets, and while a value is built no other thread runs. So what a text would cost
is estimated: from its length, or where that could mean too much, from counts of a few characters.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np

from slipway_server.errors import invalid_argument
from slipway_server.frontends.codec.json_text import DEEPEST, check_depth
from slipway_server.frontends.http.messages import HttpRequest
from slipway_server.frontends.inflate import gunzip
from slipway_server.frontends.room import Room, Share

_VALUE_BYTES: Final = 96
"""What a value takes at most, its place in the list or object around it included. What a long string takes besides is
what it takes in the text, or four times that where a single character of it is beyond the Basic Multilingual Plane."""
_WIDEST: Final = 4

_TEXT_BYTES: Final = 40
"""What a byte of a text can become at most, when nobody has counted."""

_SMALL: Final = 16 << 10
"""Texts up to so many bytes wait for no room."""

_FEW: Final = 4 << 10
_BLOCK: Final = 64 << 10
"""Bytes that a processor's cache holds while they are compared with one character after the other."""
_SEPARATORS: Final = b",:[{"


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds of one body.

    Attributes:
        decompressed: bytes that a gzip body may grow to.
        values: numbers, strings, literals, lists, objects and names of members.
        depth: levels of nesting.
    """

    decompressed: int = 100 << 20
    values: int = 8 << 20
    depth: int = DEEPEST


def count_values(text: bytes) -> int:
    """Return about how many values a JSON text has, never fewer; separators inside strings count, too.

    >>> count_values(b'[1,[],{"a":2}]')
    7
    """
    if len(text) <= _FEW:
        return 1 + sum(map(text.count, _SEPARATORS))
    characters = np.frombuffer(text, np.uint8)
    blocks = (characters[at : at + _BLOCK] for at in range(0, len(text), _BLOCK))
    return 1 + sum(
        int(np.count_nonzero(block == separator)) for block in blocks for separator in _SEPARATORS
    )


class JsonBodies:
    """Opens the bodies of requests.

    Together, what is decompressed and parsed at a time takes no more memory than one body within the limits.
    """

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._room = Room(limits.decompressed + limits.values * _VALUE_BYTES)

    def open(
        self, request: HttpRequest, deadline: float | None, json_length: int | None = None
    ) -> "OpenBody":
        """Return a body whose JSON may be parsed.

        Args:
            request: with its body as sent.
            deadline: until when to wait for room, in monotonic seconds.
            json_length: where the JSON ends; None means with the body.

        Raises:
            ServingError: INVALID_ARGUMENT when the body is beyond a limit or is not what its headers say,
                DEADLINE_EXCEEDED when other bodies need all the room until then.
        """
        text, share = request.body, None
        inflated = b"gzip" in request.headers.get(b"content-encoding", b"").lower()
        if inflated:
            text, share = self._inflated(text, deadline, json_length)
        else:
            json = text if json_length is None else text[:json_length]
            if len(json) > _SMALL:
                share = self._room.take(self._cost(json), deadline)
        try:
            check_depth(text if json_length is None else text[:json_length], self._limits.depth)
        except Exception:
            if share is not None:
                share.close()
            raise
        return OpenBody(text, share, inflated=inflated)

    def _cost(self, text: bytes) -> int:
        if len(text) <= self._limits.values:  # no byte is more than one value
            return len(text) * _TEXT_BYTES
        values = count_values(text)
        self._check(values)
        # The parser makes a copy of its text.
        return len(text) * (1 if text.isascii() else _WIDEST) + values * _VALUE_BYTES

    def _inflated(
        self, data: bytes, deadline: float | None, json_length: int | None
    ) -> tuple[bytes, Share | None]:
        values = seen = 0
        ascii_only = True
        share: Share | None = None

        def see(part: bytes) -> None:
            nonlocal values, seen, ascii_only
            ascii_only = ascii_only and part.isascii()
            left = len(part) if json_length is None else max(json_length - seen, 0)
            seen += len(part)
            values += count_values(part if left >= len(part) else part[:left])
            self._check(values)

        def admit(size: int) -> None:
            nonlocal share
            if size > _SMALL:
                copies = 2 if ascii_only else 1 + _WIDEST
                share = self._room.take(copies * size + values * _VALUE_BYTES, deadline)

        try:
            return gunzip(data, self._limits.decompressed, see=see, admit=admit), share
        except Exception:
            if share is not None:
                share.close()
            raise

    def _check(self, values: int) -> None:
        if values > self._limits.values:
            raise invalid_argument(
                f"The request body has more than {self._limits.values} JSON values, and --rest_api_max_json_values "
                f"allows no more"
            )


class OpenBody:
    """A body and its share of the room, which is given back by `close` or at the end of the `with` block.

    Attributes:
        text: decompressed; empty once the body is closed.
        inflated: whether `text` is a copy of what was sent.
    """

    __slots__ = ("_share", "inflated", "text")

    def __init__(self, text: bytes, share: Share | None, *, inflated: bool) -> None:
        self.text = text
        self.inflated = inflated
        self._share = share

    def close(self) -> None:
        """Give the room back: neither the text nor what was parsed from it is needed any more."""
        self.text = b""
        if self._share is not None:
            self._share.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
