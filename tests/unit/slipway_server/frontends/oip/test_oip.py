"""The Open Inference Protocol's bodies and messages, against a model that returns its inputs."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest

from slipway_server.core.serving_map import Servable, ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.errors import Code
from slipway_server.frontends.http.messages import HttpRequest, HttpResponse
from slipway_server.frontends.oip import server_metadata
from slipway_server.frontends.oip.grpc_service import GrpcInferenceService
from slipway_server.frontends.oip.models import OipModels
from slipway_server.frontends.oip.rest import OipRest
from slipway_server.frontends.rest.json_body import BodyLimits, JsonBodies
from slipway_server.frontends.room import Room
from slipway_server.inference.predictor import Predictor
from slipway_server.observability.telemetry import Telemetry
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec
from slipway_server.wire.inference import open_inference_pb2 as pb

KINDS = {
    "BOOL": (DType.BOOL, [True, False]),
    "UINT8": (DType.UINT8, [0, 255]),
    "UINT16": (DType.UINT16, [0, 65535]),
    "UINT32": (DType.UINT32, [0, 2**32 - 1]),
    "UINT64": (DType.UINT64, [0, 2**64 - 1]),
    "INT8": (DType.INT8, [-128, 127]),
    "INT16": (DType.INT16, [-(2**15), 2**15 - 1]),
    "INT32": (DType.INT32, [-(2**31), 2**31 - 1]),
    "INT64": (DType.INT64, [-(2**63), 2**63 - 1]),
    "FP16": (DType.HALF, [0.5, -2.0]),
    "BF16": (DType.BFLOAT16, [0.5, -2.0]),
    "FP32": (DType.FLOAT, [0.1, -3.0]),
    "FP64": (DType.DOUBLE, [0.1, 1e300]),
    "BYTES": (DType.STRING, ["é", ""]),
}


class Echo:
    """Every signature returns its input under another name."""

    example_signatures: Mapping[str, Signature] = {}

    def __init__(self) -> None:
        kinds = {label: dtype for label, (dtype, _) in KINDS.items()} | {"C": DType.COMPLEX64}
        self.signatures = {
            key: _signature(key, dtype)
            for key, dtype in (kinds | {"serving_default": DType.FLOAT}).items()
        }

    def run(
        self,
        signature: Signature,  # noqa: ARG002
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,  # noqa: ARG002
    ) -> list[Array]:
        return [inputs["x"] for _ in outputs]


def _signature(key: str, dtype: DType) -> Signature:
    unknown = TensorSpec("y:0", dtype, None)
    return Signature(
        key, "tensorflow/serving/predict", {"x": TensorSpec("x:0", dtype, (-1, 2))}, {"y": unknown}
    )


@pytest.fixture
def monitor() -> StateMonitor:
    return StateMonitor()


@pytest.fixture
def models(monitor: StateMonitor) -> OipModels:
    serving: ServingMap[Any] = ServingMap()
    for version in (1, 3):
        serving.add(Servable("m", version, Echo()))
        monitor.publish(VersionState("m", version, Availability.AVAILABLE))
    monitor.publish(VersionState("m", 4, Availability.LOADING))
    monitor.publish(VersionState("slow", 1, Availability.LOADING))
    return OipModels(Predictor(serving), monitor, serving.versions)


class Rest:
    def __init__(self, models: OipModels) -> None:
        self.telemetry = Telemetry(lambda _name: True)
        self._api = OipRest(models, self.telemetry, JsonBodies(BodyLimits(decompressed=10_000)))

    def get(self, path: str, method: str = "GET") -> HttpResponse:
        return self._api(HttpRequest(method=method, target=path.encode()))

    def infer(
        self, body: Any, path: str = "/v2/models/m/infer", headers: Any = None, more: bytes = b""
    ) -> HttpResponse:
        text = body if isinstance(body, bytes) else orjson.dumps(body)
        return self._api(
            HttpRequest(
                "POST", path.encode(), headers={} if headers is None else headers, body=text + more
            )
        )

    def tensor(self, datatype: str, data: Any, shape: Any = (2,)) -> HttpResponse:
        x = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
        return self.infer({"parameters": {"signature_name": datatype}, "inputs": [x]})


@pytest.fixture
def rest(models: OipModels) -> Rest:
    return Rest(models)


class Grpc:
    def __init__(self, models: OipModels) -> None:
        self._service = GrpcInferenceService(
            models, Telemetry(lambda _name: True), Room(1 << 30), "1.2"
        )

    def ask(self, name: str, request: Any, reply: Any) -> Any:
        method = self._service.methods()["/inference.GRPCInferenceService/" + name]
        reply.ParseFromString(method(request.SerializeToString(), _Context()))
        return reply

    def infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        reply: pb.ModelInferResponse = self.ask("ModelInfer", request, pb.ModelInferResponse())
        return reply

    def refused(self, request: pb.ModelInferRequest) -> tuple[str, str]:
        with pytest.raises(Aborted) as aborted:
            self.infer(request)
        return aborted.value.args[0].name, aborted.value.args[1]


class Aborted(Exception):  # noqa: N818 - what gRPC's context does
    pass


class _Context:
    def time_remaining(self) -> None:
        return None

    def abort(self, code: Any, message: str) -> None:
        raise Aborted(code, message)


@pytest.fixture
def grpc_(models: OipModels) -> Grpc:
    return Grpc(models)


# ---- REST ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", KINDS)
def test_every_datatype_in_json(rest: Rest, datatype: str) -> None:
    values = KINDS[datatype][1]
    answer = rest.tensor(datatype, values)
    assert answer.status == 200, answer.body
    assert orjson.loads(answer.body) == {
        "model_name": "m",
        "model_version": "3",
        "outputs": [{"name": "y", "datatype": datatype, "shape": [2], "data": values}],
    }


FLOATS = ("FP16", "BF16", "FP32", "FP64")
NOT_FINITE = "[NaN,-Infinity,Infinity,1.5]"


def _text(datatype: str, data: str, shape: int = 4) -> bytes:
    return (
        f'{{"parameters":{{"signature_name":"{datatype}"}},"inputs":[{{"name":"x","shape":[{shape}],'
        f'"datatype":"{datatype}","data":{data}}}]}}'
    ).encode()


@pytest.mark.parametrize("datatype", FLOATS)
def test_what_is_not_finite_is_taken_and_given_as_tokens(rest: Rest, datatype: str) -> None:
    answer = rest.infer(_text(datatype, NOT_FINITE))
    assert answer.status == 200, answer.body
    assert f'"data":{NOT_FINITE}' in answer.body.decode()
    # Python's own parser, and the one of tritonclient, read it.
    assert json.loads(answer.body)["outputs"][0]["data"][1:3] == [-math.inf, math.inf]
    many = "[" + ",".join([NOT_FINITE[1:-1]] * 25) + "]"
    assert f'"data":{many}' in rest.infer(_text(datatype, many, 100)).body.decode()


@pytest.mark.parametrize("datatype", FLOATS)
def test_null_is_nan_among_floating_point_numbers(rest: Rest, datatype: str) -> None:
    answer = rest.infer(_text(datatype, "[null,-2.5]", 2))
    assert '"data":[NaN,-2.5]' in answer.body.decode()


@pytest.mark.parametrize("data", ["[NaN]", "[null]", "[Infinity]", "[1.0]"])
@pytest.mark.parametrize("datatype", ["INT32", "UINT8", "BOOL", "BYTES"])
def test_what_is_not_finite_is_no_other_value(rest: Rest, datatype: str, data: str) -> None:
    answer = rest.infer(_text(datatype, data, 1))
    assert answer.status == 400
    assert f"Input 'x' of datatype {datatype} has " in orjson.loads(answer.body)["error"]


def test_what_is_not_finite_arrives_as_bytes_where_they_are_asked_for(rest: Rest) -> None:
    text = _text("FP32", "[NaN,-Infinity]", 2)
    text = text.replace(b'"parameters":{', b'"parameters":{"binary_data_output":true,')
    answer = rest.infer(text)
    length = int(dict(answer.headers)["Inference-Header-Content-Length"])
    np.testing.assert_array_equal(
        np.frombuffer(answer.body[length:], "<f4"), np.float32([np.nan, -np.inf])
    )


def test_tokens_stand_before_bytes_too(rest: Rest) -> None:
    text = _text("FP32", "[NaN,-Infinity]", 2)
    length = {b"inference-header-content-length": str(len(text)).encode()}
    assert b'"data":[NaN,-Infinity]' in rest.infer(text, headers=length).body


def test_nested_and_flat_data_are_the_same(rest: Rest) -> None:
    nested = rest.tensor("INT8", [[1, 2], [3, 4]], [2, 2])
    assert nested.body == rest.tensor("INT8", [1, 2, 3, 4], [2, 2]).body
    assert orjson.loads(nested.body)["outputs"][0]["data"] == [1, 2, 3, 4]
    assert orjson.loads(rest.tensor("INT8", [], [0, 2]).body)["outputs"][0]["shape"] == [0, 2]
    assert orjson.loads(rest.tensor("INT8", [5], []).body)["outputs"][0]["data"] == [5]


def test_id_version_and_chosen_outputs(rest: Rest) -> None:
    x = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    body = {"id": "42", "inputs": [x], "outputs": [{"name": "y"}]}
    answer = orjson.loads(rest.infer(body, "/v2/models/m/versions/1/infer").body)
    assert (answer["id"], answer["model_version"], len(answer["outputs"])) == ("42", "1", 1)
    refused = rest.infer(body | {"outputs": [{"name": "z"}]})
    assert (refused.status, b"output tensor alias not found" in refused.body) == (400, True)


@pytest.mark.parametrize(
    "nulls",
    [
        {"id": None},
        {"outputs": None},
        {"parameters": None},
        {"parameters": {"signature_name": None, "binary_data_output": None}},
        {"outputs": [{"name": "y", "parameters": None}]},
        {"outputs": [{"name": "y", "parameters": {"binary_data": None}}]},
    ],
)
def test_null_is_as_if_absent(rest: Rest, nulls: Any) -> None:
    x = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1], "parameters": None}
    answer = rest.infer({"inputs": [x]} | nulls)
    assert (answer.status, answer.body) == (200, rest.infer(_x()).body)


def test_null_for_one_output_leaves_what_is_said_of_all(rest: Rest) -> None:
    chosen = {"outputs": [{"name": "y", "parameters": {"binary_data": None}}]}
    answer = rest.infer(_x() | chosen | {"parameters": {"binary_data_output": True}})
    assert answer.content_type == "application/octet-stream"


def test_binary_tensors(rest: Rest) -> None:
    data = np.array([1.5, 2.5], "<f4").tobytes()
    x = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    text = orjson.dumps({"inputs": [x], "parameters": {"binary_data_output": True}})
    headers = {b"inference-header-content-length": str(len(text)).encode()}
    answer = rest.infer(text, headers=headers, more=data)
    assert (answer.status, answer.content_type) == (200, "application/octet-stream")
    ((name, length),) = answer.headers
    assert name == "Inference-Header-Content-Length"
    assert answer.body[int(length) :] == data
    (output,) = orjson.loads(answer.body[: int(length)])["outputs"]
    assert output == {
        "name": "y",
        "datatype": "FP32",
        "shape": [2],
        "parameters": {"binary_data_size": 8},
    }


def test_binary_can_be_chosen_for_each_output(rest: Rest) -> None:
    x = {"name": "x", "shape": [2], "datatype": "BYTES", "data": ["a", "bc"]}
    body = {
        "parameters": {"signature_name": "BYTES"},
        "inputs": [x],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    answer = rest.infer(body)
    length = int(dict(answer.headers)["Inference-Header-Content-Length"])
    assert answer.body[length:] == b"\x01\0\0\0a\x02\0\0\0bc"


def _x(**changes: Any) -> Any:
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]} | changes
    return {"inputs": [tensor]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: "),
        (b"[" * 50_000, "JSON Parse error: "),
        (b'{"inputs": []} x', "JSON Parse error: The document root must not be followed"),
        (b'{"inputs": [], "id": nan}', "JSON Parse error: Invalid value. at offset: 21"),
        (b'{"inputs": [], "id": "\\ud800"}', "JSON Parse error: The surrogate pair in string is"),
        ([], "The request must be an object"),
        ({}, "'inputs' must be a list"),
        ({"inputs": [1]}, "An entry of 'inputs' must be an object"),
        ({"inputs": [{}]}, "The name of an entry of 'inputs' must be a string"),
        (_x(datatype="FP33"), "Input 'x' has the unknown datatype 'FP33'"),
        (_x(datatype=None), "Input 'x' has the unknown datatype None"),
        (_x(datatype="FP64"), "Input 'x' has the datatype FP64, but the model expects FP32"),
        (_x(shape=None), "'shape of input 'x'' must be a list"),
        (_x(shape=[-1]), "Input 'x' has the dimension -1"),
        (_x(shape=[1.0]), "Input 'x' has the dimension 1.0"),
        (_x(shape=[10**9]), "Input 'x' has 1 values, but its shape [1000000000] needs 1000000000"),
        (_x(shape=[2**62, 2**62, 0]), "The shape [4611686018427387904, 46116860184273"),
        (_x(shape=[1] * 65), "Input 'x' has 65 dimensions, more than 64"),
        (_x(shape=[3], data=[1, [2, 3]]), "Input 'x' has 2 values, but its shape [3] needs 3"),
        (_x(shape=[2], data=[1, [2]]), "Input 'x' of datatype FP32 has a list in its data"),
        (_x(data=["1"]), "Input 'x' of datatype FP32 has a string in its data"),
        (_x(data=[True]), "Input 'x' of datatype FP32 has a bool in its data"),
        (_x(datatype="INT8", data=[None]), "Input 'x' of datatype INT8 has null in its data"),
        (_x(datatype="INT8", data=[1.5]), "Input 'x' of datatype INT8 has a float in its data"),
        (_x(datatype="INT8", data=[128]), "Input 'x' has a value that is no INT8: it must be"),
        (_x(datatype="BYTES", data=[1]), "Input 'x' of datatype BYTES has a int in its data"),
        ({"inputs": _x()["inputs"] * 2}, "Input 'x' is given twice"),
        (_x() | {"id": 1}, "'id' must be a string"),
        (_x() | {"parameters": 1}, "The parameters of the request must be an object"),
        (_x() | {"parameters": {"signature_name": 1}}, "The parameter 'signature_name' must be"),
        (_x() | {"outputs": [{}]}, "The name of an entry of 'outputs' must be a string"),
        (_x(name="z"), "input tensor alias not found in signature: z"),
        (_x(parameters={"binary_data_size": 4}), "The binary_data_size of input 'x' is 4, but 0"),
    ],
)
def test_bad_bodies(rest: Rest, body: Any, message: str) -> None:
    answer = rest.infer(body)
    assert answer.status == 400
    assert message in orjson.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("header", "size", "more", "message"),
    [
        (b"x", 8, b"", "Inference-Header-Content-Length must be a number"),
        (b"9999", 8, b"", "Inference-Header-Content-Length is 9999, but the body has"),
        (None, 8, b"1234567", "The binary_data_size of input 'x' is 8, but 7 bytes are left"),
        (None, 8, b"123456789", "The body has 1 bytes more than the inputs' binary_data_size"),
        (None, 4, b"1234", "Input 'x' has 4 bytes, but its shape [2] of datatype FP32 needs 8"),
        (None, -1, b"", "The binary_data_size of input 'x' is -1"),
    ],
)
def test_bad_binary(rest: Rest, header: bytes | None, size: int, more: bytes, message: str) -> None:
    x = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    text = orjson.dumps({"inputs": [x]})
    length = str(len(text)).encode() if header is None else header
    answer = rest.infer(text, headers={b"inference-header-content-length": length}, more=more)
    assert answer.status == 400
    assert message in orjson.loads(answer.body)["error"]


@pytest.mark.parametrize("cut", [b"\x05\0\0\0ab", b"\x01\0", b""])
def test_strings_that_are_cut_short(grpc_: Grpc, cut: bytes) -> None:
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[cut])
    request.inputs.add(name="x", datatype="BYTES", shape=[1])
    code, message = grpc_.refused(request)
    assert code == "INVALID_ARGUMENT"
    assert "truncated" in message or "has 0 values" in message


def test_bytes_that_are_no_text_need_the_binary_form(rest: Rest) -> None:
    x = {"name": "x", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}
    text = orjson.dumps({"parameters": {"signature_name": "BYTES"}, "inputs": [x]})
    headers = {b"inference-header-content-length": str(len(text)).encode()}
    answer = rest.infer(text, headers=headers, more=b"\x01\0\0\0\xff")
    assert (answer.status, b"request it with the parameter binary_data" in answer.body) == (
        400,
        True,
    )


def test_model_metadata(rest: Rest) -> None:
    answer = orjson.loads(rest.get("/v2/models/m").body)
    assert answer == {
        "name": "m",
        "versions": ["1", "3"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }
    assert orjson.loads(rest.get("/v2/models/m/versions/1").body)["versions"] == ["1"]


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/v2/models/m/ready", 200, {"name": "m", "ready": True}),
        ("/v2/models/m/versions/1/ready", 200, {"name": "m", "ready": True}),
        ("/v2/models/m/versions/4/ready", 503, {"name": "m", "ready": False}),
        ("/v2/models/slow/ready", 503, {"name": "slow", "ready": False}),
        ("/v2/models/no/ready", 404, {"name": "no", "ready": False}),
        ("/v2/models/no/versions/1/ready", 404, {"name": "no", "ready": False}),
        ("/v2/models/m/versions/9/ready", 404, {"name": "m", "ready": False}),
        ("/v2/models/m/versions/x/ready", 400, {"error": "The model version 'x' is not a number"}),
        ("/v2/models/no", 404, {"error": "Servable not found for request: Latest(no)"}),
        ("/v2/models/m/infer", 400, {"error": "/v2/models/m/infer requires the method POST"}),
        ("/v2/nothing", 404, {"error": "There is no /v2/nothing"}),
        ("/v2/models/a%2Fb/ready", 404, {"name": "a/b", "ready": False}),
    ],
)
def test_questions_about_models(rest: Rest, path: str, status: int, body: Any) -> None:
    answer = rest.get(path)
    assert (answer.status, orjson.loads(answer.body)) == (status, body)


def test_requests_are_counted_under_their_own_names(rest: Rest) -> None:
    rest.infer(_x())
    text = rest.telemetry.text().decode()
    assert (
        'slipway_requests_total{code="OK",method="ModelInfer",model="m",protocol="REST",'
        'signature="serving_default",version="3"} 1.0'
    ) in text
    # TensorFlow Serving counts what comes to /v1/.
    assert 'request_count{model_name="m"' not in text


@pytest.mark.parametrize("ready", [True, False])
def test_pages_about_the_server(ready: bool) -> None:  # noqa: FBT001
    pages = {**server_metadata.fixed_pages("1.2"), **server_metadata.pages(lambda: ready)}
    assert orjson.loads(pages["/v2"]().body) == {
        "name": "slipway-server",
        "version": "1.2",
        "extensions": ["binary_tensor_data"],
    }
    assert orjson.loads(pages["/v2/health/live"]().body) == {"live": True}
    answer = pages["/v2/health/ready"]()
    assert (answer.status, orjson.loads(answer.body)) == (200 if ready else 503, {"ready": ready})
    methods = server_metadata.methods(lambda: ready)
    service = "/inference.GRPCInferenceService/"
    assert pb.ServerLiveResponse.FromString(methods[service + "ServerLive"](b"", None)).live
    reply = pb.ServerReadyResponse.FromString(methods[service + "ServerReady"](b"", None))
    assert reply.ready is ready


# ---- gRPC ------------------------------------------------------------------------------------------------------------

CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def _request(datatype: str, values: Any = None) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="m", id="7")
    request.parameters["signature_name"].string_param = datatype
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[2])
    if values is not None:
        getattr(tensor.contents, CONTENTS[datatype]).extend(values)
    return request


@pytest.mark.parametrize("datatype", CONTENTS)
def test_typed_contents(grpc_: Grpc, datatype: str) -> None:
    values = KINDS[datatype][1]
    sent = [value.encode() if isinstance(value, str) else value for value in values]
    reply = grpc_.infer(_request(datatype, sent))
    assert (reply.model_name, reply.model_version, reply.id) == ("m", "3", "7")
    (output,) = reply.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, [2])
    assert not reply.raw_output_contents
    received = list(getattr(output.contents, CONTENTS[datatype]))
    assert received == (pytest.approx(sent) if datatype == "FP32" else sent)


@pytest.mark.parametrize("datatype", KINDS)
def test_raw_contents(grpc_: Grpc, datatype: str) -> None:
    dtype, values = KINDS[datatype]
    if dtype is DType.STRING:
        raw = b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in values)
    else:
        raw = np.array(values, dtype.numpy).tobytes()
    request = _request(datatype)
    request.raw_input_contents.append(raw)
    reply = grpc_.infer(request)
    assert list(reply.raw_output_contents) == [raw]
    assert not reply.outputs[0].HasField("contents")


def test_16_bit_floats_answer_raw(grpc_: Grpc) -> None:
    request = _request("BF16")
    request.raw_input_contents.append(np.array([1, 2], ml_dtypes.bfloat16).tobytes())
    assert len(grpc_.infer(request).raw_output_contents[0]) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.inputs[0].contents.int_contents.append(3), "Input 'x' has 3 values, but"),
        (lambda r: r.raw_input_contents.append(b""), "contents beside raw_input_contents"),
        (lambda r: r.raw_input_contents.extend([b"", b""]), "2 entries, but there are 1 inputs"),
        (
            lambda r: r.inputs[0].contents.int_contents.__setitem__(0, 200),
            "a value that is no INT8",
        ),
        (lambda r: setattr(r, "model_version", "x"), "The model version 'x' is not a number"),
        (lambda r: r.inputs.add().CopyFrom(r.inputs[0]), "Input 'x' is given twice"),
        (lambda r: r.inputs[0].shape.__setitem__(0, -2), "Input 'x' has the dimension -2"),
        (
            lambda r: setattr(r.inputs[0], "datatype", "FP16"),
            "Input 'x' of 16-bit floats must be in raw_input_contents",
        ),
    ],
)
def test_bad_messages(grpc_: Grpc, change: Any, message: str) -> None:
    request = _request("INT8", [1, 2])
    change(request)
    code, said = grpc_.refused(request)
    assert code == "INVALID_ARGUMENT"
    assert message in said


def test_a_type_without_a_form_is_said(models: OipModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "run", lambda *_: [np.zeros(2, np.complex64)])
    request = _request("INT8", [1, 2])
    assert Grpc(models).refused(request) == (
        "UNIMPLEMENTED",
        "Output 'y' of type complex64 cannot be represented in this protocol",
    )


def test_questions_over_grpc(grpc_: Grpc) -> None:
    about = grpc_.ask("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse())
    assert (about.name, about.version) == ("slipway-server", "1.2")
    asked = pb.ModelMetadataRequest(name="m")
    metadata = grpc_.ask("ModelMetadata", asked, pb.ModelMetadataResponse())
    assert list(metadata.versions) == ["1", "3"]
    assert list(metadata.inputs[0].shape) == [-1, 2]
    for name, version, ready in (
        ("m", "", True),
        ("m", "4", False),
        ("m", "9", False),
        ("slow", "", False),
        ("no", "", False),
        ("no", "1", False),
    ):
        question = pb.ModelReadyRequest(name=name, version=version)
        assert grpc_.ask("ModelReady", question, pb.ModelReadyResponse()).ready is ready
    question = pb.ModelReadyRequest(name="m", version="x")
    with pytest.raises(Aborted) as aborted:
        grpc_.ask("ModelReady", question, pb.ModelReadyResponse())
    assert aborted.value.args[0].value[0] == int(Code.INVALID_ARGUMENT)
