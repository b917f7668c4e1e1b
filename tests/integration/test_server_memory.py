"""Loads, unloads and refused loads give their memory back, without the help of the garbage collector (§4.3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memory_rounds import ROUNDS, WARM_UP

BALLAST = 16 << 20
ALLOWED = ROUNDS * BALLAST * 4 // 10
"""Every load's ballast would be two and a half times that."""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `vars` (ballast in a variable), `graph` (in the graph itself) and what of the latter cannot be loaded."""
    import numpy as np
    import tensorflow.compat.v1 as tf

    root = tmp_path_factory.mktemp("exports")
    ballast = np.random.default_rng(0).random(BALLAST // 4, np.float32)
    for name in ("vars", "graph", "no-variables", "bad-init"):
        with tf.Graph().as_default(), tf.Session() as session:
            x = tf.placeholder(tf.float32, [None], name="x")
            small = tf.get_variable("small", initializer=1.0)
            if name == "vars":
                kept: Any = tf.get_variable("kept", initializer=ballast)
            else:
                kept = tf.constant(ballast, name="kept")
            y = x + small + kept[0]
            check = tf.debugging.assert_less(
                tf.reduce_max(kept), 0.0 if name == "bad-init" else 2.0
            )
            session.run(tf.global_variables_initializer())
            builder = tf.saved_model.Builder(str(root / name))
            signature = tf.saved_model.predict_signature_def({"x": x}, {"y": y})
            builder.add_meta_graph_and_variables(
                session, ["serve"], {"serving_default": signature}, main_op=check
            )
            builder.save()
    for path in (root / "no-variables" / "variables").iterdir():
        path.unlink()
    return root


def measured(export: Path, kind: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "memory_rounds", str(export), kind],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        check=True,
        timeout=240,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", ["vars", "graph"])
def test_what_is_unloaded_is_given_back(exports: Path, name: str) -> None:
    assert measured(exports / name, "unloaded")["growth"] < ALLOWED


@pytest.mark.parametrize(
    ("name", "words"),
    [("no-variables", "variables/variables.index is missing"), ("bad-init", "assert")],
)
def test_refused_loads_leave_nothing(exports: Path, name: str, words: str) -> None:
    found = measured(exports / name, "refused")
    assert len(found["errors"]) == WARM_UP + ROUNDS
    assert all(words in error for error in found["errors"])
    assert found["growth"] < ALLOWED
