"""gzip request bodies, decompressed within bounds of size, memory and time."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from slipway_server.errors import ServingError, invalid_argument

GZIP: Final = zlib.MAX_WBITS | 16
GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_MAGIC: Final = b"\x1f\x8b"
_TRAILER_SIZE: Final = 4
_BEST_RATIO: Final = 1032
"""What deflate can make of one byte at most."""
_MAX_MEMBERS: Final = 10_000
"""Members can be 20 bytes long and hold nothing; each costs a decompressor all the same."""
_FIRST_INPUT, _INPUT, _OUTPUT = 1 << 10, 64 << 10, 256 << 10
"""Bytes handed to a decompressor, and taken from it, at a time. What it leaves unused is copied each time, so that a
new member gets little at first."""
_KEEP: Final = 1 << 20
"""What is kept of a body while nobody knows yet that it stays within its limit, and that there is room for it."""


def _too_large(limit: int) -> ServingError:
    return invalid_argument(f"The request body grows beyond {limit} bytes when decompressed")


def _nothing(_of: object) -> None:
    pass


def gunzip(
    data: bytes,
    limit: int,
    *,
    see: Callable[[bytes], None] = _nothing,
    admit: Callable[[int], None] = _nothing,
    too_large: Callable[[int], ServingError] = _too_large,
    form: int = GZIP,
) -> bytes:
    """Decompress a gzip body of one or more members, never beyond `limit` bytes.

    A body that grows large is first measured, piece by piece, and only then decompressed into memory: a small body
    that stands for a gigabyte costs neither the memory nor, when it says so itself, the time.

    Args:
        data: the body.
        limit: bytes that it may grow to.
        see: is shown every piece once, while the body is measured; may refuse it.
        admit: is told the size before more than 1 MiB of it is kept; may refuse it, or wait for room.
        too_large: makes the error for a body beyond the limit.
        form: `GZIP`, or `GZIP_OR_ZLIB` for both.

    Raises:
        ServingError: INVALID_ARGUMENT when it is no gzip or is cut short; `too_large`; what `see` and `admit` raise.
    """
    # The last member's own word about its size; if it lies, the data is broken and an error comes either way.
    announced = int.from_bytes(data[-_TRAILER_SIZE:], "little")
    if data.startswith(_MAGIC) and limit < announced <= len(data) * _BEST_RATIO:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    for part in _pieces(memoryview(data), form):
        size += len(part)
        if size > limit:
            raise too_large(limit)
        see(part)
        if size <= _KEEP:
            parts.append(part)
        else:
            parts.clear()
    admit(size)
    return b"".join(parts if size <= _KEEP else _pieces(memoryview(data), form))


def _pieces(data: memoryview, form: int) -> Iterator[bytes]:
    at = members = 0
    while at < len(data):
        members += 1
        if members > _MAX_MEMBERS:
            raise invalid_argument(f"The gzip request body has more than {_MAX_MEMBERS} members")
        inflater = zlib.decompressobj(wbits=form)
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
