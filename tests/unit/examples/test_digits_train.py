"""The training command of the quick start, run as the page shows it, writes a complete export."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
COMMANDS = re.findall(
    r"^PYTHONPATH=examples python (-m digits\.train .*)$",
    (ROOT / "docs/guide/quickstart.md").read_text(),
    re.MULTILINE,
)


def test_the_training_command_writes_a_complete_export(tmp_path: Path) -> None:
    first = shlex.split(COMMANDS[0])
    for arguments in (first, ["-m", "slipway_cli", "verify", f"{first[-1]}/1"]):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "examples"), "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout


def test_the_second_training_differs_in_steps_and_version_only() -> None:
    first, second = COMMANDS
    assert second == first.replace("--steps 100 --version 1", "--steps 2000 --version 2")
