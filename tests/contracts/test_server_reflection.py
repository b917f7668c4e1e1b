"""gRPC server reflection, as grpcurl and its like use it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest

from exchanges import Ask, Stubs

REFLECTION = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"
X = {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "1"}]}, "floatVal": [1.0]}
OPEN_X = {"name": "x", "datatype": "FP32", "shape": ["1"], "contents": {"fp32Contents": [1.0]}}


def test_a_client_without_proto_files_learns_everything_from_the_server(stubs: Stubs) -> None:
    """As grpcurl does: list the services, describe one, and call a method by what was told."""
    from google.protobuf import descriptor_pool, json_format, message_factory
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
        ProtoReflectionDescriptorDatabase,
    )

    told = ProtoReflectionDescriptorDatabase(stubs.channel)
    assert set(told.get_services()) == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
    pool = descriptor_pool.DescriptorPool(told)
    called = {}
    for service in told.get_services():
        for method in pool.FindServiceByName(service).methods:
            request = message_factory.GetMessageClass(method.input_type)()
            reply = message_factory.GetMessageClass(method.output_type)
            if method.name in {"Predict", "ModelInfer"}:
                tensor = {
                    "Predict": {"modelSpec": {"name": "double"}, "inputs": {"x": X}},
                    "ModelInfer": {"modelName": "double", "inputs": [OPEN_X]},
                }[method.name]
                call = stubs.channel.unary_unary(f"/{service}/{method.name}")
                answer = reply.FromString(
                    call(json_format.ParseDict(tensor, request).SerializeToString())
                )
                called[method.name] = json_format.MessageToDict(answer)["outputs"]
    assert called["Predict"]["y"]["floatVal"] == [4.0]
    assert called["ModelInfer"][0]["contents"]["fp32Contents"] == [4.0]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_of_reflection_answer_a_stream_of_questions(
    stubs: Stubs, version: str
) -> None:
    from grpc_reflection.v1alpha import reflection_pb2 as pb

    call = stubs.channel.stream_stream(REFLECTION.format(version))
    questions = [
        pb.ServerReflectionRequest(list_services=""),
        pb.ServerReflectionRequest(file_containing_symbol="tensorflow.serving.PredictionService"),
        pb.ServerReflectionRequest(file_containing_symbol="no.such.Thing"),
        pb.ServerReflectionRequest(file_by_filename="no/such.proto"),
        pb.ServerReflectionRequest(),
    ]
    answers = [
        pb.ServerReflectionResponse.FromString(answer)
        for answer in call((one.SerializeToString() for one in questions), timeout=60)
    ]
    kinds = [answer.WhichOneof("message_response") for answer in answers]
    assert kinds == [
        "list_services_response",
        "file_descriptor_response",
        *["error_response"] * 3,
    ]
    with pytest.raises(grpc.RpcError) as refused:
        next(call(iter([b"\xff"]), timeout=60))
    assert refused.value.code().name == "INVALID_ARGUMENT"
    assert refused.value.details() == "The request is not a ServerReflectionRequest message"


def test_clients_that_keep_reflection_open_hold_up_no_inference(stubs: Stubs) -> None:
    silent = threading.Event()

    def questions() -> Iterator[bytes]:
        silent.wait(60)
        yield from ()

    call = stubs.channel.stream_stream(REFLECTION.format("v1"))
    streams = [call(questions(), timeout=60) for _ in range(100)]
    try:
        status = stubs.predict_request(Ask({"x": ("float", [1.0])}), content=False)
        assert stubs.prediction.Predict(status, timeout=30).outputs["y"].float_val == [4.0]
    finally:
        silent.set()
        for stream in streams:
            stream.cancel()
