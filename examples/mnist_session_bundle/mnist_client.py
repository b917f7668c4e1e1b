"""Send test digits over gRPC, one a request, and print how many answers are wrong and how long they took.

    python -m mnist_session_bundle.mnist_client --num_tests=1000 --server=localhost:9000 --concurrency=10

An ordinary client of TensorFlow Serving: its messages and stubs are those of `tensorflow-serving-api`.
"""

import argparse
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

import handwritten_digits

TIMEOUT_SECONDS = 10.0
DOTS = 20

Begin = Callable[[np.ndarray], Any]
"""Begins to ask for an image [784]; returns a future of the response."""


class Results:
    """What has come back; answers arrive on gRPC's threads.

    Args:
        tests: how many requests there will be.
        concurrency: how many may be on their way at a time.
    """

    def __init__(self, tests: int, concurrency: int) -> None:
        self.wrong = 0
        self.seconds: list[float] = []
        self.versions: Counter[int] = Counter()
        self.failure = ""
        self._dot = max(tests // DOTS, 1)
        self._concurrency = concurrency
        self._active = 0
        self._changed = threading.Condition()

    def wait_for_a_place(self, at_most: int | None = None) -> None:
        """Wait until fewer requests are on their way than may be; with 0, until there is none."""
        free = self._concurrency - 1 if at_most is None else at_most
        with self._changed:
            self._changed.wait_for(lambda: self._active <= free)

    def ask(self, begin: Begin, image: np.ndarray, label: int, digit: Callable[[Any], int]) -> None:
        """Send one request; its answer is counted when it arrives."""
        with self._changed:
            self._active += 1
        sent = time.monotonic()
        begin(image).add_done_callback(lambda future: self._take(future, sent, label, digit))

    def _take(self, future: Any, sent: float, label: int, digit: Callable[[Any], int]) -> None:
        seconds = time.monotonic() - sent
        with self._changed:
            self._active -= 1
            self._changed.notify_all()
            if error := future.exception():
                self.failure = f"{error.code().name}: {error.details()}"
                return
            response = future.result()
            self.wrong += digit(response) != label
            self.seconds.append(seconds)
            self.versions[response.model_spec.version.value] += 1
            if len(self.seconds) % self._dot == 0:
                print(".", end="", flush=True)


def predict(stub: Any, model: str) -> tuple[Begin, Callable[[Any], int]]:
    """Ask by Predict, with the image as a tensor."""

    def begin(image: np.ndarray) -> Any:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(image[np.newaxis]))
        return stub.Predict.future(request, TIMEOUT_SECONDS)

    return begin, lambda response: int(np.argmax(response.outputs["scores"].float_val))


def classify(stub: Any, model: str) -> tuple[Begin, Callable[[Any], int]]:
    """Ask by Classify, with the image as a tf.Example."""

    def begin(image: np.ndarray) -> Any:
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = model
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.extend(image)
        return stub.Classify.future(request, TIMEOUT_SECONDS)

    def digit(response: Any) -> int:
        return int(np.argmax([each.score for each in response.result.classifications[0].classes]))

    return begin, digit


def main() -> None:
    """Ask and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="localhost:9000", help="HOST:PORT of the gRPC API")
    parser.add_argument("--model", default="mnist")
    parser.add_argument("--num_tests", type=int, default=1000, help="test images (default 1000)")
    parser.add_argument("--concurrency", type=int, default=1, help="requests at a time (default 1)")
    parser.add_argument("--method", choices=("predict", "classify"), default="predict")
    handwritten_digits.add_arguments(parser)
    arguments = parser.parse_args()
    if arguments.num_tests < 1 or arguments.concurrency < 1:
        parser.error("--num_tests and --concurrency must be 1 or more")
    digits = handwritten_digits.load(arguments.data, arguments.work_dir)
    images = digits.test_images[: arguments.num_tests]
    labels = digits.test_labels[: arguments.num_tests]
    results = Results(len(images), arguments.concurrency)
    with grpc.insecure_channel(arguments.server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        begin, digit = {"predict": predict, "classify": classify}[arguments.method](
            stub, arguments.model
        )
        started = time.monotonic()
        for image, label in zip(images, labels, strict=True):
            results.wait_for_a_place()
            if results.failure:
                break
            results.ask(begin, image, int(label), digit)
        results.wait_for_a_place(0)
        elapsed = time.monotonic() - started
    if results.failure:
        raise SystemExit(f"{arguments.server} did not answer: {results.failure}")
    median, slow = np.percentile(results.seconds, (50, 99)) * 1000
    print(f"\n{len(images)} requests in {elapsed:.1f} s: median {median:.1f} ms, 99% {slow:.1f} ms")
    for version, count in sorted(results.versions.items()):
        print(f"Answered by version {version}: {count}")
    print(f"Inference error rate: {results.wrong / len(images):.1%}")


if __name__ == "__main__":
    main()
