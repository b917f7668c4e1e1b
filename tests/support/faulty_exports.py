"""Exports that cannot answer, or that only Python's loader could serve so far, made by the real TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import odd_exports


def save_keras_objects(directory: Path) -> None:
    """Save a Keras 3 model with `tf.saved_model.save`, whose restore operation fills copies of its variables.

    Its layers' variables have the same names. `y = 3 (2 x + 1) + 5` for each row of one number.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    layers = [keras.layers.Dense(1, name=name) for name in ("first", "b.second")]
    model = keras.Sequential([keras.Input([1]), *layers])
    model.compile("adam", "mse")
    for layer, (factor, offset) in zip(layers, ((2.0, 1.0), (3.0, 5.0)), strict=True):
        layer.set_weights([np.array([[factor]]), np.array([offset])])
    tf.saved_model.save(model, str(directory))


def save_keras_subclass(directory: Path) -> None:
    """Save a class derived from Keras 3's Model, with a signature made from its `call`: `y = 2 x + 1`."""
    import keras
    import numpy as np
    import tensorflow as tf

    class Affine(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = [keras.layers.Dense(1)]
            self.scale = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": self.parts[0](x) * self.scale}

    model = Affine()
    model(np.zeros([1, 1], np.float32))
    model.parts[0].set_weights([np.array([[1.0]]), np.array([0.5])])
    tf.saved_model.save(model, str(directory), signatures={"serving_default": model.call})


def save_function(directory: Path, function: Callable[[Any], Any]) -> None:
    """Save `{"y": function(x)}` of a vector of numbers, beside a signature that is fine: `doubled`."""
    import tensorflow as tf

    spec = tf.TensorSpec([None], tf.float32, name="x")
    module = tf.Module()
    module.run = tf.function(lambda x: {"y": function(x)}, input_signature=[spec], autograph=False)
    module.doubled = tf.function(lambda x: {"y": 2.0 * x}, input_signature=[spec], autograph=False)
    signatures = {"serving_default": module.run, "doubled": module.doubled}
    tf.saved_model.save(module, str(directory), signatures=signatures)


def python_calls() -> dict[str, Callable[[Any], Any]]:
    """Functions of a vector, each of which calls Python in another way."""
    import tensorflow as tf

    def shaped(y: Any) -> Any:
        return tf.ensure_shape(y, [None])

    def twice(x: Any) -> Any:
        return shaped(tf.numpy_function(lambda a: a * 2, [x], tf.float32))

    def stateless(x: Any) -> Any:
        return shaped(tf.numpy_function(lambda a: a * 2, [x], tf.float32, stateful=False))

    def eager(x: Any) -> Any:
        return shaped(tf.py_function(lambda a: a * 2, [x], tf.float32))

    def generator(x: Any) -> Any:
        numbers = tf.data.Dataset.from_generator(
            lambda: iter([1.0, 2.0]), output_signature=tf.TensorSpec([], tf.float32)
        )
        return x + numbers.reduce(0.0, lambda a, b: a + b)

    return {
        "PyFunc": twice,
        "PyFuncStateless": stateless,
        "EagerPyFunc": eager,
        "a branch": lambda x: tf.cond(tf.reduce_sum(x) > 0.0, lambda: twice(x), lambda: x),
        "a loop": lambda x: tf.map_fn(lambda one: twice(one[None])[0], x),
        "a function of a function": tf.function(
            tf.function(twice, autograph=False), autograph=False
        ),
        "a data set": generator,
    }


def save_unreached_python(directory: Path) -> None:
    """Save a TensorFlow 1 graph and a function that call Python, which no signature runs: `y = 2 x`."""

    def build(tf: Any) -> dict[str, Any]:
        x = tf.placeholder(tf.float32, [None], name="x")
        tf.py_func(lambda: 1.0, [], tf.float32, name="input_of_the_training")
        return {"serving_default": odd_exports.signature(tf, {"x": x}, {"y": x * 2.0})}

    odd_exports.save_tf1(directory, build)


def save_without_value(directory: Path, *, resource: bool) -> None:
    """Save a signature that reads a variable which nothing restores or initialises, and one that sets it first."""

    def build(tf: Any) -> dict[str, Any]:
        x = tf.placeholder(tf.float32, [None], name="x")
        saved = tf.get_variable("saved", initializer=2.0, use_resource=resource)
        local = tf.get_variable(
            "local", initializer=3.0, use_resource=resource, collections=["of nobody"]
        )
        own = tf.get_variable(
            "own", initializer=3.0, use_resource=resource, collections=["of nobody"]
        )
        with tf.control_dependencies([own.initializer]):
            y = x * own.read_value()
        tf.get_variable("unread", initializer=1.0, use_resource=resource, collections=["of nobody"])
        return {
            "serving_default": odd_exports.signature(tf, {"x": x}, {"y": x * saved}),
            "own": odd_exports.signature(tf, {"x": x}, {"y": y}),
            "local": odd_exports.signature(tf, {"x": x}, {"y": x * local}),
        }

    odd_exports.save_tf1(directory, build)


def without_signature(directory: Path, key: str) -> None:
    """Take a signature out of an export."""
    odd_exports.edit(directory, lambda meta_graph: meta_graph.signature_def.pop(key))


def save_empty_table(directory: Path) -> None:
    """Save a lookup in a table that no operation fills."""

    def build(tf: Any) -> dict[str, Any]:
        word = tf.placeholder(tf.string, [None], name="word")
        words = tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([1], tf.int64))
        table = tf.lookup.StaticHashTable(words, -1)
        return {
            "serving_default": odd_exports.signature(tf, {"word": word}, {"id": table.lookup(word)})
        }

    odd_exports.save_tf1(directory, build)


def gpu_only(x: Any) -> Any:
    """Use an operation that has no kernel for CPUs."""
    import tensorflow as tf

    state = tf.zeros([1, 1, 1])
    output, *_ = tf.raw_ops.CudnnRNN(
        input=x[:, None, None], input_h=state, input_c=state, params=tf.zeros([16])
    )
    return output[:, 0, 0]


def picky(x: Any) -> Any:
    """Refuse zeros."""
    import tensorflow as tf

    with tf.control_dependencies([tf.debugging.assert_positive(x, message="x must be positive")]):
        return tf.identity(x)
