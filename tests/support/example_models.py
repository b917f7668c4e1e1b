"""A model of tf.Examples made by the real TensorFlow, with every way in which Classify and Regress can be signed.

Each Example has `x` (float, 0), `n` (int64, 0) and `word` (string, ""). Labels are "small" and "large"; the scores are
x and n. A regression gives 2 x.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
PREDICT = "tensorflow/serving/predict"


def save_examples(directory: Path) -> None:
    """Save the model."""
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        examples = tf.placeholder(tf.string, [None], name="examples")
        others = tf.placeholder(tf.string, [None], name="others")
        parsed = tf.io.parse_example(
            examples,
            {
                "x": tf.FixedLenFeature([], tf.float32, 0.0),
                "n": tf.FixedLenFeature([], tf.int64, 0),
                "word": tf.FixedLenFeature([], tf.string, ""),
            },
        )
        x, n, word = parsed["x"], parsed["n"], parsed["word"]
        count = tf.shape(x)[0]
        labels = tf.tile(tf.constant([["small", "large"]]), [count, 1])
        scores = tf.stack([x, tf.cast(n, tf.float32)], 1)
        double = 2.0 * x
        tensors: dict[str, Any] = {
            "labels": labels,
            "words": tf.expand_dims(word, 1),
            "scores": scores,
            "double": double,
            "column": tf.expand_dims(double, 1),
            "flat": word,
            "ids": tf.expand_dims(n, 1),
            "doubles": tf.cast(scores, tf.float64),
            "more labels": tf.concat([labels, labels], 0),
            "more scores": tf.concat([scores, scores], 0),
            "wide": tf.concat([scores, scores], 1),
            "longer": tf.concat([double, double], 0),
            "n": n,
            "total": tf.reduce_sum(x),
            "from others": tf.cast(tf.strings.length(others), tf.float32),
        }

        def signature(inputs: dict[str, Any], outputs: dict[str, str], method: str) -> Any:
            info = tf.saved_model.build_tensor_info
            return tf.saved_model.build_signature_def(
                {alias: info(value) for alias, value in inputs.items()},
                {alias: info(tensors[name]) for alias, name in outputs.items()},
                method,
            )

        usual = {"inputs": examples}
        both = {"classes": "labels", "scores": "scores"}
        signatures = {
            "serving_default": signature(usual, both, CLASSIFY),
            "words": signature(usual, {"classes": "words"}, CLASSIFY),
            "scores": signature(usual, {"scores": "scores"}, CLASSIFY),
            "double": signature(usual, {"outputs": "double"}, REGRESS),
            "column": signature(usual, {"outputs": "column"}, REGRESS),
            "parsed": signature(
                {"examples": examples}, {"n": "n", "word": "flat", "double": "double"}, PREDICT
            ),
            "total": signature(usual, {"total": "total"}, PREDICT),
            "none": signature(usual, {}, PREDICT),
            "constant": signature({}, {"n": "n"}, PREDICT),
            # What Classify must refuse.
            "two inputs": signature({**usual, "others": others}, both, CLASSIFY),
            "three outputs": signature(usual, {**both, "n": "n"}, CLASSIFY),
            "input otherwise": signature({"examples": examples}, both, CLASSIFY),
            "neither": signature(usual, {"n": "n"}, CLASSIFY),
            "flat": signature(usual, {"classes": "flat"}, CLASSIFY),
            "flat scores": signature(usual, {"scores": "double"}, CLASSIFY),
            "ids": signature(usual, {"classes": "ids"}, CLASSIFY),
            "doubles": signature(usual, {"scores": "doubles"}, CLASSIFY),
            "more labels": signature(usual, {"classes": "more labels"}, CLASSIFY),
            "more scores": signature(usual, {"scores": "more scores"}, CLASSIFY),
            "unlike": signature(usual, {"classes": "labels", "scores": "wide"}, CLASSIFY),
            # What Regress must refuse.
            "two outputs": signature(usual, {"outputs": "double", "n": "n"}, REGRESS),
            "regress otherwise": signature({"examples": examples}, {"outputs": "double"}, REGRESS),
            "output otherwise": signature(usual, {"y": "double"}, REGRESS),
            "wide": signature(usual, {"outputs": "scores"}, REGRESS),
            "longer": signature(usual, {"outputs": "longer"}, REGRESS),
            "integers": signature(usual, {"outputs": "n"}, REGRESS),
            "from others": signature({"inputs": others}, {"outputs": "from others"}, REGRESS),
            "unnamed method": signature(usual, both, "somebody/else"),
        }
        builder = tf.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
