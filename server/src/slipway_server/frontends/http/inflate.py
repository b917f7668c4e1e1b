"""gzip request bodies, decompressed within bounds of size, memory and time."""

import zlib
from collections.abc import Iterator
from typing import Final

from slipway_server.errors import ServingError, invalid_argument

_GZIP: Final = zlib.MAX_WBITS | 16
_MAGIC: Final = b"\x1f\x8b"
_TRAILER_SIZE: Final = 4
_BEST_RATIO: Final = 1032
"""What deflate can make of one byte at most."""
_MAX_MEMBERS: Final = 10_000
"""Members can be 20 bytes long and hold nothing; each costs a decompressor all the same."""
_FIRST_INPUT, _INPUT, _OUTPUT = 1 << 10, 64 << 10, 256 << 10
"""Bytes handed to a decompressor, and taken from it, at a time. What it leaves unused is copied each time, so that a
new member gets little at first."""
_KEEP: Final = 8 << 20
"""What is kept of a body while nobody knows yet that it stays within its limit."""


def gunzip(data: bytes, limit: int) -> bytes:
    """Decompress a gzip body of one or more members, never beyond `limit` bytes.

    A body that grows large is first measured, piece by piece, and only then decompressed into memory: a small body
    that stands for a gigabyte costs neither the memory nor, when it says so itself, the time.

    Raises:
        ServingError: INVALID_ARGUMENT when it is no gzip, is cut short or grows beyond the limit.
    """
    # The last member's own word about its size; if it lies, the data is broken and an error comes either way.
    announced = int.from_bytes(data[-_TRAILER_SIZE:], "little")
    if data.startswith(_MAGIC) and limit < announced <= len(data) * _BEST_RATIO:
        raise _too_large(limit)
    kept = _inflate(data, limit, min(_KEEP, limit))
    return _inflate(data, limit, limit) or b"" if kept is None else kept


def _inflate(data: bytes, limit: int, keep: int) -> bytes | None:
    """Decompress everything; None when it is more than `keep` bytes, which are thrown away."""
    parts: list[bytes] = []
    size = 0
    for part in _pieces(memoryview(data)):
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if size <= keep:
            parts.append(part)
        else:
            parts.clear()
    return b"".join(parts) if size <= keep else None


def _pieces(data: memoryview) -> Iterator[bytes]:
    at = members = 0
    while at < len(data):
        members += 1
        if members > _MAX_MEMBERS:
            raise invalid_argument(f"The gzip request body has more than {_MAX_MEMBERS} members")
        inflater = zlib.decompressobj(wbits=_GZIP)
        step = _FIRST_INPUT
        while not inflater.eof:
            if at >= len(data):
                raise invalid_argument("The gzip request body is truncated")
            piece = data[at : at + step]
            try:
                yield inflater.decompress(piece, _OUTPUT)
            except zlib.error as error:
                raise invalid_argument(
                    f"Error decompressing the gzip request body: {error}"
                ) from error
            rest = inflater.unused_data or inflater.unconsumed_tail
            at += len(piece) - len(rest)
            step = _INPUT


def _too_large(limit: int) -> ServingError:
    return invalid_argument(f"The request body grows beyond {limit} bytes when decompressed")
