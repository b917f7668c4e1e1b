"""Exports that look whole and harm whoever loads them: y = x + 1, with an init op that never ends well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def save_aborting(directory: Path) -> None:
    """Save a model whose initialisation ends the process: TensorFlow itself calls abort()."""
    import tensorflow as tf

    _save(directory, lambda: tf.raw_ops.Abort(error_msg="on purpose", exit_without_error=False))


def save_hanging(directory: Path) -> None:
    """Save a model whose initialisation waits for an element of a queue that stays empty."""
    import tensorflow.compat.v1 as tf

    def init() -> Any:
        return tf.FIFOQueue(1, [tf.float32], shapes=[[]]).dequeue().op

    _save(directory, init)


def save_hungry(directory: Path, size: int) -> None:
    """Save a model whose initialisation fills so many bytes of memory."""
    import tensorflow.compat.v1 as tf

    def init() -> Any:
        # The length comes from a placeholder's default, lest TensorFlow fold the whole into a constant.
        length = tf.placeholder_with_default(tf.constant([size // 4], tf.int64), [1])
        return tf.reduce_max(tf.fill(length, 1.0)).op

    _save(directory, init)


def _save(directory: Path, init: Callable[[], Any]) -> None:
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None], name="x")
        y = tf.add(x, 1.0, name="y")
        builder = tf.saved_model.Builder(str(directory))
        signature = tf.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, main_op=init()
        )
        builder.save()
