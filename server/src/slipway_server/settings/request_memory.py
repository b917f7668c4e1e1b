"""How much memory requests may take, from what the container has. Pure."""

from dataclasses import dataclass
from typing import Final

LEAST_MESSAGE: Final = 64 << 20
MOST_MESSAGE: Final = 2**31 - 1
"""The most that gRPC allows."""
_UNKNOWN: Final = 2 << 30
"""Bytes of memory for which the limits are made where nobody says how many there are."""

_MESSAGE_SHARE: Final = 32
_ARRIVING_SHARE: Final = 16
_HELD_SHARE: Final = 8
_DECOMPRESSED_SHARE: Final = 8
_PARSING_SHARE: Final = 16 / 3

MOST_BODY: Final = 512 << 20
MOST_DECOMPRESSED: Final = 100 << 20
MOST_VALUES: Final = 8 << 20
_LEAST_BODY: Final = 16 << 20
_BODY_SHARE: Final = 8
_DECOMPRESSED_BODY_SHARE: Final = 32
_BYTES_FOR_A_VALUE: Final = 512
"""Bytes of memory for which there may be one JSON value, which takes up to 96: all together take 3/16."""


@dataclass(frozen=True, slots=True)
class RequestMemory:
    """Bytes that gRPC requests may take. All together they leave half of the memory to the models and the process.

    Each of the last four is for all requests at a time, and a single larger one gets what it needs when it is alone.

    Attributes:
        message: one request, as sent and decompressed.
        arriving: requests that are not complete yet.
        held: complete requests, as sent.
        decompressed: what becomes of those that are compressed.
        parsing: what becomes of them when they are parsed.
    """

    message: int
    arriving: int
    held: int
    decompressed: int
    parsing: int


def request_memory(memory: int, message: int | None = None) -> RequestMemory:
    """Return the limits.

    Args:
        memory: bytes of the container, or of the machine; 0 if unknown.
        message: the largest request, if it was asked for; 0 means the most that gRPC allows.

    >>> request_memory(8 << 30).message >> 20, request_memory(1 << 30).message >> 20
    (256, 64)
    """
    memory = memory or _UNKNOWN
    if message is None:
        message = min(max(memory // _MESSAGE_SHARE, LEAST_MESSAGE), MOST_MESSAGE)
    return RequestMemory(
        message or MOST_MESSAGE,
        memory // _ARRIVING_SHARE,
        memory // _HELD_SHARE,
        memory // _DECOMPRESSED_SHARE,
        int(memory / _PARSING_SHARE),
    )


@dataclass(frozen=True, slots=True)
class BodyMemory:
    """Limits of REST bodies. With those of gRPC they leave at least an eighth of the memory to the rest of the process.

    Attributes:
        body: bytes of one, as sent.
        bodies: bytes of all of them at a time, as sent.
        decompressed: bytes that a gzip body may grow to.
        values: numbers, strings, literals, lists, objects and names in the JSON of one, and of all that are parsed at a
            time.
    """

    body: int
    bodies: int
    decompressed: int
    values: int


def body_memory(memory: int) -> BodyMemory:
    """Return the limits that hold unless flags say otherwise.

    Args:
        memory: bytes of the container, or of the machine; 0 if unknown.

    >>> body_memory(8 << 30) == BodyMemory(MOST_BODY, MOST_BODY, MOST_DECOMPRESSED, MOST_VALUES)
    True
    >>> body_memory(1 << 30).body >> 20, body_memory(1 << 30).values
    (128, 2097152)
    """
    memory = memory or _UNKNOWN
    body = min(max(memory // _BODY_SHARE, _LEAST_BODY), MOST_BODY)
    return BodyMemory(
        body,
        body,
        min(max(memory // _DECOMPRESSED_BODY_SHARE, _LEAST_BODY), MOST_DECOMPRESSED),
        min(max(memory, _LEAST_BODY) // _BYTES_FOR_A_VALUE, MOST_VALUES),
    )
