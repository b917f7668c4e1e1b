"""Which files a command line names, here and in a store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway_cli.batch.inputs import fingerprint, glob_pattern, input_files
from slipway_cli.batch.objects import ObjectAccess
from slipway_cli.errors import UsageError

ACCESS = ObjectAccess()


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("rows/*.csv", "rows/a.csv", True),
        ("rows/*.csv", "rows/a/b.csv", False),
        ("rows/**/*.csv", "rows/b.csv", True),
        ("rows/**/*.csv", "rows/a/c/b.csv", True),
        ("r?ws/[a-c].csv", "rows/b.csv", True),
        ("r?ws/[!a-c].csv", "rows/b.csv", False),
        ("a+(b).csv*", "a+(b).csv.gz", True),
        ("a[.csv", "a[.csv", True),
    ],
)
def test_globs_of_keys(pattern: str, key: str, matches: bool) -> None:  # noqa: FBT001
    assert bool(glob_pattern(pattern).fullmatch(key)) is matches


def test_a_file_that_is_there_is_meant_whatever_its_name(tmp_path: Path) -> None:
    for name in ("a[1].jsonl", "a1.jsonl"):
        (tmp_path / name).write_text("1")
    (file,) = input_files([str(tmp_path / "a[1].jsonl")], ACCESS)
    assert file.name == str(tmp_path / "a[1].jsonl")


def test_what_names_nothing_or_something_twice(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("1")
    for given, says in (
        ([tmp_path / "b.jsonl"], "does not exist"),
        ([tmp_path / "*.csv"], "matches no file"),
        ([tmp_path], "is no file"),
        (["-"], "stdin"),
        ([tmp_path / "a.jsonl", tmp_path / "*.jsonl"], "named twice"),
        (["https://host/*.csv"], "cannot be listed"),
        (["ftp://host/a.csv"], "neither a path nor an object"),
        (["s3://bucket"], "neither a path nor an object"),
    ):
        with pytest.raises(UsageError, match=says):
            input_files([str(one) for one in given], ACCESS)


def test_the_fingerprint_changes_with_any_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("1")
    before = fingerprint(input_files([str(path)], ACCESS))
    assert before == fingerprint(input_files([str(path)], ACCESS))
    os.utime(path, ns=(1, 1))
    assert before != fingerprint(input_files([str(path)], ACCESS))
