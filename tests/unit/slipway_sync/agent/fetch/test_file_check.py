"""A file on the volume is judged as a whole, however it came and in whatever steps it was read."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.fetch import file_check
from slipway_sync.agent.fetch.file_check import FileCheck
from slipway_sync.exports import Bundle, ExitCode, ObjectInfo, read_bundle
from small_exports import INDEX, SHARD_1, contents

FILES = contents(size=6000)
SHARD = FILES[SHARD_1]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_check, "_CHUNK", 700)


def bundle() -> Bundle:
    return read_bundle(FILES[INDEX], "variables/variables")


def check(directory: Path, content: bytes, **changes: str) -> FileCheck:
    path = directory / "shard"
    path.write_bytes(content)
    item = ObjectInfo("shard", len(SHARD), "", datetime(2024, 1, 1, tzinfo=UTC))
    tensors = [
        tensor for tensor in bundle().tensors if bundle().shard_path(tensor.shard) == SHARD_1
    ]
    return FileCheck(path, replace(item, **changes), tensors)


def rejected(found: FileCheck) -> SyncError:
    with pytest.raises(SyncError) as caught:
        found.finish()
    assert caught.value.code is ExitCode.REJECTED
    assert caught.value.object == "shard"
    return caught.value


@pytest.mark.parametrize("steps", [[], [1], [1000, 1000, 3000], [len(SHARD)], [10**9]])
def test_the_steps_do_not_matter(tmp_path: Path, steps: list[int]) -> None:
    found = check(tmp_path, SHARD)
    for end in steps:
        found.read(end)
    assert found.finish() == hashlib.sha256(SHARD).digest()


def test_what_comes_later_is_read_later(tmp_path: Path) -> None:
    found = check(tmp_path, SHARD[:2000] + bytes(len(SHARD) - 2000))
    found.read(2000)
    with (tmp_path / "shard").open("r+b") as file:
        file.seek(2000)
        file.write(SHARD[2000:])
    assert found.finish() == hashlib.sha256(SHARD).digest()


@pytest.mark.parametrize("position", [0, 500, len(SHARD) - 1])
def test_a_flipped_bit_is_said_at_the_end(tmp_path: Path, position: int) -> None:
    content = bytearray(SHARD)
    content[position] ^= 1
    found = check(tmp_path, bytes(content))
    found.read(len(content))  # Nothing yet: other parts of the file may be on their way.
    error = rejected(found)
    assert error.reason == "CorruptShard"
    assert str(error) == "shard is corrupt: tensor weights is damaged: its checksum is wrong"


def test_a_file_of_another_length_is_wrong(tmp_path: Path) -> None:
    assert rejected(check(tmp_path, SHARD[:-1])).reason == "WrongSize"
    assert rejected(check(tmp_path, SHARD + b"x")).reason == "WrongSize"
    assert rejected(check(tmp_path, b"")).reason == "WrongSize"


def test_another_hash_than_the_sources_is_wrong(tmp_path: Path) -> None:
    right = hashlib.sha256(SHARD).hexdigest()
    assert check(tmp_path, SHARD, sha256=right).finish().hex() == right
    other = "0" * 64
    assert rejected(check(tmp_path, SHARD, sha256=other)).reason == "WrongDigest"
    assert rejected(check(tmp_path, SHARD, sha256=other, etag=other)).reason == "WrongChecksum"


def test_it_is_sealed_open_and_closed_afterwards(tmp_path: Path) -> None:
    sealed: list[Path] = []
    found = check(tmp_path, SHARD)
    found.finish(lambda descriptor: sealed.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    assert sealed == [tmp_path / "shard"]
    found.close()


def test_a_file_that_is_gone_is_the_volumes_trouble(tmp_path: Path) -> None:
    found = check(tmp_path, SHARD)
    (tmp_path / "shard").unlink()
    with pytest.raises(SyncError) as caught:
        found.finish()
    assert caught.value.code is ExitCode.VOLUME_ERROR
