"""§17: the reader of LevelDB's tables."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_sync.exports.tensorbundle.leveldb_table import TableError, entries, varint
from tables import MAGIC, masked_crc, table
from tables import varint as write_varint

TABLES = st.dictionaries(st.binary(max_size=20), st.binary(max_size=40), max_size=60)


@given(TABLES, st.integers(1, 10), st.integers(1, 20))
def test_what_was_written_is_read(
    content: dict[bytes, bytes], per_block: int, restart_interval: int
) -> None:
    written = table(content, per_block=per_block, restart_interval=restart_interval)
    assert list(entries(written)) == sorted(content.items())


@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_are_one_documented_error_or_a_table(data: bytes, footed: bool) -> None:  # noqa: FBT001
    if footed:
        data += struct.pack("<Q", MAGIC)
    try:
        list(entries(data))
    except TableError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


@given(TABLES, st.data())
@settings(max_examples=300)
def test_a_changed_byte_is_never_read_as_something_else(
    content: dict[bytes, bytes], data: st.DataObject
) -> None:
    written = bytearray(table(content))
    position = data.draw(st.integers(0, len(written) - 1))
    written[position] ^= data.draw(st.integers(1, 255))
    try:
        found = list(entries(bytes(written)))
    except TableError:
        return
    assert found == sorted(content.items())  # The byte was padding or the metaindex.


@given(TABLES, st.integers(0, 400))
def test_a_cut_table_is_an_error(content: dict[bytes, bytes], kept: int) -> None:
    written = table(content)
    with pytest.raises(TableError):
        list(entries(written[: min(kept, len(written) - 1)]))


@given(st.integers(0, 2**64 - 1))
def test_varints_round_trip(value: int) -> None:
    written = write_varint(value)
    assert varint(written, 0) == (value, len(written))


def test_a_varint_over_64_bits_is_an_error() -> None:
    with pytest.raises(TableError, match="64 bits"):
        varint(b"\xff" * 9 + b"\x7f", 0)


def sealed(block: bytes, kind: int = 0) -> bytes:
    content = block + bytes([kind])
    return content + struct.pack("<I", masked_crc(content))


def footer(offset: int, size: int) -> bytes:
    handles = write_varint(0) + write_varint(0) + write_varint(offset) + write_varint(size)
    return handles.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def entry(key: bytes, value: bytes, shared: int = 0) -> bytes:
    return write_varint(shared) + write_varint(len(key)) + write_varint(len(value)) + key + value


END = struct.pack("<II", 0, 1)


@pytest.mark.parametrize(
    ("index", "why"),
    [
        (entry(b"k", write_varint(0) + write_varint(1 << 40)), "extends past its end"),
        (entry(b"k", write_varint(1 << 63) + write_varint(1 << 63)), "extends past its end"),
        (entry(b"k", b"\x80"), "a number extends past the end"),
        (entry(b"k", write_varint(0) + write_varint(0) + b"x"), "trailing bytes"),
        (entry(b"k", b"", shared=5), "shares more than"),
        (b"\x00\x05\x00k", "extends past the end of its block"),
    ],
)
def test_lengths_that_lie_are_errors(index: bytes, why: str) -> None:
    block = index + END
    with pytest.raises(TableError, match=why):
        list(entries(sealed(block) + footer(0, len(block))))


def test_a_small_file_does_not_unfold_through_overlapping_blocks() -> None:
    data = sealed(entry(b"a", b"1") + END)
    handle = write_varint(0) + write_varint(len(data) - 5)
    index = entry(b"a", handle) + entry(b"b", handle) + END
    with pytest.raises(TableError, match="overlap"):
        list(entries(data + sealed(index) + footer(len(data), len(index))))


def test_a_compressed_block_is_named() -> None:
    data = sealed(b"anything", kind=1)
    index = entry(b"a", write_varint(0) + write_varint(8)) + END
    with pytest.raises(TableError, match=r"compressed \(type 1\)"):
        list(entries(data + sealed(index) + footer(len(data), len(index))))
