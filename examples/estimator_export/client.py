"""Ask for the species and the petal width of two irises, in each way that a model takes requests.

python -m estimator_export.client --server=localhost:9000 classify regress predict
"""

import argparse
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from estimator_export.iris import FEATURES

TIMEOUT_SECONDS = 10.0
FLOWERS = ((5.1, 3.5, 1.4), (6.3, 3.3, 6.0))
"""A setosa with petals of 0.2 cm, and a virginica with petals of 2.5 cm."""


def examples() -> list[tf.train.Example]:
    """The flowers as tf.Examples."""
    made = []
    for flower in FLOWERS:
        example = tf.train.Example()
        for name, value in zip(FEATURES, flower, strict=True):
            example.features.feature[name].float_list.value.append(value)
        made.append(example)
    return made


def classify(stub: Any, model: str) -> Any:
    """Ask the head that a request without a name reaches."""
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = model
    request.input.example_list.examples.extend(examples())
    result = stub.Classify(request, TIMEOUT_SECONDS)
    for one in result.result.classifications:
        best = max(one.classes, key=lambda each: each.score)
        print(f"Classify: {best.label}, score {best.score:.2f}")
    return result


def regress(stub: Any, model: str) -> Any:
    """Ask another head, by its name."""
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "petal_width"
    request.input.example_list.examples.extend(examples())
    result = stub.Regress(request, TIMEOUT_SECONDS)
    for one in result.result.regressions:
        print(f"Regress: petal width {one.value:.1f} cm")
    return result


def predicted(stub: Any, model: str, signature: str, inputs: dict[str, Any]) -> Any:
    """Ask by Predict."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    result = stub.Predict(request, TIMEOUT_SECONDS)
    species = tf.make_ndarray(result.outputs["species"])
    widths = tf.make_ndarray(result.outputs["petal_width"])
    for name, width in zip(species, widths, strict=True):
        print(f"Predict: {name.decode()}, petal width {width:.1f} cm")
    return result


def predict(stub: Any, model: str) -> Any:
    """Ask for both heads at once, with serialized tf.Examples."""
    serialized = [one.SerializeToString() for one in examples()]
    return predicted(stub, model, "predict", {"examples": serialized})


def raw(stub: Any, model: str) -> Any:
    """Ask with a tensor for each feature."""
    columns = zip(FEATURES, zip(*FLOWERS, strict=True), strict=True)
    return predicted(stub, model, "", {name: list(column) for name, column in columns})


def csv(stub: Any, model: str) -> Any:
    """Ask with lines of CSV."""
    return predicted(stub, model, "", {"csv": [",".join(map(str, one)) for one in FLOWERS]})


def json(stub: Any, model: str) -> Any:
    """Ask with tf.Examples in JSON."""
    from google.protobuf import json_format

    lines = [json_format.MessageToJson(one, indent=None) for one in examples()]
    return predicted(stub, model, "", {"json": lines})


WAYS = {one.__name__: one for one in (classify, regress, predict, raw, csv, json)}


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="localhost:9000")
    parser.add_argument("--model", default="default")
    parser.add_argument("ways", nargs="+", choices=tuple(WAYS))
    arguments = parser.parse_args()
    with grpc.insecure_channel(arguments.server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for way in arguments.ways:
            try:
                result = WAYS[way](stub, arguments.model)
            except grpc.RpcError as error:
                raise SystemExit(f"{arguments.server}: {error.details()}") from None
    print(f"Answered by version {result.model_spec.version.value} of {arguments.model}")


if __name__ == "__main__":
    main()
