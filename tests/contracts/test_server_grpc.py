"""What only gRPC can say: malformed tensors, filters, metadata, status, health, long messages (§0, §1, §5, §7)."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from exchanges import Ask, Stubs


def _request(stubs: Stubs, **inputs: Any) -> Any:
    request = stubs.predict_request(Ask({}), content=False)
    for alias, proto in inputs.items():
        request.inputs[alias].CopyFrom(proto)
    return request


def _proto(stubs: Stubs, value: Any, kind: Any = None, **changes: Any) -> Any:
    proto = stubs.tf.make_tensor_proto(value, kind or stubs.tf.float32)
    for name, changed in changes.items():
        proto.ClearField(name)
        if isinstance(changed, bytes | int):
            setattr(proto, name, changed)
    return proto


def test_inputs_that_the_signature_does_not_have(stubs: Stubs) -> None:
    good = _proto(stubs, [1.0])
    assert stubs.refused(stubs.prediction.Predict, _request(stubs)) == (
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    )
    assert stubs.refused(stubs.prediction.Predict, _request(stubs, x=good, z=good)) == (
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}.",
    )
    assert stubs.refused(stubs.prediction.Predict, _request(stubs, z=good)) == (
        "INVALID_ARGUMENT",
        "input tensor alias not found in signature: z. Inputs expected to be in the set {x}.",
    )


def test_requests_of_one_form_are_each_answered_for_themselves(stubs: Stubs) -> None:
    """A request like one before is read by that one's form, and so must be told apart in all but its numbers."""
    from tensorflow.core.framework import tensor_pb2

    def ask(values: list[float], signature: str = "", *, typed: bool = False) -> list[float]:
        proto = (
            tensor_pb2.TensorProto(dtype=1, float_val=values)
            if typed
            else tensor_pb2.TensorProto(dtype=1, tensor_content=np.float32(values).tobytes())
        )
        proto.tensor_shape.dim.add(size=len(values))
        request = _request(stubs, x=proto)
        request.model_spec.signature_name = signature
        reply = stubs.prediction.Predict(request, timeout=60)
        return list(reply.outputs["y"].float_val)

    offset = ask([0.0])[0]
    for typed in (False, True, False, True):
        for number in range(4):
            assert ask([number, 2.0 * number], typed=typed) == [
                2 * number + offset,
                4 * number + offset,
            ]
    large = [float(number) for number in range(9000)]
    for _ in range(3):
        assert ask(large) == [2 * number + offset for number in large]
        large.reverse()
    assert ask([3.0], "checked") == [3.0]
    assert ask([4.0], "checked") == [4.0]
    with pytest.raises(grpc.RpcError, match="x must be positive"):
        ask([-1.0], "checked")
    assert ask([5.0]) == [10 + offset]


def test_tensors_that_are_none(stubs: Stubs) -> None:
    from tensorflow.core.framework import tensor_pb2

    bad_content = _proto(stubs, [1.0, 2.0], tensor_content=b"\0" * 7, float_val=None)
    huge = tensor_pb2.TensorProto(dtype=1)
    huge.tensor_shape.dim.add(size=10**9)
    negative = tensor_pb2.TensorProto(dtype=1)
    negative.tensor_shape.dim.add(size=-1)
    unknown = tensor_pb2.TensorProto(dtype=1)
    unknown.tensor_shape.unknown_rank = True
    untyped = tensor_pb2.TensorProto(dtype=0)
    overflowing = tensor_pb2.TensorProto(dtype=1)
    for _ in range(5):
        overflowing.tensor_shape.dim.add(size=2**40)
    for proto in (bad_content, huge, negative, unknown, untyped, overflowing):
        code, message = stubs.refused(stubs.prediction.Predict, _request(stubs, x=proto))
        assert (code, message.startswith("tensor parsing error: x")) == ("INVALID_ARGUMENT", True)


def test_the_wrong_element_type_is_tensorflows_error(stubs: Stubs) -> None:
    code, message = stubs.refused(
        stubs.prediction.Predict, _request(stubs, x=_proto(stubs, [1], stubs.tf.int32))
    )
    assert code == "INVALID_ARGUMENT"
    assert message == "Expects arg[0] to be float but int32 is provided"


def test_output_filter(stubs: Stubs) -> None:
    ask = Ask({"image": ("string", ["a"]), "k": ("int64", [1])}, model="columns")
    request = stubs.predict_request(ask, content=False)
    request.output_filter.extend(["text", "next"])
    assert stubs.prediction.Predict(request).outputs.keys() == {"text", "next"}
    request.output_filter.append("text")
    assert stubs.refused(stubs.prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: text",
    )
    request.output_filter[:] = ["other"]
    assert stubs.refused(stubs.prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: other Outputs expected to be in the set {next,raw_bytes,text}.",
    )


def test_no_model_name(stubs: Stubs) -> None:
    request = _request(stubs, x=_proto(stubs, [1.0]))
    request.model_spec.name = ""
    assert stubs.refused(stubs.prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    )


def test_long_messages_are_cut(stubs: Stubs) -> None:
    request = _request(stubs, x=_proto(stubs, [1.0]))
    request.model_spec.signature_name = "s" * 5000
    code, message = stubs.refused(stubs.prediction.Predict, request)
    assert code == "FAILED_PRECONDITION"
    assert message.startswith('Serving signature key "sss')
    assert (len(message), message[1024:]) == (1024 + 12, "...TRUNCATED")


def test_the_session_service_is_not_there(stubs: Stubs) -> None:
    method = stubs.channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    assert stubs.refused(method, b"")[0] == "UNIMPLEMENTED"


def test_metadata_over_grpc(stubs: Stubs) -> None:
    from tensorflow_serving.apis import get_model_metadata_pb2 as pb

    ask = pb.GetModelMetadataRequest()
    assert stubs.refused(stubs.prediction.GetModelMetadata, ask) == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )
    ask.model_spec.name = "columns"
    assert stubs.refused(stubs.prediction.GetModelMetadata, ask) == (
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    ask.metadata_field.append("graph")
    assert stubs.refused(stubs.prediction.GetModelMetadata, ask) == (
        "INVALID_ARGUMENT",
        "Metadata field graph is not supported",
    )
    ask.metadata_field[:] = ["signature_def"]
    reply = stubs.prediction.GetModelMetadata(ask)
    found = pb.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(found)
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("columns", 5)
    assert found.signature_def.keys() == {
        *("serving_default", "uneven", "doubled", "strange", "infinite")
    }


@pytest.mark.parametrize(
    ("version", "label", "expected"),
    [(None, None, 2), (1, None, 1), (None, "stable", 1)],
    ids=["newest", "by number", "by label"],
)
def test_metadata_of_a_version(
    stubs: Stubs, version: int | None, label: str | None, expected: int
) -> None:
    from tensorflow_serving.apis import get_model_metadata_pb2 as pb

    request = pb.GetModelMetadataRequest(metadata_field=["signature_def"])
    stubs.fill_spec(request.model_spec, Ask({}, version=version, label=label))
    spec = stubs.prediction.GetModelMetadata(request).model_spec
    assert (spec.name, spec.version.value, spec.version_label) == ("double", expected, "")
    assert not spec.signature_name


def test_metadata_of_what_is_not_there(stubs: Stubs) -> None:
    from tensorflow_serving.apis import get_model_metadata_pb2 as pb

    request = pb.GetModelMetadataRequest(metadata_field=["signature_def"])
    stubs.fill_spec(request.model_spec, Ask({}, version=9))
    assert stubs.refused(stubs.prediction.GetModelMetadata, request) == (
        "NOT_FOUND",
        "Servable not found for request: Specific(double, 9)",
    )
    request.model_spec.Clear()
    request.model_spec.SetInParent()
    assert stubs.refused(stubs.prediction.GetModelMetadata, request) == (
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    )


def test_status_over_grpc_ignores_labels(stubs: Stubs) -> None:
    from tensorflow_serving.apis import get_model_status_pb2 as pb

    request = pb.GetModelStatusRequest()
    for label in ("stable", "x"):
        stubs.fill_spec(request.model_spec, Ask({}, label=label))
        found = stubs.model.GetModelStatus(request).model_version_status
        assert [one.version for one in found] == [2, 1]
    request.model_spec.Clear()
    request.model_spec.name = "m"
    assert stubs.refused(stubs.model.GetModelStatus, request) == (
        "NOT_FOUND",
        "Could not find any versions of model m",
    )


def test_status_over_grpc(stubs: Stubs) -> None:
    from tensorflow_serving.apis import get_model_status_pb2 as pb

    ask = pb.GetModelStatusRequest()
    assert stubs.refused(stubs.model.GetModelStatus, ask) == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )
    ask.model_spec.name = "double"
    assert [
        (one.version, one.state) for one in stubs.model.GetModelStatus(ask).model_version_status
    ] == [(2, 30), (1, 30)]
    ask.model_spec.version.value = 1
    assert [one.version for one in stubs.model.GetModelStatus(ask).model_version_status] == [1]
    ask.model_spec.version.value = 9
    assert stubs.refused(stubs.model.GetModelStatus, ask) == (
        "NOT_FOUND",
        "Could not find version 9 of model double",
    )
    ask.model_spec.Clear()
    ask.model_spec.name = "half uploaded"
    [entry] = stubs.model.GetModelStatus(ask).model_version_status
    assert (entry.state, entry.status.error_code) == (50, 5)


def test_health_over_grpc(stubs: Stubs) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    health = health_pb2_grpc.HealthStub(stubs.channel)

    def status(service: str) -> int:
        return int(health.Check(health_pb2.HealthCheckRequest(service=service)).status)

    serving, not_serving = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert status("double") == serving
    assert status("half uploaded") == not_serving
    # Not every configured model serves, so the server as a whole is not ready.
    assert status("") == not_serving
    assert status("tensorflow.serving.PredictionService") == not_serving
    assert status("PredictionService") == not_serving
    assert stubs.refused(health.Check, health_pb2.HealthCheckRequest(service="m"))[0] == "NOT_FOUND"
