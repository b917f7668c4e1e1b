"""How sessions use the machine (§1.1): the config file and the flags over it, threads, XLA, mixed precision."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import odd_exports
from loaders import servable_loader

FILE = """
intra_op_parallelism_threads: 3
inter_op_parallelism_threads: 4
log_device_placement: true
"""


def config(tmp_path: Path, text: str | None = FILE, **settings: Any) -> Any:
    from slipway_server.servables.tensorflow.session_config import SessionSettings

    if text is not None:
        (tmp_path / "session.config").write_text(text)
        settings["config_file"] = str(tmp_path / "session.config")
    return SessionSettings(**settings).config()


def test_without_a_file(tmp_path: Path) -> None:
    plain = config(tmp_path, None)
    assert plain.allow_soft_placement
    assert plain.gpu_options.allow_growth
    assert plain.gpu_options.per_process_gpu_memory_fraction == 0
    assert plain.intra_op_parallelism_threads == 0


def test_flags_that_are_set_win_over_the_file(tmp_path: Path) -> None:
    merged = config(tmp_path, intra_op_threads=7)
    assert merged.intra_op_parallelism_threads == 7
    assert merged.inter_op_parallelism_threads == 4
    assert merged.log_device_placement
    assert merged.allow_soft_placement


@pytest.mark.parametrize(
    ("text", "fraction", "growth", "expected"),
    [
        (FILE, 0.0, True, 0.0),
        (FILE, 0.25, False, 0.25),
        ('gpu_options { visible_device_list: "1" }', 0.0, False, 0.0),
        ("gpu_options { allow_growth: true }", 0.0, True, 0.0),
        ("gpu_options { per_process_gpu_memory_fraction: 0.5 }", 0.0, False, 0.5),
        ("gpu_options { per_process_gpu_memory_fraction: 0.5 }", 0.25, False, 0.25),
    ],
)
def test_memory_of_gpus(
    tmp_path: Path,
    text: str,
    fraction: float,
    growth: bool,  # noqa: FBT001 - a case
    expected: float,
) -> None:
    options = config(tmp_path, text, gpu_memory_fraction=fraction).gpu_options
    assert options.allow_growth is growth
    assert options.per_process_gpu_memory_fraction == expected


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    from slipway_server.errors import ServingError
    from slipway_server.servables.tensorflow.session_config import SessionSettings

    with pytest.raises(ServingError, match="INVALID_ARGUMENT: Invalid protobuf file: "):
        config(tmp_path, "no_such_field: 1")
    with pytest.raises(ServingError, match="NOT_FOUND: "):
        SessionSettings(config_file=str(tmp_path / "gone")).config()


def test_xla_and_mixed_precision(tmp_path: Path) -> None:
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

    on = rewriter_config_pb2.RewriterConfig.ON
    plain, fast = config(tmp_path), config(tmp_path, xla=True, mixed_precision="bfloat16")
    other = config(tmp_path, mixed_precision="float16")
    assert plain.graph_options == other.graph_options == config_pb2.ConfigProto().graph_options
    graph = fast.graph_options
    assert graph.optimizer_options.global_jit_level == config_pb2.OptimizerOptions.ON_1
    assert graph.rewrite_options.auto_mixed_precision_onednn_bfloat16 == on


COMPILED = """
import sys
from slipway_server import __main__ as main

class Started(Exception):
    pass

class Nothing:
    def __init__(self, settings, *_):
        self.settings = settings
    def run(self):
        import numpy as np
        from slipway_server.loading.chain import make_loader
        model = make_loader(self.settings).load("m", 1, sys.argv[1])
        signature = model.signatures["serving_default"]
        x = np.ones([64, 64], np.float32)
        print(float(model.run(signature, {"x": x}, ("y",))[0][0, 0]))
        return 0

main.Process = Nothing
sys.exit(main.run(["server", "--model_base_path=/m", "--flush_filesystem_caches=false", *sys.argv[2:]]))
"""


SIGNS = ("Compiled cluster using XLA!", "auto_mixed_precision")


def _save_chain(directory: Path) -> None:
    def build(tf: Any) -> dict[str, Any]:
        x = tf.placeholder(tf.float32, [None, 64], name="x")
        y = x
        for _ in range(4):
            y = tf.nn.relu(tf.matmul(y, tf.constant(1 / 64, tf.float32, [64, 64])) + 0.25)
        return {"serving_default": odd_exports.signature(tf, {"x": x}, {"y": y})}

    odd_exports.save_tf1(directory, build)


@pytest.mark.parametrize(
    ("flag", "sign"),
    [
        ("--xla_cpu_compilation_enabled", SIGNS[0]),
        ("--mixed_precision=bfloat16", SIGNS[1]),
    ],
)
def test_what_the_flags_do_to_a_model(tmp_path: Path, flag: str, sign: str) -> None:
    """TensorFlow says in its log what it made of the graph; the server itself keeps that log quiet."""
    _save_chain(tmp_path / "1")
    command = [sys.executable, "-c", COMPILED, str(tmp_path / "1"), flag]
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TF_CPP_VMODULE": "auto_mixed_precision=2,meta_optimizer=2",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) == pytest.approx(2.0, rel=0.02)
    seen = {sign for sign in SIGNS if sign in done.stderr}
    assert seen == {sign}  # and with neither flag none is, tried


# ---- threads ---------------------------------------------------------------------------------------------------


def load(directory: Path, choice: str, cpus: int = 8) -> Any:
    from slipway_server.servables.tensorflow.threads import read_rule

    return servable_loader(threads=read_rule(choice, cpus)).load("m", 1, str(directory))


def test_the_thread_that_runs_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This process is the one that the model calls.
    monkeypatch.setattr(
        "slipway_server.servables.tensorflow.exports.needs.PYTHON_OPERATIONS", frozenset()
    )

    def here() -> Any:
        return np.int64(threading.get_ident())

    def build(tf: Any) -> dict[str, Any]:
        return {"serving_default": odd_exports.signature(tf, {}, {"thread": _ident(tf, here)})}

    odd_exports.save_tf1(tmp_path / "1", build)
    for choice, on_caller in (("true", True), ("false", False), ("auto", True)):
        model = load(tmp_path / "1", choice)
        thread = int(model.run(model.signatures["serving_default"], {}, ("thread",))[0])
        assert (thread == threading.get_ident()) is on_caller, choice


def _ident(tf: Any, function: Any) -> Any:
    (ident,) = tf.py_func(function, [], [tf.int64])
    ident.set_shape([])
    return ident


def _towers(tf: Any, towers: int, depth: int) -> Any:
    x = tf.placeholder(tf.float32, [None, 8], name="x")
    weights = tf.constant(0.1, tf.float32, [8, 8])
    ends = []
    for _ in range(towers):
        y = x
        for _ in range(depth):
            y = tf.matmul(y, weights)
        ends.append(y)
    return x, tf.add_n(ends)


@pytest.mark.parametrize(
    ("towers", "depth", "wide"), [(1, 8, False), (3, 4, True), (8, 1, True), (3, 1, False)]
)
@pytest.mark.parametrize("in_function", [False, True], ids=["graph", "function"])
def test_a_wide_graph(
    towers: int,
    depth: int,
    wide: bool,  # noqa: FBT001 - a case
    in_function: bool,  # noqa: FBT001 - likewise
) -> None:
    import tensorflow as tf

    from slipway_server.servables.tensorflow.threads import ThreadRule, is_wide

    with tf.Graph().as_default() as graph:
        if in_function:

            @tf.function
            def body() -> Any:
                return _towers(tf.compat.v1, towers, depth)[1]

            body()
        else:
            _towers(tf.compat.v1, towers, depth)
    definition = graph.as_graph_def()
    assert is_wide(definition) is wide
    serialized = definition.SerializeToString()
    assert ThreadRule(cpus=8).on_caller("m", serialized) is not wide
    assert ThreadRule(cpus=2).on_caller("m", serialized)


def test_a_loop_is_no_chain_without_end() -> None:
    import tensorflow.compat.v1 as tf

    from slipway_server.servables.tensorflow.threads import is_wide

    with tf.Graph().as_default() as graph:
        tf.disable_control_flow_v2()
        try:
            x = tf.placeholder(tf.float32, [8, 8])
            tf.while_loop(
                lambda i, _: i < 3, lambda i, y: (i + 1, tf.matmul(y, y)), [tf.constant(0), x]
            )
        finally:
            tf.enable_control_flow_v2()
    assert not is_wide(graph.as_graph_def())


def test_a_graph_with_a_cycle_is_no_trap() -> None:
    from tensorflow.core.framework import graph_pb2

    from slipway_server.servables.tensorflow.threads import is_wide

    graph = graph_pb2.GraphDef()
    for name, source in (("a", "b"), ("b", "a"), ("c", "c")):
        graph.node.add(name=name, op="MatMul", input=[source])
    assert not is_wide(graph)


def test_a_child_that_tries_a_version_leaves_its_files_to_the_server(tmp_path: Path) -> None:
    import base64
    import pickle

    from slipway_server.loading.chain import _sandbox_settings
    from slipway_server.settings.command_line import parse
    from slipway_server.settings.server import settings

    flags = parse([f"--model_base_path={tmp_path}", "--isolated_first_load"])
    own = settings(flags.values, cpus=2)
    assert own.flush_caches
    payload = base64.b64decode(_sandbox_settings(own).payload)
    assert not pickle.loads(payload).flush_caches  # noqa: S301 - made one line above
