"""Writes the models and the requests that are measured: `python -m server_bench.exports FOLDER`.

softmax/1      784 floats to 10: what a request costs beside the model
identity/1     256 × 1024 floats (1 MiB) back as they came: what bytes cost
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from server_bench import standin

FEATURES, CLASSES = 784, 10
LARGE = (256, 1024)


def main(folder: Path) -> None:
    import numpy as np
    import tensorflow as tf

    class Softmax(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.random.stateless_normal([FEATURES, CLASSES], [1, 2]))
            self.bias = tf.Variable(tf.zeros([CLASSES]))

        @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": tf.nn.softmax(tf.matmul(x, self.weights) + self.bias)}

    class Identity(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": tf.identity(x)}

    for name, module in (("softmax", Softmax()), ("identity", Identity())):
        tf.saved_model.save(module, str(folder / name / "1"), signatures=module.call)

    (folder / "standin.txt").write_text(
        "\n".join(
            standin.model(name, folder / name / "1", folder / f"{name}.graph")
            for name in ("softmax", "identity")
        )
    )
    chance = np.random.default_rng(1)
    small = chance.random((1, FEATURES), np.float32)
    large = chance.random(LARGE, np.float32)
    for name, values, model in (("small", small, "softmax"), ("large", large, "identity")):
        _requests(folder, name, values, model)


def _requests(folder: Path, name: str, values: Any, model: str) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
    (folder / f"{name}.predict").write_bytes(request.SerializeToString())
    (folder / f"{name}.infer").write_bytes(infer_request("model", values))
    rows = values.astype(float).round(4).tolist()
    (folder / f"{name}.v1.json").write_text(json.dumps({"instances": rows}))
    tensor = {"name": "x", "shape": list(values.shape), "datatype": "FP32", "data": rows}
    (folder / f"{name}.v2.json").write_text(json.dumps({"inputs": [tensor]}))


def infer_request(model: str, values: Any) -> bytes:
    """An Open Inference Protocol ModelInferRequest with its values as raw bytes."""
    dims = b"".join(_varint(size) for size in values.shape)
    tensor = _field(1, b"x") + _field(2, b"FP32") + _field(3, dims)
    return _field(1, model.encode()) + _field(5, tensor) + _field(7, values.tobytes())


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def protoset(path: Path) -> None:
    """Write descriptors of both protocols in which every top-level field is plain bytes.

    The generator then neither builds nor reads tensors, and costs the same for every server.
    """
    from google.protobuf import descriptor_pb2 as pb

    files = pb.FileDescriptorSet()
    for package, service, method, fields in (
        ("tensorflow.serving", "PredictionService", "Predict", (1, 2, 3)),
        ("inference", "GRPCInferenceService", "ModelInfer", tuple(range(1, 8))),
    ):
        file = files.file.add(name=f"{package}.proto", package=package, syntax="proto3")
        message = file.message_type.add(name="Opaque")
        for number in fields:
            message.field.add(
                name=f"field{number}",
                number=number,
                type=pb.FieldDescriptorProto.TYPE_BYTES,
                label=pb.FieldDescriptorProto.LABEL_REPEATED,
            )
        name = f".{package}.Opaque"
        file.service.add(name=service).method.add(name=method, input_type=name, output_type=name)
    path.write_bytes(files.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    protoset(Path(sys.argv[1]) / "opaque.protoset")
