"""Reader of LevelDB's table format, which `variables.index` is written in.

A table ends with a footer that points to an index block; that one points to data blocks; a block is
a run of entries whose keys share a prefix with the key before. The input is not trusted: every
length is checked against the bytes that are there, every block against its checksum, and anything
wrong is one error, TableError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from slipway_sync.exports.tensorbundle import crc

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5  # One byte of compression type, four of checksum.
_MAX_KEY = 1 << 16
# Sharing lets a key of that length take five bytes; real keys have one or two hundred, and there are some 100 000.
_MAX_KEYS = 64 << 20
_VARINT64 = 10


class TableError(ValueError):
    """The bytes are no readable table; the message says why, as the end of a sentence."""


def entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table in its order.

    Raises:
        TableError: The bytes are not a table, or a damaged one.
    """
    if len(table) < _FOOTER:
        raise TableError(f"it has {len(table)} bytes, a table has at least {_FOOTER}")
    (magic,) = struct.unpack_from("<Q", table, len(table) - 8)
    if magic != _MAGIC:
        raise TableError(
            "it does not end with a table's magic number: it is truncated or not a table"
        )
    footer = table[-_FOOTER:]
    position = 0
    for _ in range(2):  # The metaindex block holds nothing that matters here.
        _, position = varint(footer, position)
    offset, position = varint(footer, position)
    size, _ = varint(footer, position)

    previous: bytes | None = None
    blocks_end = 0
    keys = _Keys()
    for _, handle in keys.block_entries(_block(table, offset, size)):
        block_offset, position = varint(handle, 0)
        block_size, position = varint(handle, position)
        if position != len(handle):
            raise TableError("its index block is damaged: a block handle has trailing bytes")
        if block_offset < blocks_end:
            # Overlapping blocks would let a small file unfold into endless entries.
            raise TableError("its index block is damaged: blocks overlap")
        blocks_end = block_offset + block_size
        for key, value in keys.block_entries(_block(table, block_offset, block_size)):
            if previous is not None and key <= previous:
                raise TableError("its keys are not in order")
            previous = key
            yield key, value


def varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """Read an unsigned varint64; return it and the position behind it.

    Raises:
        TableError: It runs over the end of the data or over 64 bits.
    """
    value = 0
    for index in range(_VARINT64):
        if position + index >= len(data):
            raise TableError("a number extends past the end")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            if value >> 64:
                break
            return value, position + index + 1
    raise TableError("a number has more than 64 bits")


def _block(table: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + _TRAILER > len(table) - _FOOTER:
        raise TableError(f"a block at {offset} of {size} bytes extends past its end")
    kind = table[end]
    (expected,) = struct.unpack_from("<I", table, end + 1)
    if crc.masked(crc.extend(0, table[offset : end + 1])) != expected:
        raise TableError(f"the checksum of its block at {offset} is wrong")
    if kind != 0:
        raise TableError(f"its block at {offset} is compressed (type {kind})")
    return table[offset:end]


class _Keys:
    """Reads the entries of a table's blocks, whose keys must not unfold to too much."""

    def __init__(self) -> None:
        self._bytes = 0

    def block_entries(self, block: bytes) -> Iterator[tuple[bytes, bytes]]:
        if len(block) < 4:  # noqa: PLR2004 - the count of restart points
            raise TableError("a block is too short")
        (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
        end = len(block) - 4 - 4 * restarts
        if end < 0:
            raise TableError("a block's restart points extend past its start")
        key = b""
        position = 0
        while position < end:
            shared, position = varint(block, position)
            unshared, position = varint(block, position)
            length, position = varint(block, position)
            if shared > len(key):
                raise TableError("a key shares more than the key before it has")
            if position + unshared + length > end:
                raise TableError("an entry extends past the end of its block")
            if shared + unshared > _MAX_KEY:
                raise TableError(f"a key is longer than {_MAX_KEY} bytes")
            self._bytes += shared + unshared
            if self._bytes > _MAX_KEYS:
                raise TableError(f"its keys have more than {_MAX_KEYS >> 20} MiB")
            key = key[:shared] + block[position : position + unshared]
            position += unshared
            yield key, block[position : position + length]
            position += length
