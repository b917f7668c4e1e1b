"""Graphs and sessions on TensorFlow's C API: imported without the interpreter (§12), run, closed and deleted."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError

import savedmodels
from loaders import servable_loader
from slipway_server.errors import Code, ServingError

OPERATIONS = 20_000


def _saved_model() -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    for tag in ("serve", "train"):
        meta_graph = message.meta_graphs.add()
        meta_graph.meta_info_def.tags.append(tag)
        meta_graph.graph_def.node.add(name=f"of-{tag}", op="NoOp")
        meta_graph.signature_def["s"].inputs["x"].name = "x:0"
        meta_graph.asset_file_def.add(filename="words.txt")
        meta_graph.object_graph_def.nodes.add().user_object.identifier = "keras"
    return message


# ---- the file --------------------------------------------------------------------------------------------------------


def test_a_graph_stays_a_slice_and_all_else_is_parsed() -> None:
    from slipway_server.servables.tensorflow.exports.graph_file import meta_graphs

    message = _saved_model()
    parts = list(meta_graphs(memoryview(message.SerializeToString())))
    assert [bytes(part.graph) for part in parts] == [
        one.graph_def.SerializeToString() for one in message.meta_graphs
    ]
    for one in message.meta_graphs:
        one.ClearField("graph_def")
        one.ClearField("object_graph_def")
    assert [part.about for part in parts] == list(message.meta_graphs)


def test_a_graph_in_two_parts_is_both() -> None:
    from tensorflow.core.framework import graph_pb2

    from slipway_server.servables.tensorflow.exports.graph_file import meta_graph

    one, other = (message.SerializeToString() for message in _saved_model().meta_graphs)
    graph = graph_pb2.GraphDef.FromString(bytes(meta_graph(memoryview(one + other)).graph))
    assert [node.name for node in graph.node] == ["of-serve", "of-train"]


def test_a_file_cut_anywhere_is_refused_or_shorter() -> None:
    from slipway_server.servables.tensorflow.exports.graph_file import meta_graphs

    data = _saved_model().SerializeToString()
    found = set()
    for length in range(len(data)):
        try:
            found.add(len(list(meta_graphs(memoryview(data[:length])))))
        except DecodeError:
            found.add(-1)
    assert found == {-1, 0, 1}


@pytest.mark.parametrize("data", [b"\xff" * 20, b"\x13", b"\x12\xff\xff\xff\xff\x7f", b"\x09\x01"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    from slipway_server.servables.tensorflow.exports.graph_file import meta_graphs

    with pytest.raises(DecodeError):
        list(meta_graphs(memoryview(data)))


# ---- the graph -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def definition() -> bytes:
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default() as graph:
        tf.placeholder(tf.float32, [None, 3], name="x")
        tf.placeholder(tf.string, name="any")
        tf.split(tf.constant([1, 2]), 2, name="two")
        tf.constant(7, tf.int64, name="scalar")
        return bytes(graph.as_graph_def().SerializeToString())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x:0", (1, (-1, 3))),
        ("x", (1, (-1, 3))),
        ("any:0", (7, None)),
        ("two:1", (3, (1,))),
        ("scalar:0", (9, ())),
        ("two:2", None),
        ("two:4294967297", None),
        ("two:99999999999999999999999", None),
        ("x:-1", None),
        ("x:y", None),
        ("nothing:0", None),
        ("", None),
    ],
)
def test_what_a_graph_says_about_a_tensor(
    definition: bytes,
    name: str,
    expected: tuple[int, tuple[int, ...] | None] | None,
) -> None:
    from slipway_server.servables.tensorflow.c_api.graph import Graph

    found = Graph(definition).tensor(name)
    assert (found and (found.dtype, found.shape)) == expected


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"\xff\xff\xff", Code.INVALID_ARGUMENT, "GraphDef"),
        (b"\x0a\x0b\x0a\x01x\x12\x06NoSuch", Code.NOT_FOUND, "Op type not registered 'NoSuch'"),
    ],
)
def test_what_is_no_graph_is_refused_in_tensorflows_words(
    data: bytes, code: Code, words: str
) -> None:
    from slipway_server.servables.tensorflow.c_api.graph import Graph

    with pytest.raises(ServingError) as error:
        Graph(data)
    assert error.value.code is code
    assert words in error.value.message


@pytest.fixture
def patient() -> Iterator[None]:
    """Let no thread be made to give the interpreter away within this test."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(100)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("patient")
def test_other_threads_go_on_while_a_graph_is_imported() -> None:
    import time

    from tensorflow.core.framework import graph_pb2

    from slipway_server.servables.tensorflow.c_api.graph import Graph

    graph = graph_pb2.GraphDef()
    for number in range(OPERATIONS):
        graph.node.add(name=f"n{number}", op="NoOp")
    data = graph.SerializeToString()
    turns = 0
    done = threading.Event()

    def turn() -> None:
        nonlocal turns
        while not done.is_set():
            time.sleep(0)  # gives the interpreter away
            turns += 1

    thread = threading.Thread(target=turn)
    thread.start()
    before = turns
    Graph(data)
    after = turns
    done.set()
    thread.join()
    assert after - before > 100


# ---- sessions --------------------------------------------------------------------------------------------------------


def test_a_closed_session_refuses(tmp_path: Path) -> None:
    savedmodels.save_double(tmp_path / "1", 3)
    model: Any = servable_loader().load("m", 1, str(tmp_path / "1"))
    signature = model.signatures["serving_default"]
    model._session.close()
    with pytest.raises(ServingError, match="Session has been closed"):
        model.run(signature, {"x": np.ones(1, np.float32)}, tuple(signature.outputs))
