"""§7 A request read by its template says what protobuf's parser says, whatever its bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from sent_tensors import read_tensor
from slipway_server.core.serving_map import Selector
from slipway_server.errors import ServingError
from slipway_server.frontends.codec import request_templates
from slipway_server.frontends.codec.request_templates import PredictTarget, RequestTemplates
from slipway_server.frontends.rpc.requests import selector
from slipway_server.servables.signature import Array

KINDS = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 4: np.uint8, 10: np.bool_}


def read(data: bytes) -> tuple[PredictTarget, dict[str, Array]]:
    request = predict_pb2.PredictRequest.FromString(data)
    inputs = {alias: read_tensor(proto) for alias, proto in request.inputs.items()}
    target = PredictTarget(
        selector(request), request.model_spec.signature_name, tuple(request.output_filter)
    )
    return target, inputs


def request(
    values: Mapping[str, Array], *, typed: bool = False, **spec: Any
) -> predict_pb2.PredictRequest:
    message = predict_pb2.PredictRequest(output_filter=["y"])
    message.model_spec.name = spec.pop("name", "model")
    for name, value in spec.items():
        setattr(message.model_spec, name, value)
    for alias, array in values.items():
        proto = message.inputs[alias]
        proto.dtype = next(number for number, kind in KINDS.items() if kind == array.dtype)
        for size in array.shape:
            proto.tensor_shape.dim.add(size=size)
        if typed and array.dtype.kind == "f":
            field = "float_val" if array.dtype == np.float32 else "double_val"
            getattr(proto, field).extend(array.ravel().tolist())
        else:
            proto.tensor_content = array.tobytes()
    return message


def learnt(data: bytes) -> RequestTemplates:
    known = RequestTemplates()
    known.learn(data, *read(data))
    return known


def same(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    assert found.keys() == wanted.keys()
    for alias, array in wanted.items():
        assert (found[alias].dtype, found[alias].shape) == (array.dtype, array.shape)
        assert found[alias].tobytes() == array.tobytes()


@pytest.mark.parametrize("typed", [False, True], ids=["tensor_content", "typed fields"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_next_request_of_a_template_is_read_with_its_own_values(
    *, typed: bool, count: int
) -> None:
    def message(seed: int) -> bytes:
        chance = np.random.default_rng(seed)
        values = {
            f"in{number}": chance.random((2, 5 + number)).astype(
                (np.float32, np.float64)[number % 2]
            )
            for number in range(count)
        }
        return request(values, typed=typed, signature_name="s").SerializeToString(
            deterministic=True
        )

    template = learnt(message(1)).find(message(2))
    assert template is not None
    target, inputs = read(message(2))
    assert template.target == target == PredictTarget(Selector("model"), "s", ("y",))
    same(template.arrays(message(2)), inputs)


def test_large_inputs_are_views_of_the_request() -> None:
    values = {"x": np.random.default_rng(1).random((64, 257), np.float32)}
    data = request(values, name="n" * 5).SerializeToString()
    template = learnt(data).find(data)
    assert template is not None
    arrays = template.arrays(data)
    same(arrays, values)
    # The one copy is that into TensorFlow's own memory.
    assert np.shares_memory(arrays["x"], np.frombuffer(data, np.uint8))


CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None)
@given(
    changes=CHANGES,
    typed=st.booleans(),
    seed=st.integers(0, 3),
    kinds=st.lists(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8]), min_size=1, max_size=2
    ),
)
def test_no_changed_byte_is_taken_for_something_else(
    *, changes: list[tuple[int, int]], typed: bool, seed: int, kinds: list[type[np.generic]]
) -> None:
    values = {
        f"in{number}": (np.random.default_rng(seed).random((1, 3)) * 100).astype(kind)
        for number, kind in enumerate(kinds)
    }
    data = bytearray(request(values, typed=typed).SerializeToString(deterministic=True))
    known = learnt(bytes(data))
    for place, byte in changes:
        data[place % len(data)] = byte
    template = known.find(bytes(data))
    if template is None:
        return
    target, inputs = read(bytes(data))
    assert template.target == target
    same(template.arrays(bytes(data)), inputs)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_looked_at_without_harm(data: bytes) -> None:
    arrays = {"x": np.zeros(3, np.float32)}
    assert request_templates.value_spans(data, arrays) is None or data


@pytest.mark.parametrize(
    "values",
    [
        {"x": np.zeros(0, np.float32)},
        {"x": np.array([True, False])},
    ],
    ids=["nothing", "booleans, which TensorFlow reads as bytes"],
)
def test_what_is_no_memory_has_no_form(values: dict[str, Array]) -> None:
    data = request(values).SerializeToString()
    assert learnt(data).find(data) is None


def test_values_that_are_repeated_have_no_form() -> None:
    message = request({"x": np.zeros(1, np.float32)}, typed=True)
    message.inputs["x"].tensor_shape.dim[0].size = 5
    data = message.SerializeToString()
    assert learnt(data).find(data) is None


def test_a_field_that_comes_twice_has_no_form() -> None:
    data = request({"x": np.ones(2, np.float32)}).SerializeToString()
    twice = data + request({"x": np.zeros(2, np.float32)}).SerializeToString()
    assert learnt(twice).find(twice) is None
    tensor = tensor_pb2.TensorProto(dtype=1, tensor_content=b"1234").SerializeToString()
    entry = b"\x0a\x01x" + b"\x12" + bytes([2 * len(tensor)]) + 2 * tensor
    data = b"\x12" + bytes([len(entry)]) + entry
    assert request_templates.value_spans(data, {"x": np.zeros((), np.float32)}) is None


def test_the_number_of_templates_is_bounded_and_so_is_what_useless_ones_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_templates, "_MAX_TEMPLATES", 4)
    known = RequestTemplates()
    messages = [
        request({"x": np.zeros(size, np.float32)}).SerializeToString() for size in range(1, 30)
    ]
    for data in messages:
        known.learn(data, *read(data))
    assert sum(known.find(data) is not None for data in messages) <= 5
    last = messages[-1]
    assert known.find(last) is None, "none of the first ones was of use, so no more are learnt"


def test_a_request_that_is_none_fails_as_before() -> None:
    with pytest.raises((DecodeError, ServingError)):
        read(b"\xff")
