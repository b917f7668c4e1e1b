"""§7: what a message takes in memory is known before it is parsed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from hostile import MIB
from slipway_server.errors import Code, ServingError
from slipway_server.frontends.codec import cost
from slipway_server.frontends.codec.cost import CLASSIFY, INFER, PREDICT, Layout, parsing_cost
from slipway_server.frontends.codec.numbers import number_array
from slipway_server.frontends.codec.wire import delimited
from slipway_server.frontends.rpc.prediction import _inputs, _repetition


def tensor(inner: bytes) -> bytes:
    """A PredictRequest with one input of these fields."""
    return delimited(2, delimited(1, b"x") + delimited(2, inner))


def instances(field: int, count: int) -> bytes:
    return bytes((field << 3 | 2, 0)) * count


BOMB = 2 * MIB
HOSTILE: dict[str, tuple[Layout, Callable[[int], bytes]]] = {
    "outputs": (PREDICT, lambda n: instances(3, n // 2)),
    "inputs": (PREDICT, lambda n: b"\x12\x02\x12\x00" * (n // 4)),
    "strings": (PREDICT, lambda n: tensor(instances(8, n // 2))),
    "dimensions": (PREDICT, lambda n: tensor(delimited(2, instances(2, n // 2)))),
    "integers of a byte": (PREDICT, lambda n: tensor(delimited(10, b"\x01" * (2 * n)))),
    "integers, one by one": (PREDICT, lambda n: tensor(b"\x50\x01" * n)),
    "variants": (PREDICT, lambda n: tensor(b"\x7a\x02\x1a\x00" * (n // 4))),
    "handles": (PREDICT, lambda n: tensor(b"\x72\x02\x32\x00" * (n // 4))),
    "examples": (CLASSIFY, lambda n: delimited(2, delimited(1, instances(1, n // 2)))),
    "examples with context": (CLASSIFY, lambda n: delimited(2, delimited(2, instances(1, n // 2)))),
    "raw contents": (INFER, lambda n: instances(7, n // 2)),
    "typed contents": (INFER, lambda n: delimited(5, delimited(5, instances(8, n // 2)))),
    "a shape": (INFER, lambda n: delimited(5, delimited(3, b"\x01" * (2 * n)))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_message_of_a_great_many_fields_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_MOST", 1)  # so that four times its size is what it may cost
    layout, build = HOSTILE[name]
    with pytest.raises(ServingError) as error:
        parsing_cost(build(BOMB), layout)
    assert error.value.code is Code.INVALID_ARGUMENT
    assert "so many values" in error.value.message
    assert parsing_cost(build(MIB // 4), layout) == 0, "small ones are not looked at"


def test_a_batch_of_images_in_a_typed_field_is_accepted() -> None:
    pixels = 64 * 224 * 224 * 3
    assert parsing_cost(tensor(delimited(7, b"\x7f" * pixels)), PREDICT) > pixels


def request(**fields: object) -> bytes:
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "m"
    proto = tensor_pb2.TensorProto(dtype=1, **fields)  # type: ignore[arg-type]
    proto.tensor_shape.dim.add(size=-1)
    message.inputs["x"].CopyFrom(proto)
    return message.SerializeToString()


@pytest.mark.parametrize(
    "fields",
    [
        {"tensor_content": bytes(64 * MIB)},
        {"float_val": np.zeros(8 * MIB, np.float32)},
        {"int64_val": np.full(4 * MIB, 3)},
        {"string_val": [b"a" * 600] * 100_000},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_large_messages_of_honest_clients_are_not_refused(fields: dict[str, object]) -> None:
    data = request(**fields)
    assert 2 * len(data) < parsing_cost(data, PREDICT) < 128 * MIB + 2 * len(data)


@pytest.mark.parametrize("cut", [0, 1, 5, 100])
def test_what_is_no_message_is_left_to_the_parser(cut: int) -> None:
    data = b"\xff" * (2 * MIB) if not cut else request(tensor_content=bytes(2 * MIB))[:-cut]
    assert parsing_cost(data, PREDICT) >= 2 * len(data)
    with pytest.raises(DecodeError):
        predict_pb2.PredictRequest.FromString(data)


def test_messages_in_one_another_do_not_exhaust_the_stack() -> None:
    data = b""
    while len(data) < 2 * MIB:
        data = delimited(15, delimited(3, data + bytes(1000)))
    assert parsing_cost(tensor(data), PREDICT) > 0


def test_many_numbers_are_read_in_blocks() -> None:
    values = tensor_pb2.TensorProto(float_val=np.arange(500_000, dtype=np.float32)).float_val
    tracemalloc.start()
    try:
        found = number_array(values, np.float32)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.array_equal(found, np.arange(500_000))
    assert peak < 2 * found.nbytes + 4 * MIB, "and not 32 bytes for each"


def repeating(*sizes: int) -> predict_pb2.PredictRequest:
    """Inputs of which one value was sent each, of so many bytes."""
    message = predict_pb2.PredictRequest()
    for number, size in enumerate(sizes):
        proto = tensor_pb2.TensorProto(dtype=1, float_val=[1.0])  # type: ignore[arg-type]
        proto.tensor_shape.dim.add(size=size // 4)
        message.inputs[f"x{number}"].CopyFrom(proto)
    return message


def test_what_all_inputs_of_a_request_repeat_is_bounded_before_any_of_it_is_built() -> None:
    tracemalloc.start()
    try:
        inputs, short = _inputs(repeating(*[40 * MIB] * 40), strict=True)
        with pytest.raises(ServingError) as error:
            _repetition(short)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert inputs == {}
    assert error.value.code is Code.INVALID_ARGUMENT
    assert "the shape has 10485760 elements, but only 1 values were sent" in error.value.message
    assert peak < MIB


def test_a_small_repetition_waits_for_nothing_and_a_large_one_for_its_size() -> None:
    _, short = _inputs(repeating(MIB // 2, MIB // 4), strict=True)
    assert _repetition(short) == 0
    assert {alias: one.array().nbytes for alias, one in short.items()} == {
        "x0": MIB // 2,
        "x1": MIB // 4,
    }
    _, short = _inputs(repeating(32 * MIB, 32 * MIB), strict=True)
    assert _repetition(short) == 64 * MIB
