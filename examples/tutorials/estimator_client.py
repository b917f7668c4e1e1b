"""Ask every head of the multi-headed model: Classify, Regress, and Predict with serialized tf.Examples.

python -m tutorials.estimator_client --server=localhost:9000
"""

import argparse

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    input_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

TIMEOUT_SECONDS = 10.0
RECTANGLES = ((2.0, 2.0), (1.0, 4.0))


def examples() -> list[tf.train.Example]:
    """One for each rectangle; ids may be any number of them."""
    made = []
    for number, sides in enumerate(RECTANGLES):
        example = tf.train.Example()
        example.features.feature["sides"].float_list.value.extend(sides)
        example.features.feature["ids"].int64_list.value.extend(range(number))
        made.append(example)
    return made


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="localhost:9000")
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()
    stub = prediction_service_pb2_grpc.PredictionServiceStub(
        grpc.insecure_channel(arguments.server)
    )
    rectangles = examples()
    several = input_pb2.Input()
    several.example_list.examples.extend(rectangles)

    classify = classification_pb2.ClassificationRequest(input=several)
    classify.model_spec.name = arguments.model
    for one in stub.Classify(classify, TIMEOUT_SECONDS).result.classifications:
        print("Classify", {each.label: round(each.score, 3) for each in one.classes})

    regress = regression_pb2.RegressionRequest(input=several)
    regress.model_spec.name = arguments.model
    regress.model_spec.signature_name = "area"
    values = [one.value for one in stub.Regress(regress, TIMEOUT_SECONDS).result.regressions]
    print("Regress", values)

    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = arguments.model
    predict.model_spec.signature_name = "predict"
    serialized = [one.SerializeToString() for one in rectangles]
    predict.inputs["examples"].CopyFrom(tf.make_tensor_proto(serialized))
    outputs = stub.Predict(predict, TIMEOUT_SECONDS).outputs
    print("Predict", {name: tf.make_ndarray(outputs[name]).tolist() for name in sorted(outputs)})


if __name__ == "__main__":
    main()
