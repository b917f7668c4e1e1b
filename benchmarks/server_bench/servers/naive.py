"""What one writes first: grpc.aio, the generated stubs, the signature function and TensorFlow's own tensor helpers."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    def __init__(self, export: str) -> None:
        self._model = tf.saved_model.load(export)
        self._signature = self._model.signatures["serving_default"]

    async def Predict(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's names
        inputs = {
            name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()
        }
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        for name, value in self._signature(**inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response


async def main(port: int, export: str) -> None:
    server = grpc.aio.server()
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(export), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
