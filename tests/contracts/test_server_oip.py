"""The Open Inference Protocol v2 against the models of the exchange tables, over both protocols."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from exchanges import Stubs
from modelserver import ModelServer
from slipway_server.wire.inference import open_inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"
REQUEST = {
    "id": "42",
    "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.5]}],
}

READING: list[tuple[str, str, int, Any]] = [
    ("live", "/v2/health/live", 200, {"live": True}),
    # One of the models cannot be loaded, so the whole is not ready.
    ("not all are ready", "/v2/health/ready", 503, {"ready": False}),
    ("a model", "/v2/models/double/ready", 200, {"name": "double", "ready": True}),
    ("a version", "/v2/models/double/versions/1/ready", 200, {"name": "double", "ready": True}),
    (
        "a model that could not be loaded",
        "/v2/models/half%20uploaded/ready",
        503,
        {"name": "half uploaded", "ready": False},
    ),
    ("no such model", "/v2/models/m", 404, {"error": "Servable not found for request: Latest(m)"}),
    (
        "metadata",
        "/v2/models/double",
        200,
        {
            "name": "double",
            "versions": ["1", "2"],
            "platform": "tensorflow_savedmodel",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
        },
    ),
    (
        "metadata of a signature that serving_default is not",
        "/v2/models/words/versions/1",
        200,
        {
            "name": "words",
            "versions": ["1"],
            "platform": "tensorflow_savedmodel",
            "inputs": [{"name": "word", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "id", "datatype": "INT64", "shape": [-1]}],
        },
    ),
]


@pytest.mark.parametrize(
    ("path", "status", "body"), [one[1:] for one in READING], ids=[one[0] for one in READING]
)
def test_questions(server: ModelServer, path: str, status: int, body: Any) -> None:
    answer = server.get(path)
    assert (answer.status_code, answer.json()) == (status, body)


@pytest.mark.parametrize(
    ("path", "version", "values"),
    [("/v2/models/double", "2", [4.0, 7.0]), ("/v2/models/double/versions/1", "1", [3.0, 6.0])],
)
def test_infer_over_rest(server: ModelServer, path: str, version: str, values: Any) -> None:
    answer = server.http.post(path + "/infer", json=REQUEST)
    assert answer.json() == {
        "model_name": "double",
        "model_version": version,
        "id": "42",
        "outputs": [{"name": "y", "shape": [2], "datatype": "FP32", "data": values}],
    }


def test_what_is_not_finite_over_rest(server: ModelServer) -> None:
    text = json.dumps(REQUEST).replace("[1.0, 2.5]", "[NaN, -Infinity]")
    for path, data in (("double", text), ("double/versions/1", text.replace("NaN", "null"))):
        answer = server.http.post(f"/v2/models/{path}/infer", content=data.encode())
        assert answer.status_code == 200, answer.text
        assert '"data":[NaN,-Infinity]' in answer.text


def test_strings_over_rest(server: ModelServer) -> None:
    word = {"name": "word", "shape": [2], "datatype": "BYTES", "data": ["two", "x"]}
    answer = server.http.post("/v2/models/words/infer", json={"inputs": [word]}).json()
    assert answer["outputs"] == [{"name": "id", "shape": [2], "datatype": "INT64", "data": [2, -1]}]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        (
            {"parameters": {"signature_name": "no"}},
            400,
            'Serving signature key "no" not found.',
        ),
        (
            {
                "parameters": {"signature_name": "checked"},
                "inputs": [REQUEST["inputs"][0] | {"data": [-1, -1]}],
            },  # type: ignore[index, operator]
            400,
            "x must be positive",
        ),
        ({"inputs": []}, 400, "Missing but required: {x}"),
    ],
)
def test_errors_over_rest(server: ModelServer, change: Any, status: int, message: str) -> None:
    answer = server.http.post("/v2/models/double/infer", json=REQUEST | change)
    assert (answer.status_code, message in answer.json()["error"]) == (status, True)


def _ask(stubs: Stubs, name: str, request: Any, reply: type) -> Any:
    method = stubs.channel.unary_unary(
        SERVICE + name,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reply.FromString,  # type: ignore[attr-defined]
    )
    return method(request, timeout=30)


@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
def test_infer_over_grpc(stubs: Stubs, *, raw: bool) -> None:
    import numpy as np

    request = pb.ModelInferRequest(model_name="double", model_version="1", id="7")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[2])
    if raw:
        request.raw_input_contents.append(np.array([1, 2.5], np.float32).tobytes())
    else:
        tensor.contents.fp32_contents.extend([1, 2.5])
    reply = _ask(stubs, "ModelInfer", request, pb.ModelInferResponse)
    assert (reply.model_name, reply.model_version, reply.id) == ("double", "1", "7")
    values = (
        np.frombuffer(reply.raw_output_contents[0], np.float32).tolist()
        if raw
        else list(reply.outputs[0].contents.fp32_contents)
    )
    assert values == [3.0, 6.0]


def test_questions_over_grpc(stubs: Stubs) -> None:
    assert _ask(stubs, "ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse).live
    assert not _ask(stubs, "ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready
    about = _ask(stubs, "ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
    assert about.name == "slipway-server"
    ready = pb.ModelReadyRequest(name="double", version="2")
    assert _ask(stubs, "ModelReady", ready, pb.ModelReadyResponse).ready
    asked = pb.ModelMetadataRequest(name="double")
    metadata = _ask(stubs, "ModelMetadata", asked, pb.ModelMetadataResponse)
    assert (list(metadata.versions), metadata.inputs[0].datatype) == (["1", "2"], "FP32")


def test_errors_over_grpc(stubs: Stubs) -> None:
    with pytest.raises(grpc.RpcError) as error:
        _ask(stubs, "ModelInfer", pb.ModelInferRequest(model_name="m"), pb.ModelInferResponse)
    assert (error.value.code().name, error.value.details()) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    )
