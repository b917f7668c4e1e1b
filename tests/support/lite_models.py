"""TensorFlow Lite files made by the real converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def _half_plus_two() -> Any:
    import tensorflow as tf

    class Half(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": 0.5 * x + 2.0}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])  # type: ignore[untyped-decorator]
        def column(self, word: Any) -> Any:
            return {"column": tf.reshape(word, [-1, 1]), "size": tf.shape(word)}

        @tf.function(
            input_signature=[
                tf.TensorSpec([1, 3], tf.float32, name="a"),
                tf.TensorSpec([1, 3], tf.float32, name="b"),
            ]
        )  # type: ignore[untyped-decorator]
        def fixed(self, a: Any, b: Any) -> Any:
            return {"sum": tf.matmul(a + b, tf.ones([3, 2]))}

        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 1], tf.float32, name="image")])  # type: ignore[untyped-decorator]
        def detect(self, image: Any) -> Any:
            # As detectors do: maps of several sizes, each as a list of boxes of one image.
            fine = tf.nn.conv2d(image, tf.reshape(tf.range(8.0), [2, 2, 1, 2]), 2, "SAME")
            coarse = tf.nn.conv2d(image, tf.reshape(tf.range(32.0), [4, 4, 1, 2]), 4, "SAME")
            boxes = [tf.reshape(one, [1, -1, 2]) for one in (fine, coarse)]
            return {"boxes": tf.concat(boxes, 1)}

        @tf.function(input_signature=[tf.TensorSpec([1, 3], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def flat(self, x: Any) -> Any:
            return {"y": tf.reshape(x, [-1])}

    return Half()


def save_signatures(directory: Path) -> None:
    """Save a file with signatures of its own, two of them for batches of any size, the others for one row."""
    import tensorflow as tf

    module = _half_plus_two()
    unconverted = directory / "unconverted"
    signatures = {
        "serving_default": module.call,
        "column": module.column,
        "fixed": module.fixed,
        "detect": module.detect,
        "flat": module.flat,
    }
    tf.saved_model.save(module, str(unconverted), signatures=signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(unconverted), signature_keys=list(signatures)
    )
    (directory / "model.tflite").write_bytes(converter.convert())


def save_with_tensorflow_operations(directory: Path, *, second: bool = False) -> None:
    """Save a SavedModel `y = 1 / x`, and beside it its TensorFlow Lite file, which inverts by TensorFlow's operations.

    Args:
        directory: of the version.
        second: the operation is in the file's second graph only.
    """
    import tensorflow as tf

    class Inverse(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def invert(self, x: Any) -> Any:
            return {"y": tf.linalg.diag_part(tf.linalg.inv(tf.linalg.diag(x)))}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def double(self, x: Any) -> Any:
            return {"y": 2.0 * x}

    module = Inverse()
    signatures = {"serving_default": module.double, "zinvert": module.invert}
    if not second:
        signatures = {"serving_default": module.invert}
    tf.saved_model.save(module, str(directory), signatures=signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(directory), signature_keys=list(signatures)
    )
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    (directory / "model.tflite").write_bytes(converter.convert())


def with_custom_operation() -> bytes:
    """Return a file with an operation that is nobody's: TensorFlow's `Erfinv`, converted as a custom one."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
    def custom(x: Any) -> Any:
        return tf.math.erfinv(x)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([custom.get_concrete_function()])
    converter.allow_custom_ops = True
    return bytes(converter.convert())


def plain() -> bytes:
    """Return a file without signatures: `Identity = x / 2 + 2`."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
    def half(x: Any) -> Any:
        return 0.5 * x + 2.0

    converter = tf.lite.TFLiteConverter.from_concrete_functions([half.get_concrete_function()])
    return bytes(converter.convert())


def with_signature_defs(content: bytes, definitions: dict[str, bytes]) -> bytes:
    """Return a file with TensorFlow's SignatureDefs in its metadata, in the place where TensorFlow Serving looks."""
    import flatbuffers
    from flatbuffers import flexbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    box = flexbuffers.Builder()
    with box.Map():
        for key, value in definitions.items():
            box.Key(key)
            box.String(value.decode("ascii"))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    buffer = schema.BufferT()
    buffer.data = list(box.Finish())
    model.buffers.append(buffer)
    metadata = schema.MetadataT()
    metadata.name = "signature_defs_metadata"
    metadata.buffer = len(model.buffers) - 1
    model.metadata.append(metadata)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def save_heavy(directory: Path, size: int) -> None:
    """Save a file of so many bytes of weights; `y` is x plus a number made of all of them."""
    import numpy as np
    import tensorflow as tf

    weights = tf.constant(np.arange(size // 4, dtype=np.float32).reshape(-1, 1024) % 7)

    class Heavy(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            row = tf.gather(weights, tf.cast(x, tf.int32))
            return {"y": x + tf.reduce_sum(row)}

    module = Heavy()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.call.get_concrete_function()], module
    )
    (directory / "model.tflite").write_bytes(converter.convert())
