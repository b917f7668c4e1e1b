"""Classify the 1 000 test digits through a running model server and print the error rate.

    PYTHONPATH=examples python -m digits.classify --grpc HOST:8500 --rest http://HOST:8501

It is an ordinary client of TensorFlow Serving's APIs and knows nothing of Slipway.
"""

import argparse
import json
import urllib.request
from collections.abc import Callable

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from digits.train import Digits, load

BATCH = 50
TIMEOUT_SECONDS = 10.0

Predict = Callable[[np.ndarray], np.ndarray]
"""Images [n, 64] to digits [n]."""


def request_for(images: np.ndarray, model: str) -> predict_pb2.PredictRequest:
    """The Predict request for images [n, 64] of float32."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "serving_default"
    tensor = request.inputs["images"]
    tensor.dtype = 1  # DT_FLOAT
    for size in images.shape:
        tensor.tensor_shape.dim.add().size = size
    tensor.tensor_content = images.astype("<f4").tobytes()
    return request


def over_grpc(target: str, model: str) -> Predict:
    """Predict through gRPC."""
    channel = grpc.insecure_channel(target)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def predict(images: np.ndarray) -> np.ndarray:
        answer = stub.Predict(request_for(images, model), timeout=TIMEOUT_SECONDS)
        return np.array(answer.outputs["digit"].int64_val)

    return predict


def over_rest(url: str, model: str) -> Predict:
    """Predict through REST."""

    def predict(images: np.ndarray) -> np.ndarray:
        body = json.dumps({"instances": images.tolist()}).encode()
        with urllib.request.urlopen(  # noqa: S310 (the caller's own server)
            f"{url}/v1/models/{model}:predict", data=body, timeout=TIMEOUT_SECONDS
        ) as answer:
            predictions = json.load(answer)["predictions"]
        return np.array([prediction["digit"] for prediction in predictions])

    return predict


def error_rate(predict: Predict, digits: Digits) -> float:
    """Share of the test images that are classified wrongly."""
    images, labels = digits.test_images, digits.test_labels
    batches = range(0, len(images), BATCH)
    answers = np.concatenate([predict(images[start : start + BATCH]) for start in batches])
    return float(np.mean(answers != labels))


def main() -> None:
    """Classify over each protocol that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grpc", help="HOST:PORT of the gRPC API")
    parser.add_argument("--rest", help="http://HOST:PORT of the REST API")
    parser.add_argument("--model", default="digits")
    arguments = parser.parse_args()
    digits = load()
    if arguments.grpc:
        rate = error_rate(over_grpc(arguments.grpc, arguments.model), digits)
        print(f"gRPC: {rate:.1%} of {len(digits.test_images)} images wrong")
    if arguments.rest:
        rate = error_rate(over_rest(arguments.rest, arguments.model), digits)
        print(f"REST: {rate:.1%} of {len(digits.test_images)} images wrong")


if __name__ == "__main__":
    main()
