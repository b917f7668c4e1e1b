"""A model that counts how often it was run, and warm-up requests for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import odd_exports


def save_counting(directory: Path) -> None:
    """Save a model whose signatures predict, classify and regress add one to `count`, which a fourth one returns."""

    def build(tf: Any) -> dict[str, Any]:
        count = tf.get_variable("count", initializer=0, use_resource=True)
        serialized = tf.placeholder(tf.string, [None], name="tf_example")
        features = tf.parse_example(serialized, {"x": tf.FixedLenFeature([1], tf.float32)})
        x = tf.placeholder_with_default(features["x"], [None, 1], name="x")
        with tf.control_dependencies([count.assign_add(1)]):
            y = tf.identity(x * 2.0)
            label = tf.as_string(y)
        info = tf.saved_model.build_tensor_info
        define = tf.saved_model.build_signature_def
        examples = {"inputs": info(serialized)}
        return {
            "serving_default": odd_exports.signature(tf, {"x": x}, {"y": y}),
            "count": odd_exports.signature(tf, {}, {"count": count.read_value()}),
            "classify": define(
                examples, {"classes": info(label), "scores": info(y)}, "tensorflow/serving/classify"
            ),
            "regress": define(examples, {"outputs": info(y)}, "tensorflow/serving/regress"),
        }

    odd_exports.save_tf1(directory, build)


def write_records(directory: Path, records: Iterable[bytes]) -> Path:
    """Write the warm-up file of a version's directory."""
    import tensorflow as tf

    path = directory / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def predict(signature: str = "", values: Any = ((1.0,),), kind: str = "float32") -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "another model"
    request.model_spec.version.value = 77
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values, kind))
    return bytes(log.SerializeToString())


def _fill(message: Any, *, context: bool) -> None:
    import tensorflow as tf

    whole = tf.train.Example()
    whole.features.feature["x"].float_list.value.append(3.0)
    if context:
        message.example_list_with_context.context.CopyFrom(whole)
        message.example_list_with_context.examples.add()
    else:
        message.example_list.examples.add().CopyFrom(whole)


def examples(method: str, *, context: bool = False) -> bytes:
    """Return a record of `classify` or `regress`, whose Example is whole or has its feature in the context."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = getattr(log, f"{method}_log").request
    request.model_spec.signature_name = method
    _fill(request.input, context=context)
    return bytes(log.SerializeToString())


def multi_inference() -> bytes:
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.multi_inference_log.request
    for method in ("classify", "regress"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = "another model"
        task.model_spec.signature_name = method
    _fill(request.input, context=False)
    return bytes(log.SerializeToString())


def unsupported(field: str) -> bytes:
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    getattr(log, field).SetInParent()
    return bytes(log.SerializeToString())
