"""Checks every tensor of a shard file against the checksums of its bundle's index, in one pass."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Protocol

from slipway_sync.exports.tensorbundle import crc
from slipway_sync.exports.tensorbundle.index import TensorEntry

_DT_STRING = 7
_DT_VARIANT = 21
_MAX_UINT32 = 2**32 - 1
_MAX_VARINT_BYTES = 10


class ChecksumError(ValueError):
    """A tensor's bytes are not what was written; the message names the tensor."""


class ShardChecker:
    """Is fed the bytes of one shard file in order and checks each tensor as it ends.

    Holds the state of one tensor, whatever the size of the file.
    """

    def __init__(self, tensors: Iterable[TensorEntry]) -> None:
        """Check these tensors, which lie in one shard and do not overlap."""
        self._waiting = sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size))[::-1]
        self._position = 0
        self._tensor: TensorEntry | None = None
        self._sum: _Sum = _NumericSum()
        self._next()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file.

        Raises:
            ChecksumError: A tensor that ended in these bytes is damaged.
        """
        start = self._position
        end = start + len(data)
        while self._tensor is not None and self._tensor.offset < end:
            tensor_end = self._tensor.offset + self._tensor.size
            first = max(self._tensor.offset, self._position)
            last = min(tensor_end, end)
            whole = first == start and last == end
            self._add(data if whole else data[first - start : last - start])
            self._position = last
            if last < tensor_end:
                break
            self._check()
            self._next()
        self._position = end

    def finish(self) -> None:
        """Say that the file ends here.

        Raises:
            ChecksumError: A tensor reaches over the end.
        """
        if self._tensor is not None:
            raise ChecksumError(f"tensor {self._tensor.name} extends past its end")

    def _next(self) -> None:
        """Go to the next tensor that has bytes; those without are checked on the way."""
        while self._waiting:
            self._tensor = self._waiting.pop()
            self._sum = _sum_of(self._tensor)
            if self._tensor.size:
                return
            self._check()
        self._tensor = None

    def _add(self, data: bytes) -> None:
        try:
            self._sum.add(data)
        except _DamagedError as error:
            raise self._error(str(error)) from error

    def _check(self) -> None:
        """Compare the sum of the tensor that just ended."""
        try:
            found = self._sum.result()
        except _DamagedError as error:
            raise self._error(str(error)) from error
        if self._tensor is not None and found != self._tensor.crc32c:
            raise self._error("its checksum is wrong")

    def _error(self, why: str) -> ChecksumError:
        name = self._tensor.name if self._tensor is not None else ""
        return ChecksumError(f"tensor {name} is damaged: {why}")


class _DamagedError(Exception):
    """A tensor's own framing is wrong."""


class _Sum(Protocol):
    """Running checksum of one tensor."""

    def add(self, data: bytes) -> None:
        """Take the next bytes."""

    def result(self) -> int:
        """Return the masked checksum of all of them."""


def _sum_of(tensor: TensorEntry) -> _Sum:
    if tensor.dtype == _DT_STRING:
        return _StringSum(tensor.elements, tensor.size)
    if tensor.dtype == _DT_VARIANT:
        return _VariantSum(tensor.elements)
    return _NumericSum()


class _NumericSum:
    """The bytes as they are."""

    def __init__(self) -> None:
        self._crc = 0

    def add(self, data: bytes) -> None:
        self._crc = crc.extend(self._crc, data)

    def result(self) -> int:
        return crc.masked(self._crc)


class _StringSum:
    """Varint lengths, a masked CRC of the lengths, the strings.

    The sum covers the lengths as fixed little-endian numbers, that CRC, and the strings.
    """

    def __init__(self, elements: int, size: int) -> None:
        self._lengths_left = elements
        self._bytes_left = 0
        self._size = size
        self._head = b""
        self._crc = 0
        self._in_strings = False

    def add(self, data: bytes) -> None:
        if not self._in_strings:
            data = self._lengths(self._head + data)
        if self._in_strings:
            self._crc = crc.extend(self._crc, data)
            self._bytes_left -= len(data)

    def result(self) -> int:
        if not self._in_strings or self._bytes_left != 0:
            raise _DamagedError("the lengths of its strings do not match its size")
        return crc.masked(self._crc)

    def _lengths(self, data: bytes) -> bytes:
        """Read the lengths and their checksum; return what follows, keep what is incomplete."""
        position = 0
        while self._lengths_left:
            length, after = _varint(data, position)
            if after == 0:
                break
            self._crc = crc.extend(self._crc, _fixed(length))
            self._bytes_left += length
            if self._bytes_left > self._size:
                raise _DamagedError("the lengths of its strings do not match its size")
            self._lengths_left -= 1
            position = after
        if self._lengths_left or len(data) - position < 4:  # noqa: PLR2004 - the CRC
            self._head = data[position:]
            return b""
        check = data[position : position + 4]
        if crc.masked(self._crc).to_bytes(4, "little") != check:
            raise _DamagedError("the checksum of its string lengths is wrong")
        self._crc = crc.extend(self._crc, check)
        self._in_strings = True
        self._head = b""
        return data[position + 4 :]


class _VariantSum:
    """For each element a varint length, the message, and a masked CRC of all before it.

    The sum covers each length as a fixed little-endian uint64, the message and that CRC.
    """

    def __init__(self, elements: int) -> None:
        self._elements_left = elements
        self._message_left = 0
        self._in_message = False
        self._head = b""
        self._crc = 0

    def add(self, data: bytes) -> None:
        data = self._head + data
        position = 0
        while self._elements_left:
            if not self._in_message:
                length, after = _varint(data, position)
                if after == 0:
                    break
                self._crc = crc.extend(self._crc, struct.pack("<Q", length))
                self._message_left, self._in_message, position = length, True, after
            taken = min(self._message_left, len(data) - position)
            self._crc = crc.extend(self._crc, data[position : position + taken])
            self._message_left -= taken
            position += taken
            if self._message_left or len(data) - position < 4:  # noqa: PLR2004 - the CRC
                break
            check = data[position : position + 4]
            if crc.masked(self._crc).to_bytes(4, "little") != check:
                raise _DamagedError("the checksum of an element is wrong")
            self._crc = crc.extend(self._crc, check)
            self._elements_left -= 1
            self._in_message = False
            position += 4
        self._head = data[position:]

    def result(self) -> int:
        if self._elements_left or self._head:
            raise _DamagedError("its number of elements does not match its shape")
        return crc.masked(self._crc)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Read a varint; the position behind it is 0 when the data ends before it does."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(data):
            return 0, 0
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value & (2**64 - 1), position + index + 1
    raise _DamagedError("a length is damaged")


def _fixed(length: int) -> bytes:
    return struct.pack("<I" if length <= _MAX_UINT32 else "<Q", length)
