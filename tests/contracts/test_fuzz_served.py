"""The committed hostile inputs and mutations of them, for the whole server behind its protocols and for loading.

Each target has a process of its own: what crashes in native code must not take the tests along.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.__main__ import CORPUS
from fuzz.light import LIGHT
from fuzz.served import SERVED

MUTATIONS = {
    "rpc": 30,
    "rest": 20,
    "text_file": 50,
    "saved_model": 20,
    "variables_index": 20,
    "warmup": 20,
}


@pytest.mark.parametrize("name", SERVED)
def test_the_corpus_does_no_harm(name: str, exported: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz", name, f"--models={exported}"),
            f"--mutations={MUTATIONS[name]}",
        ],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith(f"{name}: ")


def test_every_folder_of_inputs_has_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == LIGHT.keys() | SERVED.keys()
