"""The committed hostile inputs and mutations of them, for the whole server behind its protocols and for loading.

They run in a process of their own: what crashes in native code must not take the tests along.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fuzz.__main__ import CORPUS
from fuzz.light import LIGHT
from fuzz.served import SERVED


def test_the_corpus_does_no_harm(exported: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", *SERVED, f"--models={exported}", "--mutations=25"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=400,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout[-200:] + done.stderr[-3000:]
    finished = {line.partition(": ")[0] for line in done.stdout.splitlines()}
    assert finished >= SERVED.keys()


def test_every_folder_of_inputs_has_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == LIGHT.keys() | SERVED.keys()
