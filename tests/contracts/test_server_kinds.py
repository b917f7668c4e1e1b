"""Every element type through a model and back, in both forms of a TensorProto (§7), and what JSON says of each (§8)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from exchanges import Stubs
from modelserver import ModelServer
from server_exchanges.kinds import KINDS

JSON_INPUTS = {
    *("float", "double", "half", "bfloat16", "bool", "string"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}


def _tensor(stubs: Stubs, name: str, form: str) -> Any:
    """The message in one of its forms. TensorFlow's own Python codec knows neither all types nor both forms."""
    from slipway_server.frontends.codec.tensors import write_tensor

    proto = stubs.tf.make_tensor_proto(0)
    proto.ParseFromString(write_tensor(KINDS[name], as_content=form == "tensor_content"))
    return proto


@pytest.mark.parametrize("form", ["typed fields", "tensor_content"])
@pytest.mark.parametrize("name", KINDS)
def test_over_grpc(stubs: Stubs, name: str, form: str) -> None:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "kinds"
    request.model_spec.signature_name = name
    sent = _tensor(stubs, name, form)
    request.inputs["x"].CopyFrom(sent)
    reply = stubs.prediction.Predict(request).outputs["y"]
    assert reply.dtype == sent.dtype
    assert not reply.tensor_content, "outputs are typed fields unless a flag asks otherwise"
    kind = stubs.tf.as_dtype(reply.dtype)
    got = stubs.tf.io.parse_tensor(reply.SerializeToString(), kind).numpy()
    values = KINDS[name]
    wanted = values.view(values.dtype[0]) if values.dtype.names else values
    np.testing.assert_array_equal(got.astype(wanted.dtype), wanted)


@pytest.mark.parametrize("name", sorted(KINDS.keys() - JSON_INPUTS))
def test_what_json_cannot_hold(server: ModelServer, name: str) -> None:
    for body, status, message in (
        ({"inputs": [1]}, 501, f"Conversion of JSON Value: 1 to type: {name}"),
        (
            {"instances": [1]},
            400,
            (
                "Failed to process element: 0 of 'instances' list. "
                f"Error: UNIMPLEMENTED: Conversion of JSON Value: 1 to type: {name}"
            ),
        ),
    ):
        answer = server.predict("kinds", {"signature_name": name, **body})
        assert (answer.status_code, answer.json()) == (status, {"error": message})


@pytest.mark.parametrize("name", sorted(JSON_INPUTS - {"string"}))
def test_over_rest(server: ModelServer, name: str) -> None:
    values = KINDS[name]
    for form, key in (("inputs", "outputs"), ("instances", "predictions")):
        numbers = ",".join(map(_token, values.tolist()))
        body = f'{{"signature_name": "{name}", "{form}": [{numbers}]}}'.encode()
        answer = server.http.post("/v1/models/kinds:predict", content=body)
        assert answer.status_code == 200, answer.text
        again = np.array(json.loads(answer.content)[key], values.dtype)
        np.testing.assert_array_equal(again, values)


def _token(value: Any) -> str:
    return json.dumps(value if isinstance(value, int) else float(value))


WIDE: list[tuple[str, str, list[Any], str]] = [
    ("int32", "float_val", [1.0, 2.0], "values in float_val, but they belong in int_val"),
    ("float", "double_val", [1.0, 2.0], "values in double_val, but they belong in float_val"),
    ("string", "int_val", [1, 2], "values in int_val, but they belong in string_val"),
    ("half", "float_val", [1.0, 2.0], "values in float_val, but they belong in half_val"),
    ("int64", "int_val", [1, 2], "values in int_val, but they belong in int64_val"),
    ("int8", "int_val", [1, 300], "int_val has 300, but type int8 takes -128 to 127"),
    ("uint8", "int_val", [-1, 2], "int_val has -1, but type uint8 takes 0 to 255"),
    ("quint16", "int_val", [0, 2**16], "int_val has 65536, but type quint16 takes 0 to 65535"),
    ("int4", "int_val", [8, 0], "int_val has 8, but type int4 takes -8 to 7"),
    ("bfloat16", "half_val", [2**16, 0], "half_val has 65536, but type bfloat16 takes 0 to 65535"),
]


@pytest.mark.parametrize(("name", "field", "values", "said"), WIDE, ids=str)
def test_typed_fields_that_do_not_match_the_type(
    stubs: Stubs, name: str, field: str, values: list[Any], said: str
) -> None:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "kinds"
    request.model_spec.signature_name = name
    tensor = request.inputs["x"]
    tensor.dtype = _tensor(stubs, name, "typed fields").dtype
    tensor.tensor_shape.dim.add(size=2)
    getattr(tensor, field).extend(values)
    code, message = stubs.refused(stubs.prediction.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("tensor parsing error: x: ")
    assert message.endswith(said)
