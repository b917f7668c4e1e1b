"""Unloading gives the memory of a version back (§4.3): measured on a process, over twenty loads of a 50 MB model.

TensorFlow's oneDNN allocator keeps big blocks for the next load, which hides whether a version was released at all. It
is off here: then every byte of an unloaded version must be the kernel's again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lite_models
import savedmodels

MEGABYTES = 50
ROUNDS = 20
PROGRAM = """
import gc, json, sys
import numpy as np
from slipway_server.servables.loader import ServableLoader
from slipway_server.servables.registry import FormatSettings, registered_formats

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

directory, rounds, interpreters = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
loader = ServableLoader(registered_formats(FormatSettings(lite_interpreters=interpreters)))
gc.disable()  # nothing may need the collector
loaded, unloaded = [], []
for _ in range(rounds):
    model = loader.load("m", 1, directory)
    model.run(model.signatures["serving_default"], {"x": np.ones(3, np.float32)}, ("y",))
    loaded.append(resident())
    content, model = [model], None
    loader.unload(content.pop())
    unloaded.append(resident())
json.dump([loaded, unloaded], sys.stdout)
"""


def _measured(directory: Path, interpreters: int) -> tuple[list[float], list[float]]:
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory), str(ROUNDS), str(interpreters)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    loaded, unloaded = json.loads(done.stdout)
    return loaded, unloaded


@pytest.mark.parametrize("kind", ["SavedModel", "TensorFlow Lite"])
def test_twenty_loads_leave_nothing_behind(tmp_path: Path, kind: str) -> None:
    if kind == "SavedModel":
        savedmodels.save_double(tmp_path, 1, size=MEGABYTES << 18)
        loaded, unloaded = _measured(tmp_path, 0)
    else:
        lite_models.save_heavy(tmp_path, MEGABYTES << 20)
        loaded, unloaded = _measured(tmp_path, 2)
    freed = [before - after for before, after in zip(loaded, unloaded, strict=True)]
    assert min(freed) > 0.9 * MEGABYTES, (loaded, unloaded)
    assert max(unloaded[5:]) < unloaded[4] + 0.1 * MEGABYTES, (loaded, unloaded)
