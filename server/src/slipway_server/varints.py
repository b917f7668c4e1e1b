"""Reads protobuf's integers of variable length. Pure."""

from typing import Final

_CONTINUES: Final = 0x80


def read_varint(data: "bytes | memoryview", at: int) -> tuple[int, int]:
    r"""Return the number that begins at a place, and the place behind it.

    Raises:
        IndexError: the data ends before it, or it has more than 64 bits.

    >>> read_varint(b"\x07\xac\x02", 0), read_varint(b"\x07\xac\x02", 1)
    ((7, 1), (300, 3))
    """
    value = data[at]
    at += 1
    if value < _CONTINUES:
        return value, at
    value &= 0x7F
    for shift in range(7, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _CONTINUES:
            return value, at
    raise IndexError("a varint without end")
