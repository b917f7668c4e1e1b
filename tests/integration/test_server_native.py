"""Graphs are imported without the interpreter (§12); where that is impossible, through TensorFlow's Python API."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from structlog.testing import capture_logs

import odd_exports
import savedmodels
import session_bundles
from loaders import servable_loader
from session_bundles import Format
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


@pytest.fixture(params=["native", "python"])
def graph(request: pytest.FixtureRequest) -> Callable[[bytes], Any]:
    """Both ways to import a graph."""
    from slipway_server.servables.tensorflow.native import NativeGraph
    from slipway_server.servables.tensorflow.python_session import PythonGraph

    return NativeGraph if request.param == "native" else PythonGraph


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
    graph: Callable[[bytes], Any],
    definition: bytes,
    name: str,
    expected: tuple[int, tuple[int, ...] | None] | None,
) -> None:
    found = graph(definition).tensor(name)
    assert (found and (found.dtype, found.shape)) == expected


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"\xff\xff\xff", Code.INVALID_ARGUMENT, "GraphDef"),
        (b"\x0a\x0b\x0a\x01x\x12\x06NoSuch", Code.NOT_FOUND, "Op type not registered 'NoSuch'"),
    ],
)
def test_what_is_no_graph_is_refused_in_tensorflows_words(
    graph: Callable[[bytes], Any], data: bytes, code: Code, words: str
) -> None:
    with pytest.raises(ServingError) as error:
        graph(data)
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

    from slipway_server.servables.tensorflow.native import NativeGraph

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
    NativeGraph(data)
    after = turns
    done.set()
    thread.join()
    assert after - before > 100


# ---- the slower way --------------------------------------------------------------------------------------------------


@pytest.fixture
def unknown_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of TensorFlow whose graphs keep their address elsewhere."""
    from slipway_server.servables.tensorflow import native, session_open

    monkeypatch.setattr(native, "_LAYOUT", (0, 0, 0))
    session_open._warn.cache_clear()


def _export(kind: str, base: Path) -> Path:
    directory, words = base / "1", base / "words.txt"
    match kind:
        case "variables":
            savedmodels.save_double(directory, 3)
        case "element types":
            savedmodels.save_kinds(directory)
        case "an asset":
            savedmodels.save_words(directory, words)
        case "TensorFlow 1":
            words.write_text("zero\none\ntwo\n")
            odd_exports.save_table(directory, words, as_text=False, main_op=True)
        case "sparse":
            odd_exports.save_sparse(directory)
        case "a broken signature":
            odd_exports.save_plain(directory)
        case "SessionBundle":
            return session_bundles.save_half_plus_two(base, 1, Format.V2)
    return directory


def _answers(directory: Path) -> dict[str, Any]:
    """What a version answers: to good feeds of every signature, to feeds of a wrong type, size and number."""
    loader = servable_loader()
    model: Any = loader.load("m", 1, str(directory))
    found: dict[str, Any] = {
        "metadata": {key: str(one) for key, one in sorted(model.signature_defs.items())}
    }
    for key, signature in {**model.signatures, **model.example_signatures}.items():
        good = {alias: _value(spec) for alias, spec in signature.inputs.items()}
        feeds = {
            "good": good,
            "of a wrong type": {alias: np.ones(3, np.uint64) for alias in good},
            "of a wrong size": {
                alias: np.ones((7, 5, 3), one.dtype) for alias, one in good.items()
            },
        }
        for what, inputs in feeds.items():
            for outputs in (tuple(signature.outputs), tuple(signature.outputs)[:1]):
                try:
                    values = model.run(signature, inputs, outputs)
                    answer = [(str(value.dtype), value.shape, value.tolist()) for value in values]
                except ServingError as error:
                    answer = str(error)
                found[f"{key}, {what}, {outputs}"] = repr(answer)
    loader.unload(model)
    return found


def _value(spec: Any) -> Any:
    shape = tuple(2 if size < 0 else size for size in spec.shape or (2,))
    if spec.dtype.numpy == np.dtype(object):
        return np.full(shape, b"two", object)
    return np.ones(shape, spec.dtype.numpy)


@pytest.mark.parametrize(
    "kind",
    [
        "variables",
        "element types",
        "an asset",
        "TensorFlow 1",
        "sparse",
        "a broken signature",
        "SessionBundle",
    ],
)
def test_both_ways_answer_alike(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    directory = _export(kind, tmp_path)
    expected = _answers(directory)
    request.getfixturevalue("unknown_layout")
    with capture_logs() as logs:
        found = _answers(directory)
        _answers(directory)
    assert found == expected
    assert any("good" in key and not value.startswith("'") for key, value in found.items())
    warnings = [log for log in logs if "Python API" in log["event"]]
    assert len(warnings) == 1
    assert "(0, 0, 0)" in warnings[0]["reason"]


@pytest.mark.usefixtures("unknown_layout")
def test_an_incomplete_export_is_refused_either_way(tmp_path: Path) -> None:
    savedmodels.save_double(tmp_path / "1", 3)
    (tmp_path / "1/variables/variables.index").unlink()
    with pytest.raises(ServingError) as error:
        servable_loader().load("m", 1, str(tmp_path / "1"))
    assert error.value.code is Code.NOT_FOUND
    assert "variables/variables.index is missing" in error.value.message


@pytest.mark.usefixtures("unknown_layout")
def test_a_closed_session_refuses_either_way(tmp_path: Path) -> None:
    savedmodels.save_double(tmp_path / "1", 3)
    model: Any = servable_loader().load("m", 1, str(tmp_path / "1"))
    signature = model.signatures["serving_default"]
    model._session.close()
    with pytest.raises(ServingError, match="Session has been closed"):
        model.run(signature, {"x": np.ones(1, np.float32)}, tuple(signature.outputs))
