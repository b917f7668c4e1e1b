"""The benchmark of a sync: its export is one that proves complete, and its page says what was measured."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from slipway_sync.exports import Verdict
from slipway_sync.stores import LocalStore, prove
from sync_bench import exports, measuring, report
from sync_bench.clients import KSERVE, S5CMD, TRANSFER
from sync_bench.measuring import Run


def test_the_export_is_complete_and_as_large_as_was_asked(tmp_path: Path) -> None:
    exports.write(tmp_path / "1", size=3_000_000, files=40)
    store = LocalStore(tmp_path)
    listing = asyncio.run(store.listing("1"))
    assert len(listing) == 40
    assert sum(item.size for item in listing) == pytest.approx(3_000_000, rel=0.001)
    assert asyncio.run(prove(store, "1", listing)).verdict is Verdict.COMPLETE


def run(subject: str, seconds: float) -> Run:
    asked = Counter(GetObject=3, ListObjectsV2=1)
    return Run(subject, seconds, 2 * seconds, 50.0, 0.1, asked, 0.0, seconds)


def test_a_ratio_is_that_of_the_runs_of_one_round() -> None:
    runs = [run(S5CMD, 1.0), run(TRANSFER, 2.0), run(S5CMD, 3.0), run(TRANSFER, 3.0)]
    runs += [run(S5CMD, 8.0), run(TRANSFER, 4.0)]
    found = {one.goal.name: one for one in report.verdicts(runs)}
    one = found["bytes on their way, time: s5cmd / slipway-sync"]
    assert (one.value, one.low, one.high) == (1.0, 0.5, 2.0)
    assert one.word == "met, within noise"
    assert not any(KSERVE in name for name in found), "who did not run is not judged"


@pytest.mark.parametrize(("theirs", "word"), [(2.0, "met"), (0.5, "missed")])
def test_a_promise_is_met_or_missed(theirs: float, word: str) -> None:
    found = report.verdicts([run(S5CMD, theirs), run(TRANSFER, 1.0)] * 3)
    assert [one.word for one in found if one.goal.limit == 0.9] == [word]


def test_the_figures_count_requests_by_kind() -> None:
    lines = report.figures([run(S5CMD, 1.0), run(S5CMD, 2.0)], 3_000_000)
    assert lines[-1] == "| s5cmd | 1.50 | 1.00–2.00 | 1.50 | 2 | 3.00 | 0.10 | 50 | 3 | 0 | 1 |"


def test_only_where_it_was_made_a_promise_is_shown() -> None:
    runs = [run(S5CMD, 2.0), run(TRANSFER, 1.0)]
    assert "≥ 0.9" in "".join(report.ratios(runs, promised=True))
    assert "≥" not in "".join(report.ratios(runs, promised=False))


def test_a_program_moves_from_its_first_line_of_progress_to_its_last() -> None:
    said = (
        '{"event": "progress", "bytes": 0, "time": "2026-01-01T00:00:00.250000Z"}\n'
        '{"event": "collected", "time": "2026-01-01T00:00:00.500000Z"}\n'
        '{"event": "progress", "bytes": 9, "time": "2026-01-01T00:00:01.000000Z"}\n'
        '{"event": "synced", "time": "2026-01-01T00:00:09.000000Z"}\n'
    )
    assert measuring.moving(said) == 0.75
    assert measuring.moving("cp s3://bench/1 1\n") == 0.0
