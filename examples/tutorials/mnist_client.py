"""Classify test digits over gRPC and print the share of wrong answers.

    python -m tutorials.mnist_client --num_tests=1000 --server=localhost:9000 --concurrency=10

An ordinary client of TensorFlow Serving: its messages and stubs are those of `tensorflow-serving-api`.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from digits.train import load

TIMEOUT_SECONDS = 10.0


class Client:
    """Asks for one image at a time."""

    def __init__(self, server: str, model: str) -> None:
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(server)
        )
        self._model = model

    def predict(self, image: np.ndarray) -> int:
        """The digit of an image [64] by Predict, with the image as a tensor."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(image[np.newaxis]))
        answer = self._stub.Predict(request, TIMEOUT_SECONDS)
        return int(np.argmax(answer.outputs["scores"].float_val))

    def classify(self, image: np.ndarray) -> int:
        """The digit of an image [64] by Classify, with the image as a tf.Example."""
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = self._model
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.extend(image)
        answer = self._stub.Classify(request, TIMEOUT_SECONDS)
        scores = [one.score for one in answer.result.classifications[0].classes]
        return int(np.argmax(scores))


def main() -> None:
    """Ask and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="localhost:9000", help="HOST:PORT of the gRPC API")
    parser.add_argument("--model", default="mnist")
    parser.add_argument("--num_tests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--method", choices=("predict", "classify"), default="predict")
    arguments = parser.parse_args()
    digits = load()
    images = digits.test_images[: arguments.num_tests]
    labels = digits.test_labels[: arguments.num_tests]
    ask = getattr(Client(arguments.server, arguments.model), arguments.method)
    with ThreadPoolExecutor(arguments.concurrency) as threads:
        answers = np.array(list(threads.map(ask, images)))
    print(f"Inference error rate: {np.mean(answers != labels):.1%}")


if __name__ == "__main__":
    main()
