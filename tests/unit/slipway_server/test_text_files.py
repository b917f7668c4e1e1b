"""§2: text files that cannot be used are named in TensorFlow Serving's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_server.errors import ServingError
from slipway_server.text_files import read_message
from slipway_server.wire.batching_parameters_pb2 import BatchingParameters


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    path.write_text("# comment\nmax_batch_size { value: 8 }\n")
    assert read_message(str(path), BatchingParameters()).max_batch_size.value == 8


@pytest.mark.parametrize(
    "data",
    [b"max_batch_size { value: 1 ", b"\xff", b"nope: 1", b"max_batch_size {" * 50_000],
    ids=["cut off", "not UTF-8", "an unknown field", "deep"],
)
def test_what_is_no_such_message(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "b.txt"
    path.write_bytes(data)
    with pytest.raises(ServingError) as error:
        read_message(str(path), BatchingParameters())
    assert str(error.value) == f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "\n nope: 1",
            '2:2: Message type "tensorflow.serving.BatchingParameters" has no field named "nope"',
        ),
        ("max_batch_size", "1:15: "),
        ("\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ("x" * 10_000, "1:1: "),
    ],
    ids=["an unknown field", "cut off", "not UTF-8", "long"],
)
def test_where_a_file_is_wrong_is_told_in_one_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "b.txt"
    path.write_bytes(text.encode("latin-1"))
    told: list[str] = []
    with pytest.raises(ServingError):
        read_message(str(path), BatchingParameters(), told.append)
    [line] = told
    prefix = "Error parsing text-format tensorflow.serving.BatchingParameters: "
    assert line.startswith(prefix + sentence)
    assert "\n" not in line
    assert len(line) < 700


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServingError) as error:
        read_message(f"{tmp_path}/none", BatchingParameters())
    assert str(error.value) == f"NOT_FOUND: {tmp_path}/none; No such file or directory"
