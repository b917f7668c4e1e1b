"""Every tutorial, from top to bottom, as one script in one shell: its README prints what it says."""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import run_readme
from modelserver import free_port

ROOT = Path(__file__).parents[2]
EXAMPLES = (
    "keras_rest",
    "mnist_session_bundle",
    "dynamic_versions",
    "estimator_export",
    "segmentation",
)
PORTS = ("9000", "9001", "8501", "8502")


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_tutorial_prints_what_it_shows(example: str, tmp_path: Path) -> None:
    page = (ROOT / "examples" / example / "README.md").read_text(encoding="utf-8")
    steps = run_readme.steps(elsewhere(page, tmp_path))
    assert len(steps) > 5
    output, errors = tmp_path / "stdout", tmp_path / "stderr"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        process = subprocess.Popen(
            ["bash", "-c", run_readme.script(steps)],
            cwd=ROOT,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(420)
            left = processes_of(process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    said = output.read_text(encoding="utf-8")
    assert code == 0, f"{said}\n--- stderr\n{errors.read_text(encoding='utf-8')[-3000:]}"
    assert run_readme.differences(steps, said) == []
    assert "Answered by version" in said
    assert left == [], "it stops what it started"
    assert {path.name for path in tmp_path.iterdir()} == {"stdout", "stderr"}, "it tidies up"


def elsewhere(page: str, folder: Path) -> str:
    """The same page at places of its own: nothing may meet what else runs on this machine."""
    for port in PORTS:
        page = re.sub(rf"\b{port}\b", str(free_port()), page)
    if inherited := os.environ.get("PYTHONPATH"):
        page = page.replace("PYTHONPATH=examples", f"PYTHONPATH=examples:{inherited}")
    return page.replace("/tmp/", f"{folder}/")  # noqa: S108 (the page's)


def processes_of(session: int) -> list[str]:
    """The command lines of the processes that are still in a session."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((status.parent / "cmdline").read_text().replace("\0", " "))
    return found
