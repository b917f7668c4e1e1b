"""Rows of every format, and what is wrong with some."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from slipway_cli.batch.inputs import input_files
from slipway_cli.batch.objects import ObjectAccess
from slipway_cli.batch.records import Row, format_of, formats_of, read_rows
from slipway_cli.errors import CliError, UsageError
from slipway_cli.serving.signature import Signature, TensorSpec

FLOAT, STRING, INT, BOOL = (TensorSpec(dtype, (-1,)) for dtype in (1, 7, 9, 10))
VECTOR = Signature("", {"x": TensorSpec(1, (-1, 2))}, {})
SCALAR = Signature("", {"x": FLOAT}, {})
NAMED = Signature("", {"word": STRING, "k": INT, "on": BOOL}, {})
TEXT = Signature("", {"examples": STRING}, {})


def rows(path: Path, content: bytes, signature: Signature, input_name: str = "") -> list[Row]:
    path.write_bytes(content)
    files = input_files([str(path)], ObjectAccess())
    return list(read_rows(files, formats_of(files, ""), signature, input_name))


def instances(found: list[Row]) -> list[Any]:
    return [one.instance for one in found]


def masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + masked(head) + data + masked(data)


def test_lines_of_json_also_compressed(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbf[1]\n\n{"x": 2}\r\nnot json\n3'
    for name, content in (("a.jsonl", text), ("a.jsonl.gz", gzip.compress(text))):
        found = rows(tmp_path / name, content, SCALAR)
        assert instances(found) == [[1], {"x": 2}, None, 3]
        assert [one.number for one in found] == [1, 2, 3, 4]
        assert found[2].where == f"{tmp_path / name}, line 4"
        assert found[2].error.startswith("it is not JSON")
        assert found[-1].position == len(content)


def test_cells_become_what_the_inputs_of_their_columns_want(tmp_path: Path) -> None:
    text = 'k,word,on\n1,"a, ""b""\nc",true\n2,\xff,0\nx,y,1\n4,z\n5,w,maybe\n'.encode("latin-1")
    found = rows(tmp_path / "a.csv", text, NAMED)
    assert found[0].instance == {"k": 1, "word": 'a, "b"\nc', "on": True}
    assert found[1].instance == {"k": 2, "word": {"b64": "/w=="}, "on": False}
    assert [one.error for one in found[2:]] == [
        "column 'k' is of type int64, and 'x' is not",
        "it has 2 cells, and the header 3",
        "column 'on' is of type bool, and 'maybe' is not",
    ]
    assert found[1].where.endswith("line 4"), "the line that an editor shows"


def test_columns_without_names_of_inputs_are_the_vector_of_the_only_one(tmp_path: Path) -> None:
    assert instances(rows(tmp_path / "v.csv", b"a,b\n1,2.5\n3,4\n", VECTOR)) == [
        [1.0, 2.5],
        [3.0, 4.0],
    ]
    assert instances(rows(tmp_path / "s.csv", b"value\n1\n", SCALAR)) == [1.0]
    assert rows(tmp_path / "empty.csv", b"", SCALAR) == []
    with pytest.raises(UsageError, match="no input 'wrod': did you mean 'word'"):
        rows(tmp_path / "n.csv", b"wrod,k,on\na,1,1\n", NAMED)


def test_records_are_the_bytes_of_the_only_input_of_strings(tmp_path: Path) -> None:
    content = record(b"one") + record(b"") + record(b"x" * 100_000)
    found = rows(tmp_path / "a.tfrecord", content, TEXT)
    assert instances(found)[:2] == [{"b64": "b25l"}, {"b64": ""}]
    assert found[2].size == 100_000
    named = rows(tmp_path / "b.tfrecord", record(b"one"), NAMED)
    assert instances(named) == [{"word": {"b64": "b25l"}}]
    with pytest.raises(UsageError, match="name one with --input"):
        rows(tmp_path / "c.tfrecord", content, SCALAR)
    with pytest.raises(UsageError, match="no input 'wrod'"):
        rows(tmp_path / "d.tfrecord", content, NAMED, "wrod")


def test_a_damaged_record_is_one_error_and_a_damaged_length_ends_the_file(tmp_path: Path) -> None:
    good = record(b"good")
    flipped = bytearray(record(b"flipped"))
    flipped[12] ^= 1
    found = rows(tmp_path / "a.tfrecord", good + bytes(flipped) + good, TEXT)
    assert [one.error for one in found] == ["", "its checksum is wrong", ""]
    for broken in (good[:-1], good + b"\0" * 5, good + b"\xff" * 12, good[:3]):
        with pytest.raises(CliError, match="damaged or truncated"):
            rows(tmp_path / "b.tfrecord", broken, TEXT)


def test_half_a_gzip_file_is_told(tmp_path: Path) -> None:
    content = gzip.compress(b"1\n" * 100_000)
    for broken in (content[:-10], b"plain text", content[:-8] + b"\1" * 8):
        with pytest.raises(UsageError, match="no whole gzip file"):
            rows(tmp_path / "a.jsonl.gz", broken, SCALAR)


def test_rows_are_numbered_through_all_files(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.jsonl").write_text(f'"{name}"\n')
    files = input_files([str(tmp_path / "c.jsonl"), str(tmp_path / "[ab].jsonl")], ObjectAccess())
    found = list(read_rows(files, formats_of(files, ""), TEXT, ""))
    assert [(one.number, one.instance) for one in found] == [(1, "c"), (2, "a"), (3, "b")]
    assert found[-1].position == sum(file.size for file in files)


def test_a_format_is_told_by_the_name_or_asked_for() -> None:
    assert format_of("s3://b/A.NDJSON.gz") == "jsonl"
    assert format_of("x.tfrecords") == "tfrecord"
    with pytest.raises(UsageError, match="give --format"):
        format_of("rows.txt")
    with pytest.raises(UsageError, match="there is no xml"):
        formats_of((), "xml")
