"""Export a multi-headed model the way an Estimator does: tf.Examples in, three heads, a timestamp.

    python -m tutorials.estimator_export DIRECTORY

The graph is what `export_savedmodel` builds from a `serving_input_receiver_fn` that parses
tf.Examples: every head has a signature of its own. (TensorFlow itself has no Estimators any more.)
"""

import argparse
import time
from pathlib import Path

import tensorflow as tf

v1 = tf.compat.v1
utils = v1.saved_model.signature_def_utils


def export(directory: Path) -> None:
    """Write one version directory."""
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="input_example_tensor")
        features = tf.io.parse_example(
            serialized,
            {"sides": tf.io.FixedLenFeature([2], tf.float32), "ids": tf.io.VarLenFeature(tf.int64)},
        )
        scale = v1.get_variable("scale", initializer=1.0)
        area = scale * tf.reduce_prod(features["sides"], axis=1)
        ratio = tf.reduce_min(features["sides"], axis=1) / tf.reduce_max(features["sides"], axis=1)
        count = tf.sparse.reduce_sum(
            tf.SparseTensor(
                features["ids"].indices,
                tf.ones_like(features["ids"].values),
                features["ids"].dense_shape,
            ),
            axis=1,
        )
        scores = tf.stack([ratio, 1.0 - ratio], axis=1)
        words = tf.constant([["square", "oblong"]])
        classes = tf.tile(words, [tf.shape(scores)[0], 1])
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.builder.SavedModelBuilder(str(directory))
        builder.add_meta_graph_and_variables(
            session,
            [v1.saved_model.tag_constants.SERVING],
            signature_def_map={
                "serving_default": utils.classification_signature_def(serialized, classes, scores),
                "area": utils.regression_signature_def(serialized, area),
                "predict": utils.predict_signature_def(
                    {"examples": serialized}, {"area": area, "ids": count}
                ),
            },
        )
        builder.save()


def main() -> None:
    """Export under the time of now."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="export_dir_base")
    arguments = parser.parse_args()
    target = arguments.directory / str(int(time.time()))
    export(target)
    print("Exported", target)


if __name__ == "__main__":
    main()
