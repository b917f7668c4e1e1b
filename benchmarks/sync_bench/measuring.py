"""One program from its start to its end: time, CPU time, memory, and what the server was asked meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from server_bench.processes import other_load
from sync_bench.server import Server

LAUNCH = Path(__file__).resolve().parent / "scripts" / "launch.py"


@dataclass(frozen=True, slots=True)
class Subject:
    """A program that brings the export to a folder.

    Attributes:
        command: `{destination}` in it is replaced.
        environment: all of it.
        keeps: the destination is left as the run before made it.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took.

    Attributes:
        seconds: from the start of the process to its end.
        cpu: seconds of the program and its children, user and system.
        memory: MiB, the largest process of them.
        server: seconds of CPU time of the server.
        asked: operations at the server.
        others: share of the machine that others used just before.
        moving: seconds from the program's first line of progress to its last; all of them where it
            writes none.
    """

    subject: str
    seconds: float
    cpu: float
    memory: float
    server: float
    asked: Counter[str]
    others: float
    moving: float


class RunError(Exception):
    """A program failed."""


def run(subject: Subject, destination: Path, server: Server, expected: int) -> Run:
    """Let a program fill the destination, which is emptied before.

    Args:
        expected: bytes that have to lie there afterwards.

    Raises:
        RunError: it failed, or something is missing; with the end of what it said.
    """
    if not subject.keeps:
        shutil.rmtree(destination, ignore_errors=True)
        destination.mkdir(parents=True)
    os.sync()  # Nobody pays for what the one before left to be written.
    others = other_load(0.2)
    server.asked()
    server_before = server.cpu()
    command = [part.replace("{destination}", str(destination)) for part in subject.command]
    log, result = server.log.with_name("program.log"), server.log.with_name("program.json")
    result.unlink(missing_ok=True)
    with log.open("wb") as out:
        subprocess.run(
            [sys.executable, "-I", "-S", str(LAUNCH), str(result), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(subject.environment),
            check=True,
        )
    took = json.loads(result.read_text())
    there = sum(path.stat().st_size for path in destination.rglob("*") if _is_content(path))
    if took["code"] or there != expected:
        said = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
        raise RunError(f"{subject.name}: exit {took['code']}, {there} of {expected} bytes\n{said}")
    return Run(
        subject.name,
        took["seconds"],
        took["cpu"],
        took["memory"],
        server.cpu() - server_before,
        server.asked(),
        others,
        moving(log.read_text(errors="replace")) or took["seconds"],
    )


def moving(said: str) -> float:
    """Return the seconds between the first and the last line of progress of the agent, or 0."""
    times = [
        datetime.fromisoformat(json.loads(line)["time"])
        for line in said.splitlines()
        if line.startswith('{"event": "progress"')
    ]
    return (times[-1] - times[0]).total_seconds() if times else 0.0


def _is_content(path: Path) -> bool:
    return path.is_file() and not any(part.startswith(".slipway") for part in path.parts)
