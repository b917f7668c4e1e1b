"""The public tutorials, step by step: the commands of docs/guide/tutorials.md, as they stand there."""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from modelserver import free_port

ROOT = Path(__file__).parents[2]
BLOCKS = dict(
    re.findall(
        r"```sh ([a-z-]+)\n(.*?)```", (ROOT / "docs/guide/tutorials.md").read_text(), re.DOTALL
    )
)
SAYS = {
    "basic": [r"checkpoint\nexport-00000-of-00001\nexport.meta", r"rate: (\d+\.\d)%", r"rate: \1%"],
    "advanced": [r"rate: 1\d\.\d%", "AVAILABLE", r"rate: [3-7]\.\d%"],
    "estimator": [
        re.escape("Classify {'square': 1.0, 'oblong': 0.0}"),
        re.escape("Classify {'square': 0.25, 'oblong': 0.75}"),
        re.escape("Regress [4.0, 4.0]"),
        re.escape("Predict {'area': [4.0, 4.0], 'ids': [0, 1]}"),
        r'"results": ?\[\s*10.0\s*\]',
    ],
    "segmentation": ["#######", "(9[5-9]|100)% of the pixels are right"],
    "keras": [
        r"\[([0-9 ]+)\]\n\[[0-9 ]+\]",
        "We guess the number is 5, the probability is [01]",
        r"\[([0-9 ]+)\]\n\[[0-9 ]+\]",
    ],
}


def test_every_tutorial_is_here() -> None:
    assert set(BLOCKS) == {"prepare", *SAYS}


@pytest.mark.parametrize("tutorial", SAYS)
def test_a_tutorial_works_as_written(tutorial: str, tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + BLOCKS["prepare"] + BLOCKS[tutorial]
    output, errors = tmp_path / "stdout", tmp_path / "stderr"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        process = subprocess.Popen(
            ["bash", "-c", elsewhere(script, tmp_path)],
            cwd=ROOT,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(420)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the server of the page's `&`
            process.wait()
    said = output.read_text()
    told = f"{said}\n--- stderr\n{errors.read_text()[-3000:]}"
    assert code == 0, told
    assert re.search(r"[\s\S]*?".join(SAYS[tutorial]), said), told


def elsewhere(script: str, folder: Path) -> str:
    """The same script at places of its own: nothing may meet what else runs on this machine."""
    for port in ("9000", "9001", "8501", "8502"):
        script = script.replace(port, str(free_port()))
    if inherited := os.environ.get("PYTHONPATH"):
        script = script.replace("PYTHONPATH=examples", f"PYTHONPATH=examples:{inherited}")
    return script.replace("/tmp/", f"{folder}/")  # noqa: S108 (the page's)
