"""Send a picture of a bright disc and print its mask.

python -m tutorials.segmentation_client --server=localhost:9000
"""

import argparse

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

TIMEOUT_SECONDS = 30.0


def disc(height: int, width: int) -> np.ndarray:
    """A picture [height, width, 3] of uint8: white within a circle, black around it."""
    rows, columns = np.mgrid[:height, :width]
    inside = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 3) ** 2
    return np.repeat(inside[:, :, np.newaxis], 3, axis=2).astype(np.uint8) * 255


def main() -> None:
    """Ask, and print the mask in characters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="localhost:9000")
    parser.add_argument("--model", default="deeplab")
    arguments = parser.parse_args()
    stub = prediction_service_pb2_grpc.PredictionServiceStub(
        grpc.insecure_channel(arguments.server)
    )
    image = disc(24, 48)
    height, width, _ = image.shape
    request = predict_pb2.PredictRequest()
    request.model_spec.name = arguments.model
    request.model_spec.signature_name = "predict_images"
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(image[np.newaxis]))
    request.inputs["height"].CopyFrom(tf.make_tensor_proto(height, shape=[]))
    request.inputs["width"].CopyFrom(tf.make_tensor_proto(width, shape=[]))
    call = stub.Predict.future(request, TIMEOUT_SECONDS)
    mask = tf.make_ndarray(call.result().outputs["segmentation_map"])[0, :, :, 0]
    for row in mask:
        print("".join("#" if inside else "." for inside in row))
    print(f"{np.mean(mask == (image[:, :, 0] > 0)):.0%} of the pixels are right")


if __name__ == "__main__":
    main()
