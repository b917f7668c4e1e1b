"""How far a batch is, on a terminal and in a pipe."""

from __future__ import annotations

import re

import pytest

from slipway_cli.commands import bars
from slipway_cli.commands.bars import bytes_bar, progress_line, rows_bar


def test_a_terminal_gets_a_bar_with_rate_and_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with rows_bar(1000, on_terminal=True) as report:
        report(10, 0, 100)
        report(50, 2, 500)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "50 rows" in shown
    assert "50%" in shown
    assert "rows/s" in shown
    assert "2 failed" in shown


def test_a_pipe_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 5.0, 12.0, 12.0, 13.0, 23.0, 23.0])
    monkeypatch.setattr(bars.time, "monotonic", lambda: next(clock))
    with rows_bar(200, on_terminal=False) as report:
        report(100, 0, 20)
        report(220, 1, 40)
        report(230, 1, 50)
        report(330, 1, 100)
    assert capsys.readouterr().err.splitlines() == [
        "220 rows (20%), 10 rows/s, 1 failed",
        "330 rows (50%), 10 rows/s, 1 failed",
    ]


def test_nothing_to_read_and_more_read_than_there_was() -> None:
    assert progress_line(1, 0, 0, 0, 1.0) == "1 rows, 1 rows/s"
    assert progress_line(1, 0, 300, 200, 1.0) == "1 rows (100%), 1 rows/s"


def test_bytes_are_shown_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    for shown in (False, True):
        with bytes_bar("digits", shown=shown) as report:
            report(1 << 20, 2 << 20)
        assert ("digits" in capsys.readouterr().err) is shown
