"""Servers as processes pinned to one core, and the CPU time they use."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Program:
    """How a server is started, and on which cores if not on those of the run. With several, the load shares one."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    cores: str = ""


@contextlib.contextmanager
def running(program: Program, log: Path, cores: str = str(SERVER_CORE)) -> Iterator[int]:
    """Run a server on its own cores, or else on these; gives its process id and ends it and its children afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["taskset", "-c", program.cores or cores, *program.command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **program.environment},
        )
    try:
        yield process.pid
    finally:
        family = tree(process.pid)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in family[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time that a process and its children have used so far."""
    return sum(_own_cpu(one) for one in tree(pid)) / _TICKS


def tree(pid: int) -> list[int]:
    """A process and all that descend from it, the process first."""
    family = [pid]
    for one in family:
        tasks = Path(f"/proc/{one}/task")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in tasks.iterdir():
                family.extend(int(child) for child in (task / "children").read_text().split())
    return family


def _own_cpu(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return int(fields[11]) + int(fields[12])


def other_load(seconds: float = 1.0) -> float:
    """Share of the machine's cores that others use now; a measurement beside them is worth less."""
    before = _machine()
    time.sleep(seconds)
    busy, total = (b - a for a, b in zip(before, _machine(), strict=True))
    return busy / total if total else 0.0


def _machine() -> tuple[int, int]:
    numbers = [int(one) for one in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = numbers[3] + numbers[4]
    return sum(numbers) - idle, sum(numbers)
