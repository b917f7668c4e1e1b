"""What clients of TensorFlow Serving ask and must hear, where both protocols can say it: one table, asked over both.

A real server process answers, with models that the real TensorFlow exported. What only one protocol can say is in
`test_server_rest.py` and `test_server_grpc.py`.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from exchanges import HTTP, Ask, Hear, Stubs, rest_path
from modelserver import ModelServer


def f(*values: Any) -> dict[str, tuple[str, Any]]:
    return {"x": ("float", list(values))}


BOTH: list[tuple[str, Ask, Hear]] = [
    ("newest version", Ask(f(1.0, 2.5)), Hear({"y": [4.0, 7.0]})),
    ("a version by number", Ask(f(1.0), version=1), Hear({"y": [3.0]})),
    ("a version by label", Ask(f(1.0), label="stable"), Hear({"y": [3.0]})),
    ("an empty vector", Ask({"x": ("float", [])}), Hear({"y": []})),
    ("a named signature", Ask(f(1.0), signature="serving_default"), Hear({"y": [4.0]})),
    ("a scalar", Ask({"x": ("float", 1.5)}, signature="scalar"), Hear({"y": 5.0, "nothing": []})),
    (
        "a lookup table",
        Ask({"word": ("string", ["two", "x"])}, model="words"),
        Hear({"id": [2, -1]}),
    ),
    ("a TF1 export", Ask(f(2.0), model="old"), Hear({"y": [6.0]})),
    (
        "a TF1 table from an asset",
        Ask({"word": ("string", ["b", "c"])}, model="old", signature="find"),
        Hear({"id": [1, -1]}),
    ),
    ("a graph without variables", Ask(f(2.0), model="constant"), Hear({"y": [3.0]})),
    (
        "several inputs and outputs",
        Ask({"image": ("string", ["a", "b"]), "k": ("int64", [1, 2])}, model="columns"),
        Hear({"raw_bytes": [b"a", b"b"], "text": ["1", "2"], "next": [2, 3]}),
    ),
    (
        "double",
        Ask({"x": ("double", [[0.1], [1e300]])}, "kinds", signature="double"),
        Hear({"y": [[0.1], [1e300]]}),
    ),
    ("float", Ask({"x": ("float", [[[0.5]]])}, "kinds", signature="float"), Hear({"y": [[[0.5]]]})),
    (
        "int8",
        Ask({"x": ("int8", [-128, 127])}, "kinds", signature="int8"),
        Hear({"y": [-128, 127]}),
    ),
    (
        "int16",
        Ask({"x": ("int16", [-32768, 5])}, "kinds", signature="int16"),
        Hear({"y": [-32768, 5]}),
    ),
    (
        "int32",
        Ask({"x": ("int32", [-(2**31), 7])}, "kinds", signature="int32"),
        Hear({"y": [-(2**31), 7]}),
    ),
    (
        "int64",
        Ask({"x": ("int64", [-(2**63), 2**63 - 1])}, "kinds", signature="int64"),
        Hear({"y": [-(2**63), 2**63 - 1]}),
    ),
    ("uint8", Ask({"x": ("uint8", [0, 255])}, "kinds", signature="uint8"), Hear({"y": [0, 255]})),
    (
        "uint32",
        Ask({"x": ("uint32", [0, 2**32 - 1])}, "kinds", signature="uint32"),
        Hear({"y": [0, 2**32 - 1]}),
    ),
    (
        "uint64",
        Ask({"x": ("uint64", [0, 2**64 - 1])}, "kinds", signature="uint64"),
        Hear({"y": [0, 2**64 - 1]}),
    ),
    (
        "bool",
        Ask({"x": ("bool", [[True, False]])}, "kinds", signature="bool"),
        Hear({"y": [[True, False]]}),
    ),
    (
        "string",
        Ask({"x": ("string", [["é", ""], ["b", "c"]])}, "kinds", signature="string"),
        Hear({"y": [["é", ""], ["b", "c"]]}),
    ),
    (
        "no such model",
        Ask(f(1.0), model="m"),
        Hear(code="NOT_FOUND", message="Servable not found for request: Latest(m)"),
    ),
    (
        "no such version",
        Ask(f(1.0), version=9),
        Hear(code="NOT_FOUND", message="Servable not found for request: Specific(double, 9)"),
    ),
    (
        "no such label",
        Ask(f(1.0), label="x"),
        Hear(code="INVALID_ARGUMENT", message="Unrecognized servable version label: x"),
    ),
    (
        "a label whose version is not loaded",
        Ask(f(1.0), label="later"),
        Hear(code="NOT_FOUND", message="Servable not found for request: Specific(double, 77)"),
    ),
    (
        "a model that could not be loaded",
        Ask(f(1.0), model="half uploaded"),
        Hear(code="NOT_FOUND", message="Servable not found for request: Latest(half uploaded)"),
    ),
    (
        "no such signature",
        Ask(f(1.0), signature="s"),
        Hear(
            code="FAILED_PRECONDITION",
            message='Serving signature key "s" not found.',
            rest='Serving signature name: "s" not found in signature def',
        ),
    ),
    (
        "an operation that refuses its input",
        Ask(f(-1.0), signature="checked"),
        Hear(code="INVALID_ARGUMENT", message="x must be positive"),
    ),
    (
        "an input that is missing",
        Ask({"k": ("int64", [1])}, model="columns"),
        Hear(
            code="INVALID_ARGUMENT",
            message="input size does not match signature: 1!=2 len({k}) != len({image,k}). Sent extra: {}. "
            "Missing but required: {image}.",
            rest="Missing named input: image in 'inputs' object.",
        ),
    ),
]


@pytest.mark.parametrize(("ask", "hear"), [pytest.param(*row[1:], id=row[0]) for row in BOTH])
def test_over_rest(server: ModelServer, ask: Ask, hear: Hear) -> None:
    values = {alias: value for alias, (_, value) in ask.inputs.items()}
    body = {"inputs": values, **({"signature_name": ask.signature} if ask.signature else {})}
    answer = server.http.post(rest_path(ask, ":predict"), json=body)
    assert answer.headers["content-type"] == "application/json"
    if hear.code != "OK":
        assert answer.status_code == HTTP[hear.code] if not hear.rest else 400
        assert (hear.rest or hear.message) in answer.json()["error"]
        return
    expected = {
        alias: [{"b64": base64.b64encode(one).decode()} for one in value]
        if alias.endswith("_bytes")
        else value
        for alias, value in hear.outputs.items()
    }
    assert answer.json() == {
        "outputs": expected if len(expected) > 1 else next(iter(expected.values()))
    }


@pytest.mark.parametrize("content", [False, True], ids=["typed fields", "tensor_content"])
@pytest.mark.parametrize(("ask", "hear"), [pytest.param(*row[1:], id=row[0]) for row in BOTH])
def test_over_grpc(stubs: Stubs, ask: Ask, hear: Hear, content: bool) -> None:  # noqa: FBT001 - a case
    request = stubs.predict_request(ask, content=content)
    if hear.code != "OK":
        code, message = stubs.refused(stubs.prediction.Predict, request)
        assert code == hear.code
        assert hear.message in message
        return
    reply = stubs.prediction.Predict(request)
    assert reply.model_spec.name == ask.model
    assert reply.model_spec.signature_name == (ask.signature or "serving_default")
    assert reply.model_spec.version.value == _expected_version(ask)
    assert not reply.model_spec.version_label
    assert reply.outputs.keys() == hear.outputs.keys()
    for alias, expected in hear.outputs.items():
        assert stubs.tf.make_ndarray(reply.outputs[alias]).tolist() == _as_bytes(expected)


def _as_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value


def _expected_version(ask: Ask) -> int:
    if ask.label:
        return {"stable": 1}[ask.label]
    return ask.version or {"double": 2, "columns": 5}.get(ask.model, 1)
