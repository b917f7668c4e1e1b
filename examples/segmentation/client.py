"""Send a picture, and save the mask that comes back, in colours, beside it.

python -m segmentation.client --server=localhost:9000 --rest=http://localhost:8501 /tmp/shapes.png
"""

import argparse
import base64
import time
from pathlib import Path

import grpc
import numpy as np
import requests
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from segmentation.shapes import COLOURS

TIMEOUT_SECONDS = 30.0


def image_request(image: np.ndarray, model: str) -> predict_pb2.PredictRequest:
    """Return the request for an image [height, width, 3] of uint8."""
    height, width, _ = image.shape
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "predict_images"
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(image[np.newaxis]))
    request.inputs["height"].CopyFrom(tf.make_tensor_proto(height, shape=[]))
    request.inputs["width"].CopyFrom(tf.make_tensor_proto(width, shape=[]))
    return request


def mask_of(response: predict_pb2.PredictResponse) -> np.ndarray:
    """Return the mask [height, width] of a response."""
    return tf.make_ndarray(response.outputs["segmentation_map"])[0, :, :, 0]


def class_names(stub: prediction_service_pb2_grpc.PredictionServiceStub, model: str) -> list[str]:
    """Return the names of the classes, which the model has in an asset file."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "class_names"
    request.inputs["numbers"].CopyFrom(tf.make_tensor_proto(list(range(len(COLOURS))), tf.int64))
    names = stub.Predict(request, TIMEOUT_SECONDS).outputs["names"]
    return [name.decode() for name in tf.make_ndarray(names)]


def over_rest(path: Path, url: str) -> np.ndarray:
    """Send the file as it is, in base64, and return the mask."""
    body = {
        "signature_name": "predict_bytes",
        "inputs": {"image_bytes": [{"b64": base64.b64encode(path.read_bytes()).decode()}]},
    }
    try:
        answer = requests.post(f"{url}:predict", json=body, timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise SystemExit(f"{url}: no answer: {error}") from None
    if not answer.ok:
        raise SystemExit(f"{url}: {answer.status_code}: {answer.json()['error']}")
    return np.array(answer.json()["outputs"], np.uint8)[0, :, :, 0]


def coloured(mask: np.ndarray) -> Image.Image:
    """Return a mask as a picture."""
    return Image.fromarray(COLOURS[mask])


def main() -> None:
    """Ask in three ways, and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="localhost:9000", help="HOST:PORT of the gRPC API")
    parser.add_argument("--rest", default="http://localhost:8501", help="of the REST API")
    parser.add_argument("--model", default="deeplab")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    try:
        image = np.array(Image.open(arguments.picture).convert("RGB"))
    except OSError as error:
        raise SystemExit(f"{arguments.picture} is no picture: {error}") from None
    with grpc.insecure_channel(arguments.server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = image_request(image, arguments.model)
        try:
            response = stub.Predict(request, TIMEOUT_SECONDS)
            begun = time.monotonic()
            future = stub.Predict.future(request, TIMEOUT_SECONDS)
            free = time.monotonic() - begun
            mask = mask_of(future.result())
            done = time.monotonic() - begun
            names = class_names(stub, arguments.model)
        except grpc.RpcError as error:
            raise SystemExit(f"{arguments.server}: {error.details()}") from None
    print(
        f"Predict.future returned after {free * 1000:.1f} ms, its result came after {done * 1000:.1f} ms"
    )
    rest = over_rest(arguments.picture, f"{arguments.rest}/v1/models/{arguments.model}")
    same = np.array_equal(mask, mask_of(response)) and np.array_equal(mask, rest)
    print("All three answers are the same" if same else "The answers differ")
    for number in np.unique(mask):
        print(f"{names[number]}: {np.mean(mask == number):.1%} of the picture")
    saved = arguments.picture.with_name(f"{arguments.picture.stem}_mask.png")
    coloured(mask).save(saved, optimize=True)
    print("Wrote", saved)
    truth = arguments.picture.with_name(f"{arguments.picture.stem}_truth.png")
    if truth.exists():
        right = np.all(np.array(Image.open(truth).convert("RGB")) == COLOURS[mask], axis=2)
        print(f"{right.mean():.1%} of the pixels are right")
    print(f"Answered by version {response.model_spec.version.value} of {arguments.model}")


if __name__ == "__main__":
    main()
