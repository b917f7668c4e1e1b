"""JSON ⇄ tf.Examples and results without TensorFlow: the wire bytes, the types of features, every refusal (§8.3)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.codec.wire import delimited, signed_varint, varint
from slipway_server.frontends.rest.json_examples import read_examples, write_results
from slipway_server.inference.classification import Classifications, Regressions
from slipway_server.wire import example_requests_pb2


def example(body: Any) -> bytes:
    value = read_examples({"examples": [body]}).examples[0]
    assert isinstance(value, bytes)
    return value


def feature(name: str, content: bytes) -> bytes:
    return delimited(1, delimited(1, name.encode()) + delimited(2, content))


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (1, delimited(3, delimited(1, b"\x01"))),
        ([1, -1], delimited(3, delimited(1, b"\x01" + b"\xff" * 9 + b"\x01"))),
        (True, delimited(3, delimited(1, b"\x01"))),
        ([False, 5], delimited(3, delimited(1, b"\x00\x05"))),
        (1.0, delimited(2, delimited(1, struct.pack("<f", 1.0)))),
        ([0.5, float("nan")], delimited(2, delimited(1, struct.pack("<ff", 0.5, float("nan"))))),
        (2**64, delimited(2, delimited(1, struct.pack("<f", 2.0**64)))),
        ("é", delimited(1, delimited(1, "é".encode()))),
        ([{"b64": "/w=="}, "a"], delimited(1, delimited(1, b"\xff") + delimited(1, b"a"))),
        ([], b""),
    ],
)
def test_the_type_of_a_feature_is_that_of_its_values(value: Any, content: bytes) -> None:
    assert example({"f": value}) == delimited(1, feature("f", content))


def test_several_features_and_the_context() -> None:
    one = delimited(1, feature("a", delimited(3, delimited(1, b"\x01"))))
    context = delimited(1, feature("c", delimited(3, delimited(1, b"\x02"))))
    body = read_examples(
        {"signature_name": "s", "context": {"c": 2}, "examples": [{"a": 1}, {}], "other": None}
    )
    assert body.signature == "s"
    assert body.examples.tolist() == [context + one, context + delimited(1, b"")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "JSON Value: [] Is not object"),
        (
            {"signature_name": 1},
            (
                'JSON Value: {"signature_name":1} not formatted correctly. '
                "'signature_name' key must be a string value."
            ),
        ),
        ({}, "When method is classify, key 'examples' is expected and was not found"),
        ({"examples": {}}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{}], "context": []}, "Example must be JSON object but got JSON Array"),
        (
            {"examples": [{"f": [1, 1.5]}]},
            "Unexpected element type in feature: f expecting type: int64",
        ),
        (
            {"examples": [{"f": [1.5, True]}]},
            "Unexpected element type in feature: f expecting type: float",
        ),
        (
            {"examples": [{"f": ["a", 1]}]},
            "Unexpected element type in feature: f expecting type: bytes",
        ),
        (
            {"examples": [{"f": None}]},
            "Feature: f has element with unexpected JSON type: Null",
        ),
        (
            {"examples": [{"f": [[1]]}]},
            "Feature: f has element with unexpected JSON type: Array",
        ),
        (
            {"examples": [{"f": {"a": 1}}]},
            "Feature: f has element with unexpected JSON type: Object",
        ),
        (
            {"examples": [{"f": 2**63}]},
            "Feature: f has uint64_t element. Only int64_t is supported.",
        ),
        (
            {"examples": [{"f": 1e300}]},
            "Cannot convert JSON value: 1e+300 to float without loss of precision.",
        ),
        ({"examples": [{"f": {"b64": "?"}}]}, "Unable to base64 decode"),
    ],
)
def test_refusals(body: Any, message: str) -> None:
    with pytest.raises(ServingError) as error:
        read_examples(body)
    assert (error.value.code, error.value.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Regressions(np.float32([0.1, 3])), b'{"results":[0.1,3.0]}'),
        (
            Classifications(np.array([[b"a", b"\xff"]], object), np.float32([[0.5, 2]])),
            '{"results":[[["a",0.5],["\ufffd",2.0]]]}'.encode(),
        ),
        (
            Classifications(np.array([[b"a"], [b"b"]], object), None),
            b'{"results":[[["a",0.0]],[["b",0.0]]]}',
        ),
        (Classifications(None, np.float32([[np.nan]])), b'{"results":[[["",NaN]]]}'),
        (
            Classifications(None, np.float32([[0.5] * 10] * 2)),
            b'{"results":[%s]}' % b",".join([b"[%s]" % b",".join([b'["",0.5]'] * 10)] * 2),
        ),
        (Regressions(np.float32([1.5] * 30)), b'{"results":[%s]}' % b",".join([b"1.5"] * 30)),
    ],
)
def test_results(result: Any, text: bytes) -> None:
    assert write_results(result) == text


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_are_read_by_protobuf(number: int) -> None:
    message = example_requests_pb2.ModelSpec()
    message.ParseFromString(delimited(2, b"\x08" + signed_varint(number)))
    assert message.version.value == number


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**64 - 1])
def test_varints(number: int) -> None:
    low = number if number < 2**63 else number - 2**64
    assert varint(number) == signed_varint(low)
