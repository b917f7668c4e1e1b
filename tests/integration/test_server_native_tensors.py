"""Arrays go to TensorFlow and come back through the C API as they were; sessions live as long as they are used."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import odd_exports
import savedmodels
from loaders import servable_loader
from slipway_server.errors import Code, ServingError
from slipway_server.servables.dtypes import DType

LARGE = 64 << 10
"""Elements that are more than what is copied in one go."""

KINDS = [kind for kind in DType if kind.numpy is not None and kind is not DType.STRING]


def there_and_back(value: Any) -> Any:
    from slipway_server.servables.tensorflow.c_api.tensors import to_array, to_tensor

    return to_array(to_tensor(value))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.label)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3), (LARGE,)])
def test_numbers(kind: DType, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    dtype = kind.numpy
    assert dtype is not None
    room = np.random.default_rng(0).integers(0, 2, count * dtype.itemsize, np.uint8)
    value = room.view(dtype).reshape(shape)
    found = there_and_back(value)
    assert (found.dtype, found.shape) == (value.dtype, shape)
    assert found.tobytes() == value.tobytes()


@pytest.mark.parametrize("rows", [4, 4000])
def test_what_does_not_lie_together_or_on_a_border(rows: int) -> None:
    base = np.arange(rows * 16, dtype=np.float32).reshape(rows, 16)
    for value in (base.T, base[::2, ::-3], np.broadcast_to(base[0], (5, 16))):
        np.testing.assert_array_equal(there_and_back(value), value)
    unaligned = np.frombuffer(b"x" + base.tobytes(), np.float32, base.size, 1)
    np.testing.assert_array_equal(there_and_back(unaligned), base.ravel())


def test_a_large_answer_lives_as_long_as_anything_refers_to_it() -> None:
    whole = there_and_back(np.arange(LARGE, dtype=np.int64))
    part = whole[5:7]
    del whole
    gc.collect()
    np.testing.assert_array_equal(part, [5, 6])


STRINGS = [b"", b"a", b"nul\0inside", bytes(22), bytes(23), bytes(24), b"x" * 5000, "ä".encode()]


@pytest.mark.parametrize("shape", [(8,), (2, 4), (4, 1, 2)])
def test_strings(shape: tuple[int, ...]) -> None:
    value = np.empty(8, object)
    value[:] = STRINGS
    found = there_and_back(value.reshape(shape))
    assert (found.dtype, found.shape) == (np.dtype(object), shape)
    assert found.ravel().tolist() == STRINGS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array(b"one", object), b"one"),
        (np.empty((2, 0), object), [[], []]),
        (np.array(["ä", b"b"], object), ["ä".encode(), b"b"]),
        (np.array([b"ab", b"c"]), [b"ab", b"c"]),
        (np.array(["ab", "ä"]), [b"ab", "ä".encode()]),
    ],
)
def test_what_is_strings(value: Any, expected: Any) -> None:
    assert there_and_back(value).tolist() == expected


@pytest.mark.parametrize(
    "value",
    [
        np.array([b"a", 3], object),
        np.array([None], object),
        np.zeros(2, "M8[s]"),
        np.zeros(2, ">f4"),
    ],
)
def test_what_is_no_tensor_is_refused(value: Any) -> None:
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: Unsupported "):
        there_and_back(value)


def test_a_tensor_in_a_message_is_read_as_tensorflow_reads_it() -> None:
    from tensorflow.core.framework import tensor_pb2

    from slipway_server.servables.tensorflow.c_api.tensors import from_proto

    short = tensor_pb2.TensorProto(dtype=DType.INT32, int_val=[7])
    short.tensor_shape.dim.add(size=3)
    assert from_proto(short).tolist() == [7, 7, 7]
    short.tensor_content = b"odd"
    with pytest.raises(ServingError) as error:
        from_proto(short)
    assert error.value.code is Code.INVALID_ARGUMENT


# ---- sessions --------------------------------------------------------------------------------------------------------


def test_more_selections_of_outputs_than_are_kept_answer_the_same(tmp_path: Path) -> None:
    """TensorFlow compiles and keeps a graph for each selection that it ever ran, so clients may not make them up."""
    outputs = tuple(f"y{number}" for number in range(8))

    def build(tf: Any) -> Any:
        x = tf.placeholder(tf.float32, [None], name="x")
        of = {alias: tf.identity(x + number, alias) for number, alias in enumerate(outputs)}
        return {
            "serving_default": odd_exports.signature(tf, {"x": x}, of),
            "other": odd_exports.signature(tf, {"x": x}, {"y": of["y3"]}),
        }

    odd_exports.save_tf1(tmp_path / "1", build)
    model: Any = servable_loader().load("m", 1, str(tmp_path / "1"))
    signature = model.signatures["serving_default"]
    x = np.zeros(1, np.float32)
    for chosen in range(1, 2 ** len(outputs)):
        wanted = [alias for number, alias in enumerate(outputs) if chosen >> number & 1]
        found = model.run(signature, {"x": x}, wanted[::-1])
        assert [value.tolist() for value in found] == [[float(one[1:])] for one in wanted[::-1]]
    assert len(model._by_tensors) <= 2 * 16


class Slow:
    """A run that waits in a queue until the session is closed."""

    def __init__(self, directory: Path) -> None:
        def build(tf: Any) -> Any:
            queue = tf.queue.FIFOQueue(1, [tf.float32], [[]], name="queue")
            return {"serving_default": odd_exports.signature(tf, {}, {"y": queue.dequeue()})}

        odd_exports.save_tf1(directory, build)
        self.loader = servable_loader()
        self.model: Any = self.loader.load("m", 1, str(directory))
        self.session = weakref.ref(self.model._session)
        self.errors: list[str] = []
        self.thread = threading.Thread(target=self._run, args=(self.model,))
        self.thread.start()

    def _run(self, model: Any) -> None:
        try:
            model.run(model.signatures["serving_default"], {}, ["y"])
        except ServingError as error:
            self.errors.append(str(error))


def test_an_unload_cancels_what_runs_and_deletes_the_session_only_afterwards(
    tmp_path: Path,
) -> None:
    slow = Slow(tmp_path / "1")
    deadline = threading.Event()
    while slow.thread.is_alive() and not _waits_in_tensorflow(slow.thread):
        assert not deadline.wait(0.01)
    model, slow.model = slow.model, None
    slow.loader.unload(model)
    del model
    slow.thread.join(60)
    assert not slow.thread.is_alive()
    [error] = slow.errors
    assert "CANCELLED" in error
    assert slow.session() is None


def _waits_in_tensorflow(thread: threading.Thread) -> bool:
    import sys

    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code.co_qualname == "Call.__call__"


def test_nothing_refers_to_a_session_that_was_unloaded(tmp_path: Path) -> None:
    savedmodels.save_double(tmp_path / "1", 3)
    loader = servable_loader()
    model: Any = loader.load("m", 1, str(tmp_path / "1"))
    session, graph = weakref.ref(model._session), weakref.ref(model._session.graph)
    model.run(model.signatures["serving_default"], {"x": np.ones(1, np.float32)}, ["y"])
    with pytest.raises(ServingError):
        model.run(model.signatures["serving_default"], {"x": np.ones(1, np.int32)}, ["y"])
    gc.disable()
    try:
        loader.unload(model)
        del model
        assert (session(), graph()) == (None, None)
    finally:
        gc.enable()


def test_the_options_reach_tensorflow() -> None:
    from tensorflow.core.framework import graph_pb2
    from tensorflow.core.protobuf import config_pb2

    from slipway_server.servables.tensorflow.c_api.graph import Graph
    from slipway_server.servables.tensorflow.c_api.session import Session

    graph = graph_pb2.GraphDef()
    graph.node.add(name="queue", op="FIFOQueueV2")
    graph.node.add(name="wait", op="QueueDequeueV2", input=["queue"])
    for node in graph.node:
        node.attr["component_types"].list.type.append(DType.FLOAT)
    session = Session(
        Graph(graph.SerializeToString()), config_pb2.ConfigProto(operation_timeout_in_ms=50)
    )
    with pytest.raises(ServingError) as error:
        session.execute("wait", {})
    assert error.value.code is Code.DEADLINE_EXCEEDED
