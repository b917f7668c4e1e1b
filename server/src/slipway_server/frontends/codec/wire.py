"""Protobuf's wire format, written by hand where objects for every number or label would cost more than the work."""

from typing import Final

_LENGTH_DELIMITED: Final = 2
_ONE_BYTE_VARINT: Final = 0x80
_SHORT: Final = tuple(bytes((number,)) for number in range(_ONE_BYTE_VARINT))


def varint(number: int) -> bytes:
    """Return the wire form of a non-negative integer below 2**64."""
    if number < _ONE_BYTE_VARINT:
        return _SHORT[number]
    out = bytearray()
    while number >= _ONE_BYTE_VARINT:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed_varint(number: int) -> bytes:
    """Return the wire form of an int32 or int64: negative numbers travel as 64-bit two's complement, ten bytes."""
    return varint(number if number >= 0 else number + (1 << 64))


def delimited(field: int, payload: bytes) -> bytes:
    """Return a length-delimited field: bytes, string, message or packed numbers."""
    return delimited_head(field, len(payload)) + payload


def delimited_head(field: int, length: int) -> bytes:
    """Return what stands before a length-delimited field's payload."""
    return varint(field << 3 | _LENGTH_DELIMITED) + varint(length)
