"""From runs to a page. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from server_bench.statistics import interval
from sync_bench.clients import AGAIN, AGENT, KSERVE, S5CMD, S5CMD_CHECKED, TRANSFER
from sync_bench.measuring import Run


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio of one program's figure to another's; at least `limit` is promised, or nothing.

    Attributes:
        figure: of a run.
    """

    name: str
    theirs: str
    ours: str
    figure: Callable[[Run], float]
    limit: float | None = None


def _seconds(run: Run) -> float:
    return run.seconds


def _cpu(run: Run) -> float:
    return run.cpu


def _moving(run: Run) -> float:
    return run.moving


GOALS = (
    Goal("bytes on their way, time: s5cmd / slipway-sync", S5CMD, TRANSFER, _moving, 0.9),
    Goal("transfer alone, time: s5cmd / slipway-sync", S5CMD, TRANSFER, _seconds),
    Goal("transfer alone, time: kserve_storage / slipway-sync", KSERVE, TRANSFER, _seconds, 3.0),
    Goal("transfer alone, CPU time: s5cmd / slipway-sync", S5CMD, TRANSFER, _cpu),
    Goal("transfer alone, CPU time: kserve_storage / slipway-sync", KSERVE, TRANSFER, _cpu),
    Goal("all of it, time: s5cmd, SHA-256 and sync / slipway-sync", S5CMD_CHECKED, AGENT, _seconds),
    Goal(
        "all of it, time: kserve_storage, which checks nothing / slipway-sync",
        KSERVE,
        AGENT,
        _seconds,
    ),
    Goal("all of it, time: s5cmd, which checks nothing / slipway-sync", S5CMD, AGENT, _seconds),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal with what was measured, and the ends of its 95 % bootstrap interval."""

    goal: Goal
    value: float
    low: float
    high: float

    @property
    def word(self) -> str:
        """`met` or `missed`, and whether the interval leaves that open."""
        if self.goal.limit is None:
            return ""
        word = "met" if self.value >= self.goal.limit else "missed"
        return f"{word}, within noise" if self.low <= self.goal.limit <= self.high else word


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """Judge the goals, each by the ratios of the runs of the same round."""
    by_subject = grouped(runs)
    found = []
    for goal in GOALS:
        pairs = zip(by_subject.get(goal.theirs, ()), by_subject.get(goal.ours, ()), strict=False)
        ratios = [goal.figure(theirs) / goal.figure(ours) for theirs, ours in pairs]
        if ratios:
            found.append(Verdict(goal, *interval([ratios], lambda ratio: ratio)))
    return found


def grouped(runs: Sequence[Run]) -> Mapping[str, list[Run]]:
    """Runs by subject, in the order of the rounds."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.subject, []).append(run)
    return found


def ratios(runs: Sequence[Run], *, promised: bool) -> list[str]:
    """The table of ratios; `promised` where the promises were made for such runs."""
    lines = ["| ratio | value | interval | promised | |", "|---|---:|---:|---:|---|"]
    for one in verdicts(runs):
        limit, word = "", ""
        if promised and one.goal.limit is not None:
            limit, word = f"≥ {one.goal.limit:g}", one.word
        lines.append(
            f"| {one.goal.name} | **{one.value:.2f}** | {one.low:.2f}–{one.high:.2f} | {limit} | {word} |"
        )
    return lines


def figures(runs: Sequence[Run], size: int) -> list[str]:
    """The table of figures; `size` is the export's, in bytes."""
    lines = [
        "| program | seconds | rounds | moving | MB/s | CPU s | server's CPU s | MiB | GET | HEAD | LIST |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, those in grouped(runs).items():
        seconds = [run.seconds for run in those]
        asked = those[-1].asked
        counts = (asked["GetObject"], asked["HeadObject"], _lists(asked))
        rate = f"{size / 1e6 / median(seconds):.0f}" if name != AGAIN else ""
        lines.append(
            f"| {name} | {median(seconds):.2f} | {min(seconds):.2f}–{max(seconds):.2f} "
            f"| {median(run.moving for run in those):.2f} | {rate} "
            f"| {median(run.cpu for run in those):.2f} | {median(run.server for run in those):.2f} "
            f"| {max(run.memory for run in those):.0f} | {' | '.join(map(str, counts))} |"
        )
    return lines


def _lists(asked: Mapping[str, int]) -> int:
    return sum(count for name, count in asked.items() if name.startswith("ListObjects"))


def comma_separated(series: Mapping[str, Sequence[Run]]) -> str:
    """Every run of every series, one line each."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        [
            "series",
            "program",
            "seconds",
            "moving_s",
            "cpu_s",
            "server_cpu_s",
            "mib",
            "requests",
            "others_share",
        ]
    )
    for series_name, runs in series.items():
        for run in runs:
            table.writerow(
                [
                    *(series_name, run.subject, f"{run.seconds:.3f}", f"{run.moving:.3f}"),
                    f"{run.cpu:.3f}",
                    *(
                        f"{run.server:.3f}",
                        f"{run.memory:.0f}",
                        run.asked.total(),
                        f"{run.others:.3f}",
                    ),
                ]
            )
    return out.getvalue()
