"""From rounds to a table that says what is kept and what is not."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from server_bench.measuring import Round
from server_bench.statistics import interval
from server_bench.subjects import Goal

Samples = Mapping[tuple[str, int, str], Sequence[Round]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal at one concurrency.

    Attributes:
        low, high: ends of the 95 % bootstrap interval of `value`.
    """

    goal: Goal
    concurrency: int
    value: float
    low: float
    high: float

    @property
    def word(self) -> str:
        """`met`, `missed`, or `open` when the interval holds the limit."""
        limit = self.goal.limit
        if limit is None or self.concurrency not in self.goal.concurrencies:
            return ""
        if self.low <= limit <= self.high:
            return "met, within noise" if self.value <= limit else "missed, within noise"
        return "met" if self.value <= limit else "missed"


def grouped(rounds: Sequence[Round]) -> Samples:
    """Rounds by (workload, concurrency, subject)."""
    found: dict[tuple[str, int, str], list[Round]] = defaultdict(list)
    for one in rounds:
        found[one.workload, one.concurrency, one.subject].append(one)
    return found


def verdicts(samples: Samples, goals: Sequence[Goal]) -> list[Verdict]:
    """Judge every goal whose series were measured."""
    found = []
    for goal in goals:
        for concurrency in sorted({key[1] for key in samples}):
            keys = [(workload, concurrency, subject) for workload, subject in goal.series]
            if all(key in samples for key in keys):
                series = [[one.cpu for one in samples[key]] for key in keys]
                found.append(Verdict(goal, concurrency, *interval(series, goal.figure)))
    return found


def markdown(
    judged: Sequence[Verdict],
    samples: Samples,
    tf_call: Sequence[float],
    facts: Mapping[str, str],
    method: str,
    sections: Sequence[str] = (),
) -> str:
    """The page: ratios, then the figures they are made of, then what else was measured."""
    lines = [
        "# What slipway-server costs, beside its floor and its peers",
        "",
        method,
        "",
        "Machine: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + ".",
        "",
        "## Ratios",
        "",
        "Server CPU time of a request; 95 % bootstrap interval of the ratio of medians.",
        "",
        "| ratio | callers | value | interval | promised | |",
        "|---|---:|---:|---|---:|---|",
    ]
    for one in judged:
        promised = f"≤ {one.goal.limit:g}" if one.word else ""
        lines.append(
            f"| {one.goal.name} | {one.concurrency} | **{one.value:.2f}** "
            f"| {one.low:.2f}–{one.high:.2f} | {promised} | {one.word} |"
        )
    lines += [
        "",
        "## Figures",
        "",
        (
            f"The TensorFlow call alone, on the caller's thread: {median(tf_call):.1f} µs "
            f"({min(tf_call):.1f}–{max(tf_call):.1f})."
        ),
        "",
        "Medians, and the lowest and highest round of the CPU time.",
        "",
        "| workload | callers | server | CPU µs a request | rounds | answers/s | p50 ms | p99 ms |",
        "|---|---:|---|---:|---|---:|---:|---:|",
    ]
    for (workload, concurrency, subject), those in samples.items():
        cpu = [one.cpu for one in those]
        lines.append(
            f"| {workload} | {concurrency} | {subject} | {median(cpu):.0f} "
            f"| {min(cpu):.0f}–{max(cpu):.0f} "
            f"| {median(one.load.rate for one in those):.0f} "
            f"| {median(one.load.p50 for one in those):.2f} "
            f"| {median(one.load.p99 for one in those):.2f} |"
        )
    for section in sections:
        lines += ["", section.rstrip()]
    return "\n".join(lines) + "\n"


def comma_separated(rounds: Sequence[Round]) -> str:
    """Every round, one line each."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        [
            "workload",
            "subject",
            "callers",
            "cpu_us",
            "requests",
            "rate",
            "p50_ms",
            "p99_ms",
            "others_share",
        ]
    )
    for one in rounds:
        table.writerow(
            [
                *(one.workload, one.subject, one.concurrency, f"{one.cpu:.2f}"),
                *(one.load.requests, f"{one.load.rate:.1f}"),
                *(f"{one.load.p50:.3f}", f"{one.load.p99:.3f}", f"{one.disturbance:.3f}"),
            ]
        )
    return out.getvalue()
