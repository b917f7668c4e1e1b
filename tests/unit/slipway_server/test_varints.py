"""Protobuf's integers of variable length, from bytes of any kind."""

from __future__ import annotations

import pytest

from slipway_server.frontends.codec.wire import varint
from slipway_server.varints import read_varint


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**14 - 1, 2**14, 2**32, 2**63, 2**64 - 1])
def test_what_was_written_is_read(number: int) -> None:
    data = b"\xff" + varint(number) + b"\x80"
    assert read_varint(data, 1) == read_varint(memoryview(data), 1) == (number, len(data) - 1)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9, b"\xff" * 10, b"\xff" * 100])
def test_what_does_not_end_is_no_number(data: bytes) -> None:
    for kind in (bytes, memoryview):
        with pytest.raises(IndexError):
            read_varint(kind(data), 0)
