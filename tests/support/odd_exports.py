"""SavedModels with what is rare but allowed, made by the real TensorFlow and, where no exporter does it, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

PREDICT = "tensorflow/serving/predict"


def save_tf1(
    directory: Path,
    build: Callable[[Any], dict[str, Any]],
    *,
    as_text: bool = False,
    **builder_arguments: Callable[[Any], Any],
) -> None:
    """Save a TensorFlow 1 graph.

    Args:
        build: gets `tf.compat.v1`, builds the graph and returns its signature definitions.
        builder_arguments: arguments of `add_meta_graph_and_variables`, each made in the graph by a function of `tf`.
    """
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        signatures = build(tf)
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        builder = tf.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signatures,
            **{name: make(tf) for name, make in builder_arguments.items()},
        )
        builder.save(as_text=as_text)


def edit(directory: Path, change: Callable[[Any], None]) -> None:
    """Change the first meta-graph of a SavedModel in place."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = directory / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(message.meta_graphs[0])
    path.write_bytes(message.SerializeToString())


def signature(tf: Any, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    info = tf.saved_model.build_tensor_info
    return tf.saved_model.build_signature_def(
        {alias: info(tensor) for alias, tensor in inputs.items()},
        {alias: info(tensor) for alias, tensor in outputs.items()},
        PREDICT,
    )


def save_table(directory: Path, words: Path, *, as_text: bool, main_op: bool) -> None:
    """Save ref and partitioned variables and a table from an asset, filled by one of the two older init operations."""
    words.write_text("a\nb\n")

    def build(tf: Any) -> dict[str, Any]:
        one = tf.get_variable("one", initializer=tf.constant(1, tf.int64), use_resource=False)
        parts = tf.get_variable(
            "parts",
            shape=[4, 2],
            partitioner=tf.fixed_size_partitioner(2),
            initializer=tf.ones_initializer(),
            use_resource=False,
        )
        asset = tf.constant(str(words))
        tf.add_to_collection(tf.GraphKeys.ASSET_FILEPATHS, asset)
        lines = tf.lookup.TextFileInitializer(
            asset,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        table = tf.lookup.StaticHashTable(lines, -1)
        word = tf.placeholder(tf.string, [None], name="word")
        found = table.lookup(word) + one
        total = tf.reduce_sum(tf.convert_to_tensor(parts))
        return {"serving_default": signature(tf, {"word": word}, {"id": found, "total": total})}

    init = {"main_op" if main_op else "legacy_init_op": lambda tf: tf.tables_initializer()}
    save_tf1(
        directory,
        build,
        as_text=as_text,
        assets_collection=lambda tf: tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
        **init,
    )
    words.unlink()  # what is served must come from the export


def save_sparse(directory: Path) -> None:
    """Save a signature with a sparse input and a sparse output: the values are doubled."""

    def build(tf: Any) -> dict[str, Any]:
        sparse = tf.sparse.placeholder(tf.float32, [None, 4], name="sp")
        doubled = tf.sparse.SparseTensor(sparse.indices, sparse.values * 2.0, sparse.dense_shape)
        dense = tf.sparse.to_dense(doubled)
        # An output cannot be the very tensor that is fed.
        again = tf.sparse.SparseTensor(
            tf.identity(doubled.indices), doubled.values, tf.identity(doubled.dense_shape)
        )
        return {
            "serving_default": signature(tf, {"sp": sparse}, {"dense": dense}),
            "to_sparse": signature(tf, {"sp": sparse}, {"sp": again}),
        }

    save_tf1(directory, build)


def save_plain(directory: Path) -> None:
    """Save `y = scale x + bias` with a default for the bias, a signature without inputs, and thin tensor infos.

    `one_row` mixes what is more than one row, `narrow` returns its input, `tokens` is ragged.
    """

    def build(tf: Any) -> dict[str, Any]:
        scale = tf.get_variable("scale", initializer=3.0, use_resource=False)
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        bias = tf.placeholder(tf.float32, [], name="bias")
        y = tf.add(x * scale, bias, name="y")
        row = tf.placeholder(tf.float32, [1, 2], name="row")
        narrow = tf.placeholder(tf.int8, [None], name="narrow")
        lengths = tf.placeholder(tf.int64, [None], name="lengths")
        tokens = tf.ragged.range(lengths)
        return {
            "serving_default": signature(tf, {"x": x, "bias": bias}, {"y": y}),
            "no_inputs": signature(tf, {}, {"scale": tf.identity(scale)}),
            "reference": signature(tf, {}, {"scale": tf.identity(scale)}),
            "thin": signature(tf, {"x": x, "bias": bias}, {"y": y}),
            "broken": signature(tf, {"x": x}, {"y": y}),
            "one_row": signature(tf, {"x": row}, {"y": tf.reshape(row, [1, -1, 1])}),
            "narrow": signature(tf, {"x": narrow}, {"y": tf.identity(narrow)}),
            "tokens": signature(tf, {"x": lengths}, {"y": tokens}),
        }

    save_tf1(directory, build)

    def change(meta_graph: Any) -> None:
        from tensorflow.core.framework import types_pb2
        from tensorflow.python.framework.tensor_util import make_tensor_proto

        definitions = meta_graph.signature_def
        definitions["serving_default"].defaults["bias"].CopyFrom(make_tensor_proto(0.5))
        definitions["serving_default"].defaults["gone"].CopyFrom(make_tensor_proto(0.5))
        definitions["thin"].defaults[
            "bias"
        ].dtype = types_pb2.DT_RESOURCE  # nothing that can be fed
        for infos in (definitions["thin"].inputs, definitions["thin"].outputs):
            for info in infos.values():
                info.ClearField("dtype")
                info.ClearField("tensor_shape")
        definitions["reference"].outputs["scale"].name = "scale:0"
        definitions["reference"].outputs["scale"].dtype = types_pb2.DT_FLOAT_REF
        definitions["broken"].outputs["y"].name = "nowhere:0"

    edit(directory, change)


def save_examples(directory: Path) -> None:
    """Save a TensorFlow 2 model over Examples with a feature x: each signature has a placeholder of its own."""
    import tensorflow as tf

    class Examples(tf.Module):  # type: ignore[misc]
        def parsed(self, examples: Any) -> Any:
            return tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32, 0.0)})

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])  # type: ignore[untyped-decorator]
        def classify(self, inputs: Any) -> Any:
            x = self.parsed(inputs)["x"]
            return {"scores": tf.stack([x, 1.0 - x], 1)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])  # type: ignore[untyped-decorator]
        def regress(self, inputs: Any) -> Any:
            return {"outputs": 2.0 * self.parsed(inputs)["x"]}

    module = Examples()
    tf.saved_model.save(
        module,
        str(directory),
        signatures={"serving_default": module.classify, "regress": module.regress},
    )


def save_keras(directory: Path) -> None:
    """Save a Keras 3 model with `model.export`: words to numbers through a vocabulary and a dense layer."""
    import keras
    import numpy as np

    words = keras.Input([1], dtype="string", name="words")
    ids = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(words)
    model = keras.Model(words, keras.layers.Dense(1, use_bias=False)(ids))
    model.layers[-1].set_weights([np.array([[0.0], [1.0], [2.0]])])  # unknown, a, b
    model.export(str(directory), format="tf_saved_model", verbose=False)
