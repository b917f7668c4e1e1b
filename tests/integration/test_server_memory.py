"""Loads, unloads and refused loads give their memory back, without the help of the garbage collector (§4.3)."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway_server.core.managed import AspiredVersion, Bounds, RetryRule
from slipway_server.core.manager import Manager
from slipway_server.core.policies import availability_preserving
from slipway_server.core.serving_map import ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState

BALLAST = 16 << 20
ROUNDS = 20
"""A third of a gigabyte, were every load's ballast kept."""
ALLOWED = 8 * BALLAST


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


@pytest.fixture(scope="module")
def loader() -> Iterator[Any]:
    from slipway_server.savedmodel.loader import SavedModelLoader
    from slipway_server.savedmodel.sessions import SessionSettings

    loader = SavedModelLoader(frozenset({"serve"}), SessionSettings())
    gc.collect()
    gc.disable()
    yield loader
    gc.enable()


def _resident() -> int:
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def _growth(work: Callable[[], None]) -> int:
    for _ in range(3):
        work()
    before = _resident()
    for _ in range(ROUNDS):
        work()
    return _resident() - before


@pytest.mark.parametrize("name", ["vars", "graph"])
def test_what_is_unloaded_is_given_back(exports: Path, loader: Any, name: str) -> None:
    import numpy as np

    def load_and_unload() -> None:
        model = loader.load("m", 1, str(exports / name))
        signature = model.signatures["serving_default"]
        model.run(signature, {"x": np.zeros(1, np.float32)}, ["y"])
        loader.unload(model)

    assert _growth(load_and_unload) < ALLOWED


@pytest.mark.parametrize(
    ("name", "words"),
    [("no-variables", "variables/variables.index is missing"), ("bad-init", "assert")],
)
def test_refused_loads_leave_nothing(exports: Path, loader: Any, name: str, words: str) -> None:
    monitor, ended = StateMonitor(), threading.Event()
    failed: list[VersionState] = []

    def listen(state: VersionState) -> None:
        if state.availability is Availability.END:
            failed.append(state)
            ended.set()

    monitor.listen(listen)
    manager: Manager[Any] = Manager(
        loader,
        ServingMap(),
        monitor,
        availability_preserving,
        retry=RetryRule(0, 0),
        bounds=Bounds(1),
    )
    manager.start()
    version = iter(range(1, 1000))

    def refuse() -> None:
        ended.clear()
        manager.aspire("m", [AspiredVersion(next(version), str(exports / name))])
        assert ended.wait(60)

    growth = _growth(refuse)
    manager.stop()
    assert len(failed) == ROUNDS + 3
    assert all(state.error is not None and words in state.error.message for state in failed)
    assert growth < ALLOWED
