"""TFRecord files: what is written can be read, and what is no such file, or cut short, is told from a whole one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from slipway_server.errors import Code, ServingError
from slipway_server.storage.records import RecordWriter, _masked, read_records

RECORDS = [b"", b"one", bytes(range(256)) * 300]

# Of `tf.io.TFRecordWriter`, with the one record `b"one"`.
HEAD = 12
WRITTEN_BY_TENSORFLOW = bytes.fromhex("0300000000000000b099490e6f6e6501405508")


def written(path: Path, records: list[bytes]) -> bytes:
    writer = RecordWriter(str(path))
    for record in records:
        writer.write(record)
    writer.close()
    return path.read_bytes()


def read(path: Path, content: bytes) -> list[bytes] | tuple[Code, str]:
    path.write_bytes(content)
    try:
        return list(read_records(path))
    except ServingError as error:
        return error.code, error.message


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "b", written(tmp_path / "a", RECORDS)) == RECORDS


def test_the_bytes_are_those_of_tensorflow(tmp_path: Path) -> None:
    assert written(tmp_path / "a", [b"one"]) == WRITTEN_BY_TENSORFLOW


def test_what_is_flushed_is_in_the_file(tmp_path: Path) -> None:
    writer = RecordWriter(str(tmp_path / "a"))
    writer.write(b"one")
    writer.flush()
    assert (tmp_path / "a").read_bytes() == WRITTEN_BY_TENSORFLOW
    writer.close()


@pytest.mark.parametrize("length", range(len(WRITTEN_BY_TENSORFLOW)))
def test_a_file_that_was_cut_is_what_it_is_to_tensorflow(tmp_path: Path, length: int) -> None:
    whole = WRITTEN_BY_TENSORFLOW
    message = f"truncated record at {len(whole)}' failed with Read less bytes than requested"
    expected = [b"one"] if length < HEAD else (Code.DATA_LOSS, message)
    assert read(tmp_path / "a", whole + whole[:length]) == expected


@pytest.mark.parametrize("at", range(len(WRITTEN_BY_TENSORFLOW)))
def test_a_byte_that_was_changed_is_found(tmp_path: Path, at: int) -> None:
    content = bytearray(WRITTEN_BY_TENSORFLOW)
    content[at] ^= 1
    found = read(tmp_path / "a", bytes(content))
    where = "0 (Is this even a TFRecord file?)" if at < HEAD else "12"
    assert found == (Code.DATA_LOSS, f"corrupted record at {where}")


def test_no_memory_is_taken_for_a_length_beyond_the_file(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2**60)
    content = length + struct.pack("<I", _masked(length)) + b"short"
    assert read(tmp_path / "a", content) == (
        Code.DATA_LOSS,
        "truncated record at 0' failed with Read less bytes than requested",
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"NOT_FOUND: .*/gone; No such file"):
        list(read_records(tmp_path / "gone"))
