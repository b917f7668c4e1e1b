"""What a contract asks and hears, and a gRPC client that can say it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

HTTP = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404, "UNIMPLEMENTED": 501}


def rest_path(ask: Any, verb: str) -> str:
    """The path of a request that has a model and perhaps a version or label."""
    choice = ""
    if ask.version is not None:
        choice = f"/versions/{ask.version}"
    elif ask.label:
        choice = f"/labels/{ask.label}"
    return f"/v1/models/{ask.model.replace(' ', '%20')}{choice}{verb}"


@dataclass(frozen=True)
class Ask:
    """A Predict request; `inputs` holds (element type, value) by alias."""

    inputs: dict[str, tuple[str, Any]]
    model: str = "double"
    version: int | None = None
    label: str | None = None
    signature: str = ""


@dataclass(frozen=True)
class Hear:
    """What comes back: outputs, or a code with its message; REST may word it differently."""

    outputs: dict[str, Any] = field(default_factory=dict)
    code: str = "OK"
    message: str = ""
    rest: str = ""


class Stubs:
    def __init__(self, target: str) -> None:
        import grpc
        import tensorflow as tf
        from tensorflow_serving import apis
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        self.tf, self.apis, self.grpc = tf, apis, grpc
        self.channel = grpc.insecure_channel(target)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict_request(self, ask: Ask, *, content: bool) -> Any:
        import numpy as np
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self.fill_spec(request.model_spec, ask)
        for alias, (name, value) in ask.inputs.items():
            kind = getattr(
                self.tf,
                {"float": "float32", "double": "float64", "half": "float16"}.get(name, name),
            )
            # make_tensor_proto packs arrays into tensor_content.
            array = np.array(value, object if name == "string" else kind.as_numpy_dtype)
            proto = self.tf.make_tensor_proto(array, kind)
            if proto.tensor_content and not content:
                proto = typed(self.tf, array, proto)
            request.inputs[alias].CopyFrom(proto)
        return request

    def fill_spec(self, spec: Any, ask: Any) -> None:
        spec.name = ask.model
        spec.signature_name = ask.signature
        if ask.version is not None:
            spec.version.value = ask.version
        if ask.label is not None:
            spec.version_label = ask.label

    def example(self, features: dict[str, Any]) -> Any:
        """A tf.Example of features that are an `int`, `float`, `str` or `bytes`, or a list of one of them."""
        example = self.tf.train.Example()
        for name, content in features.items():
            values = content if isinstance(content, list) else [content]
            feature = example.features.feature[name]
            if isinstance(values[0], float):
                feature.float_list.value.extend(values)
            elif isinstance(values[0], int):
                feature.int64_list.value.extend(values)
            else:
                feature.bytes_list.value.extend(
                    value.encode() if isinstance(value, str) else value for value in values
                )
        return example

    def fill_input(
        self, message: Any, examples: list[dict[str, Any]], context: dict[str, Any] | None
    ) -> None:
        if context is not None:
            message = message.example_list_with_context
            message.context.CopyFrom(self.example(context))
        else:
            message = message.example_list
        message.examples.extend(self.example(example) for example in examples)

    def refused(self, method: Any, request: Any) -> tuple[str, str]:
        with pytest.raises(self.grpc.RpcError) as error:
            method(request)
        return error.value.code().name, error.value.details() or ""


def typed(tf: Any, array: Any, proto: Any) -> Any:
    """Move values from tensor_content to the typed field."""
    fields = {
        "f4": "float_val",
        "f8": "double_val",
        "i8": "int64_val",
        "u4": "uint32_val",
        "u8": "uint64_val",
    }
    name = "bool_val" if array.dtype == bool else fields.get(array.dtype.str[1:], "int_val")
    moved = tf.make_tensor_proto(0)
    moved.CopyFrom(proto)
    moved.ClearField("tensor_content")
    getattr(moved, name).extend(array.ravel().tolist())
    return moved
