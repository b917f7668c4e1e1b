"""Small changes to bytes, drawn from a seeded generator: the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

_INTERESTING = (
    *(b"\0", b"\xff", b"\x7f", b"\x80", b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\x0f", b"-", b"0"),
    *(b"9" * 30, b"1e400", b"NaN", b"[", b"]", b"{", b"}", b'"', b"\\", b"\\ud800", b"\xc3\x28"),
    *(b"\r\n", b"\r\n\r\n", b":", b"/", b"%00", b"%", b"=", b",", b"inf", b" "),
)


def mutated(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Return the bytes with one to four changes; pieces of others may be put in."""
    out = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(out))
        length = min(random.choice((1, 1, 2, 4, 8, 32)), len(out) - at)
        match random.randint(0, 6):
            case 0 if length:
                out[at] ^= 1 << random.randint(0, 7)
            case 1:
                out[at:at] = random.choice(_INTERESTING)
            case 2:
                out[at : at + length] = random.choice(_INTERESTING)
            case 3:
                del out[at : at + length]
            case 4:
                out[at:at] = out[at : at + length] * random.choice((1, 2, 20))
            case 5 if others:
                other = random.choice(others)
                start = random.randint(0, len(other))
                out[at:at] = other[start : start + random.randint(0, 64)]
            case _:
                out[at : at + length] = random.randbytes(length)
    return bytes(out)
