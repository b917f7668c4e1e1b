"""Where answers go."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_cli.batch.ledger import Ledger, Outcome
from slipway_cli.batch.objects import ObjectAccess
from slipway_cli.batch.target import put_in_place, target
from slipway_cli.errors import UnavailableError, UsageError


def test_errors_lie_beside_the_answers(tmp_path: Path) -> None:
    found = target(f"{tmp_path}/a.jsonl", "")
    assert (found.errors, found.work_errors) == (
        f"{tmp_path}/a.errors.jsonl",
        tmp_path / "a.errors.jsonl",
    )
    assert target(f"{tmp_path}/a", "").errors == f"{tmp_path}/a.errors.jsonl"
    remote = target("s3://b/x/a.jsonl", "")
    assert (remote.errors, remote.remote) == ("s3://b/x/a.errors.jsonl", True)
    assert remote.work != target("s3://b/y/a.jsonl", "").work


@pytest.mark.parametrize(
    ("answers", "errors", "says"),
    [
        ("", "", "write the name of a file"),
        ("s3://b/", "", "write the name of a file"),
        ("/nowhere/a", "", "in a directory that exists"),
        ("/tmp", "", "in a directory that exists"),  # noqa: S108
        ("a", "s3://b/e", "two files, or two objects"),
        ("a", "a", "the same file"),
        ("https://h/a", "", "takes no files"),
    ],
)
def test_places_that_cannot_be(answers: str, errors: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        target(answers, errors)


def test_an_upload_that_fails_keeps_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = target("s3://bucket/a.jsonl", "")
    with Ledger(where.work, where.work_errors) as ledger:
        ledger.open({"model": "m"}, overwrite=False)
        ledger.append([Outcome(1, {"row": 1}, failed=False)])
        ledger.commit(finished=True)
        with pytest.raises(UnavailableError, match=r"s3://bucket/a\.jsonl cannot be reached"):
            put_in_place(where, ledger, ObjectAccess("http://127.0.0.1:1", "x"))
    with Ledger(where.work, where.work_errors) as ledger:
        ledger.open({"model": "m"}, overwrite=False)
        assert ledger.progress.finished
        assert ledger.partial_answers.read_text() == '{"row": 1}\n'
