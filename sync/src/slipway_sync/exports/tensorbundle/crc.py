"""CRC32C as TensorFlow and LevelDB write it: masked."""

from __future__ import annotations

import google_crc32c

_DELTA = 0xA282EAD8
_MASK = 0xFFFFFFFF


def extend(crc: int, data: bytes) -> int:
    """Return the CRC32C of everything `crc` covers followed by `data`; start with 0."""
    result: int = google_crc32c.extend(crc, data)
    return result


def masked(crc: int) -> int:
    """Return a CRC32C in the form that is stored: a CRC of data that holds CRCs is weak."""
    return (((crc >> 15) | (crc << 17)) + _DELTA) & _MASK
