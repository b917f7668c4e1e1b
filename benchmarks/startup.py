"""From the start of a server to its first answer: seconds, processor time and memory, with and without TensorFlow's
Python package.

    python -m startup --rounds 7

Both are this server; *whole package* imports `tensorflow` first. The two start one after the other, in turns.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from modelserver import free_port
from savedmodels import save_double

_SERVE: Final = "import sys; from slipway_server.__main__ import main; main()"
_WAYS: Final = {"C API": _SERVE, "whole package": f"import tensorflow; {_SERVE}"}
_RESULTS: Final = Path(__file__).parent / "results" / "startup.md"


@dataclass(frozen=True)
class Start:
    """Of one server, until its first answer."""

    seconds: float
    cpu_seconds: float
    mib: float


def start(program: str, base_path: Path) -> Start:
    port, rest = free_port(), free_port()
    flags = (f"--port={port}", f"--rest_api_port={rest}", "--model_name=m")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            program,
            *flags,
            f"--model_base_path={base_path}",
            "--drain_seconds=0",
        ],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{rest}") as http:
            while not answers(http):
                assert process.poll() is None, "the server has ended"
                time.sleep(0.005)
        seconds = time.monotonic() - began
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.terminate()
        process.wait(60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    [kib] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return Start(seconds, cpu, int(kib) / 1024)


def answers(http: httpx.Client) -> bool:
    try:
        return (
            http.post("/v1/models/m:predict", json={"instances": [1.0]}).status_code
            == httpx.codes.OK
        )
    except httpx.TransportError:
        return False


def table(starts: dict[str, list[Start]]) -> str:
    lines = ["| | seconds | CPU seconds | MiB |", "| --- | ---: | ---: | ---: |"]
    for way, found in starts.items():
        cells = [way]
        for digits, values in (
            (2, [one.seconds for one in found]),
            (2, [one.cpu_seconds for one in found]),
            (0, [one.mib for one in found]),
        ):
            low, high = min(values), max(values)
            cells.append(
                f"{statistics.median(values):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
            )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(
    rounds: Annotated[int, typer.Option(help="Starts of each.")] = 7,
    results: Annotated[Path, typer.Option(help="The page to write.")] = _RESULTS,
) -> None:
    """Measure, print a table, and write it to a page."""
    with tempfile.TemporaryDirectory() as folder:
        save_double(Path(folder) / "m" / "1", 1)
        starts: dict[str, list[Start]] = {way: [] for way in _WAYS}
        for number in range(rounds + 1):
            for way, program in _WAYS.items():
                found = start(program, Path(folder) / "m")
                if number:  # The first finds cold caches.
                    starts[way].append(found)
    text = (
        "# From the start of a server to its first answer\n\nWritten by `python -m startup`: a model of one variable, "
        f"{rounds} starts each, in turns, with warm caches; median (lowest–highest). *Whole package*: with "
        "`import tensorflow` first, as before ADR 24 and 27. CPU seconds include the end of the process.\n\n"
        f"{table(starts)}\n"
    )
    print(text)
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(text)


if __name__ == "__main__":
    typer.run(main)
