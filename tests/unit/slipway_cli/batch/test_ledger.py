"""One answer for each row, in order, wherever the process is killed: every change of the disk is tried."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from slipway_cli.batch.ledger import Files, Ledger, Outcome
from slipway_cli.errors import CliError, UsageError


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """A process that dies leaves what it has written; only a machine that dies does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


JOB = {"model": "m", "version": 3}
ROWS = 12


class KilledError(BaseException):
    """The process has ended."""


class MortalFiles(Files):
    """Ends the process at one change of the disk: before it, in the middle of it, or after it."""

    def __init__(self, at: int, half: str) -> None:
        self._left = at
        self._half = half

    def _step(self) -> bool:
        self._left -= 1
        if self._left == 0 and self._half == "before":
            raise KilledError
        return self._left == 0

    @override
    def write(self, file: BinaryIO, data: bytes) -> None:
        last = self._step()
        super().write(file, data[: len(data) // 2] if last and self._half == "middle" else data)
        if last:
            raise KilledError

    @override
    def sync(self, file: BinaryIO) -> None:
        last = self._step()
        super().sync(file)
        if last:
            raise KilledError

    @override
    def truncate(self, file: BinaryIO, length: int) -> None:
        last = self._step()
        super().truncate(file, length)
        if last:
            raise KilledError

    @override
    def rename(self, path: Path, target: Path) -> None:
        last = self._step()
        super().rename(path, target)
        if last:
            raise KilledError

    @override
    def remove(self, path: Path) -> None:
        last = self._step()
        super().remove(path)
        if last:
            raise KilledError


def outcome(number: int, run: int = 0) -> Outcome:
    """Every third row fails; the run tells whose answer it is."""
    failed = number % 3 == 0
    return Outcome(number, {"row": number, "run": run}, failed)


def batch(folder: Path, run: int, files: Files | None = None) -> None:
    """What `slipway batch` does with a ledger: from where it is to the end."""
    with Ledger(folder / "a.jsonl", folder / "e.jsonl", files) as ledger:
        ledger.open(JOB, overwrite=False)
        if not ledger.progress.finished:
            for number in range(ledger.progress.rows + 1, ROWS + 1, 2):
                rows = range(number, min(number + 2, ROWS + 1))
                ledger.append([outcome(row, run) for row in rows])
                if number % 4 == 1:
                    ledger.commit()
            ledger.commit(finished=True)
        ledger.name()


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["row"] for line in path.read_text().splitlines()]


def check(folder: Path) -> None:
    assert numbers(folder / "a.jsonl") == [row for row in range(1, ROWS + 1) if row % 3]
    assert numbers(folder / "e.jsonl") == [row for row in range(1, ROWS + 1) if not row % 3]
    assert sorted(path.name for path in folder.iterdir()) == ["a.jsonl", "e.jsonl"]


@pytest.mark.parametrize("half", ["before", "middle", "after"])
def test_killed_at_every_change_of_the_disk_and_gone_on_with(tmp_path: Path, half: str) -> None:
    deaths = 0
    for at in range(1, 1000):
        folder = tmp_path / f"{half}{at}"
        folder.mkdir()
        try:
            batch(folder, 1, MortalFiles(at, half))
        except KilledError:
            deaths += 1
        else:
            break
        if not (folder / "a.jsonl.state").exists() and (folder / "a.jsonl").exists():
            check(folder)  # It was over already.
            continue
        batch(folder, 2)
        check(folder)
    assert deaths > 30


@given(st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["before", "middle", "after"]))))
@settings(max_examples=60, deadline=None)
def test_killed_again_and_again(
    tmp_path_factory: pytest.TempPathFactory, deaths: list[tuple[int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    for run, (at, half) in enumerate(deaths):
        if (folder / "a.jsonl").exists() and not (folder / "a.jsonl.state").exists():
            break
        try:
            batch(folder, run, MortalFiles(at, half))
        except KilledError:
            continue
    if not (folder / "a.jsonl").exists() or (folder / "a.jsonl.state").exists():
        batch(folder, len(deaths))
    check(folder)


def test_a_file_that_lost_its_end_is_noticed(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a", tmp_path / "e") as ledger:
        ledger.open(JOB, overwrite=False)
        ledger.append([outcome(1)])
        ledger.commit()
    (tmp_path / "a.partial").write_bytes(b"")
    with (
        Ledger(tmp_path / "a", tmp_path / "e") as ledger,
        pytest.raises(UsageError, match="shorter"),
    ):
        ledger.open(JOB, overwrite=False)


def test_an_interrupted_append_is_cut_off(tmp_path: Path) -> None:
    """Ctrl-C between the files: what is committed after it is what was before."""
    with Ledger(tmp_path / "a", tmp_path / "e", MortalFiles(7, "after")) as ledger:
        ledger.open(JOB, overwrite=False)
        ledger.append([outcome(1)])
        with pytest.raises(KilledError):
            ledger.append([outcome(2), outcome(3)])
        ledger.commit()
    with Ledger(tmp_path / "a", tmp_path / "e") as ledger:
        ledger.open(JOB, overwrite=False)
        assert ledger.progress.rows == 1
        assert numbers(tmp_path / "a.partial") == [1]


def test_two_processes_never_write_one_file(tmp_path: Path) -> None:
    with (
        Ledger(tmp_path / "a", tmp_path / "e") as first,
        Ledger(tmp_path / "a", tmp_path / "e") as second,
    ):
        first.open(JOB, overwrite=False)
        for overwrite in (False, True):
            with pytest.raises(UsageError, match="another process"):
                second.open(JOB, overwrite=overwrite)
        first.append([outcome(1)])


@pytest.mark.parametrize("changed", [{"model": "n"}, {"version": 4}, {"version": None}])
def test_another_batch_does_not_go_on(tmp_path: Path, changed: dict[str, Any]) -> None:
    with Ledger(tmp_path / "a", tmp_path / "e") as ledger:
        ledger.open(JOB, overwrite=False)
    with Ledger(tmp_path / "a", tmp_path / "e") as ledger:
        with pytest.raises(UsageError, match=f"another {next(iter(changed))}"):
            ledger.open({**JOB, **changed}, overwrite=False)
        ledger.open({**JOB, **changed}, overwrite=True)


def test_what_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    for name in ("a", "e", "a.partial", "e.partial"):
        path = tmp_path / name
        path.write_text("mine")
        with (
            Ledger(tmp_path / "a", tmp_path / "e") as ledger,
            pytest.raises(UsageError, match="--overwrite"),
        ):
            ledger.open(JOB, overwrite=False)
        assert path.read_text() == "mine"
        path.unlink()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 9}'])
def test_a_state_of_something_else_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.state").write_text(content)
    with pytest.raises(UsageError, match=r"a\.state"):
        Ledger(tmp_path / "a", tmp_path / "e").begun()


def test_rows_out_of_order_are_a_fault_of_the_program(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a", tmp_path / "e") as ledger:
        ledger.open(JOB, overwrite=False)
        with pytest.raises(CliError, match="do not follow"):
            ledger.append([outcome(2)])
        assert (tmp_path / "a.partial").read_bytes() == b""
