"""Exports written by TensorFlow itself, for tests that read them without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_module(directory: Path, *, scale: float = 2.0, size: int = 1000) -> None:
    """Save a module with numeric variables of two types (TensorFlow adds a string tensor)."""
    import numpy as np
    import tensorflow as tf

    class Scaled(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            values = np.arange(size, dtype=np.float32) * scale
            self.weights = tf.Variable(values, name="weights")
            self.steps = tf.Variable(3, dtype=tf.int64, name="steps")
            self.flags = tf.Variable([True, False], name="flags")

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return {"y": self.weights * x}

    module = Scaled()
    tf.saved_model.save(module, str(directory), signatures=module.__call__.get_concrete_function())


def save_with_vocabulary(directory: Path, words: Path) -> None:
    """Save a module that looks words up in a file, which becomes an asset."""
    import tensorflow as tf

    class Lookup(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.vocabulary = tf.saved_model.Asset(str(words))
            self.bias = tf.Variable(1, dtype=tf.int64)
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(
                    self.vocabulary,
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                default_value=-1,
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])  # type: ignore[untyped-decorator]
        def __call__(self, words: Any) -> Any:
            return {"ids": self.table.lookup(words) + self.bias}

    module = Lookup()
    tf.saved_model.save(module, str(directory), signatures=module.__call__.get_concrete_function())


def save_constant(directory: Path) -> None:
    """Save a graph without any variable, as TensorFlow 1 did: no saver, no variables/."""
    import tensorflow.compat.v1 as tf

    graph = tf.Graph()
    with graph.as_default(), tf.Session(graph=graph) as session:
        x = tf.placeholder(tf.float32, [], name="x")
        y = x * 2.0
        builder = tf.saved_model.Builder(str(directory))
        signature = tf.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


def save_text_graph(directory: Path, words: Path) -> None:
    """Save a TensorFlow 1 graph as .pbtxt, with a variable and an asset in its old collection."""
    import tensorflow.compat.v1 as tf

    graph = tf.Graph()
    with graph.as_default(), tf.Session(graph=graph) as session:
        x = tf.placeholder(tf.float32, [], name="x")
        weight = tf.get_variable("weight", initializer=2.0, use_resource=True)
        asset = tf.constant(str(words))
        tf.add_to_collection(tf.GraphKeys.ASSET_FILEPATHS, asset)
        session.run(tf.global_variables_initializer())
        builder = tf.saved_model.Builder(str(directory))
        signature = tf.saved_model.predict_signature_def({"x": x}, {"y": x * weight})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save(as_text=True)


def save_tensors(prefix: Path, *, shards: int = 1) -> None:
    """Write a bundle of strings, numbers, an empty tensor and a variant, in one shard or several."""
    import tensorflow as tf

    names = ["empty", "numbers", "strings", "unicode", "variant"]
    tensors = [
        tf.zeros([0, 3], tf.float32),
        tf.range(10_000, dtype=tf.int32),
        tf.constant([[f"word {i}" * (i % 50) for i in range(500)]]),
        tf.constant(["", "ä€😀", "x" * 70_000]),
        tf.raw_ops.TensorListFromTensor(
            tensor=tf.reshape(tf.range(12.0), [4, 3]), element_shape=tf.constant([3])
        ),
    ]
    if shards == 1:
        tf.raw_ops.SaveV2(
            prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * 5, tensors=tensors
        )
        return
    parts = []
    for number in range(shards):
        part = f"{prefix}_part{number}"
        chosen = slice(number, None, shards)
        tf.raw_ops.SaveV2(
            prefix=part,
            tensor_names=names[chosen],
            shape_and_slices=[""] * len(names[chosen]),
            tensors=tensors[chosen],
        )
        parts.append(part)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=str(prefix), delete_old_dirs=False
    )
