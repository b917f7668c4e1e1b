"""Every element type through a model and back, in both forms of a TensorProto (§7), and what JSON says of each (§8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from exchanges import Stubs
from modelserver import ModelServer
from server_exchanges.kinds import KINDS

JSON_INPUTS = {
    *("float", "double", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"),
    *("bool", "string"),
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
