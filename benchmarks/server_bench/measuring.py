"""Runs the rounds: everybody is up all the time, one at a time is loaded, in the order A-B-B-A."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from server_bench.generators import Call, Load
from server_bench.processes import LOAD_CORE, cpu_seconds, other_load, running
from server_bench.statistics import interleaved
from server_bench.subjects import Subject

START_SECONDS = 120.0
WARM_UP_REQUESTS = 2000


@dataclass(frozen=True, slots=True)
class Round:
    """One subject under one load for a few seconds.

    Attributes:
        cpu: microseconds of the server's CPU time for each request.
        disturbance: share of the machine that others used just before.
    """

    workload: str
    subject: str
    concurrency: int
    cpu: float
    load: Load
    disturbance: float


class RunError(Exception):
    """A server did not start or did not answer with success."""


@contextlib.contextmanager
def started(subjects: Iterable[Subject], logs: Path, cores: str) -> Iterator[dict[str, int]]:
    """Start all; gives process ids by name once every call of each was answered."""
    with contextlib.ExitStack() as stack:
        pids = {}
        for subject in subjects:
            name = subject.program.name
            log = logs / f"{name.replace(' ', '-').replace(',', '')}.log"
            pids[name] = stack.enter_context(running(subject.program, log, cores))
            for call in subject.calls.values():
                _wait_for(call, name, log)
            print(f"  {name} answers", flush=True)
        yield pids


def measure(
    subjects: Sequence[Subject],
    pids: dict[str, int],
    *,
    concurrencies: Sequence[int],
    rounds: int,
    seconds: float,
    tell: Callable[[Round], None],
) -> list[Round]:
    """Measure every call of every subject."""
    workloads = list(dict.fromkeys(name for subject in subjects for name in subject.calls))
    for subject in subjects:
        for call in subject.calls.values():
            _load(call, 16, None, WARM_UP_REQUESTS if "large" not in call.body.name else 100)
    found = []
    for workload in workloads:
        those = [subject for subject in subjects if workload in subject.calls]
        for concurrency in concurrencies:
            for subject in interleaved(those, rounds):
                name = subject.program.name
                disturbance = other_load(0.2)
                before = cpu_seconds(pids[name])
                load = _load(subject.calls[workload], concurrency, seconds)
                used = cpu_seconds(pids[name]) - before
                if load.failed or not load.requests:
                    raise RunError(f"{name}, {workload}: {load.failed} of {load.requests} failed")
                one = Round(
                    *(workload, name, concurrency),
                    *(used / load.requests * 1e6, load, disturbance),
                )
                tell(one)
                found.append(one)
    return found


def _load(call: Call, concurrency: int, seconds: float | None, requests: int = 0) -> Load:
    done = subprocess.run(
        ["taskset", "-c", str(LOAD_CORE), *call.command(concurrency, seconds, requests)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise RunError(done.stderr.strip() or done.stdout.strip())
    return call.read(done.stdout)


def _wait_for(call: Call, name: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if not _load(call, 1, None, 1).failed:
                return
            said = "it answers with errors"
        except (RunError, ValueError, KeyError) as error:
            said = str(error)
        if time.monotonic() > deadline:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise RunError(f"{name} does not answer: {said}\n{end}")
        time.sleep(0.5)
