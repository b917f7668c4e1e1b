"""Inputs that are made to do harm, built without taking the memory they announce."""

from __future__ import annotations

import struct
import zlib

MIB = 1 << 20

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def gzip_bomb(size: int, *, announced: int | None = None) -> bytes:
    """Return about `size / 1000` bytes that decompress to `size` zeros, which are whole MiBs.

    The checksum at the end is wrong: nobody should get as far.

    Args:
        announced: what the trailer says of the size instead of the truth.
    """
    packer = zlib.compressobj(9, wbits=-15)
    # A full flush forgets what was before, so the same block can follow itself.
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    count = size // MIB
    trailer = struct.pack("<II", 0, (size if announced is None else announced) % (1 << 32))
    return _HEADER + block * count + b"\x03\0" + trailer
