"""Train a softmax classifier of handwritten digits and export it as a SessionBundle, the format from before SavedModel.

python -m mnist_session_bundle.mnist_export --training_iteration=1000 --export_version=1 /tmp/mnist_model
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

import handwritten_digits
import slipway_exporter as exporter
from handwritten_digits import CLASSES, PIXELS, Digits

LEARNING_RATE = 0.02
BATCH = 50
REPORTS = 5

v1 = tf.compat.v1


def train_and_export(digits: Digits, steps: int, version: int, export_path: str) -> None:
    """Train for so many steps, and write one version."""
    with tf.Graph().as_default(), v1.Session() as sess:
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        feature = tf.io.FixedLenFeature([PIXELS], tf.float32)
        x = tf.identity(tf.io.parse_example(serialized, {"x": feature})["x"], name="x")
        labels = v1.placeholder(tf.int64, [None])
        weights = v1.Variable(tf.zeros([PIXELS, CLASSES]), name="weights", use_resource=False)
        bias = v1.Variable(tf.zeros([CLASSES]), name="bias", use_resource=False)
        logits = tf.matmul(x, weights) + bias
        y = tf.nn.softmax(logits, name="y")
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )
        step = v1.train.GradientDescentOptimizer(LEARNING_RATE).minimize(loss)
        sess.run(v1.global_variables_initializer())
        print("Training model...")
        random = np.random.default_rng(1)
        for done in range(1, steps + 1):
            batch = random.integers(0, len(digits.train_images), BATCH)
            fed = {x: digits.train_images[batch], labels: digits.train_labels[batch]}
            _, value = sess.run((step, loss), fed)
            if done % max(steps // REPORTS, 1) == 0:
                print(f"step {done}, loss {value:.2f}")
        print("Done training!")

        print("Exporting trained model to", export_path)
        # The first format of checkpoints is what bundles of that time hold; Slipway reads the second one as well.
        saver = v1.train.Saver(sharded=True, write_version=v1.train.SaverDef.V1)
        model_exporter = exporter.Exporter(saver)
        signature = exporter.classification_signature(input_tensor=serialized, scores_tensor=y)
        model_exporter.init(
            sess.graph.as_graph_def(),
            default_graph_signature=signature,
            named_graph_signatures={
                "inputs": exporter.generic_signature({"images": x}),
                "outputs": exporter.generic_signature({"scores": y}),
            },
        )
        model_exporter.export(export_path, tf.constant(version), sess)
        print("Done exporting!")


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training_iteration", type=int, default=1000, help="steps (default 1000)")
    parser.add_argument("--export_version", type=int, default=1, help="version (default 1)")
    handwritten_digits.add_arguments(parser)
    parser.add_argument("export_path", help="gets the version as a numbered folder")
    arguments = parser.parse_args()
    if arguments.export_version < 0 or arguments.training_iteration < 0:
        parser.error("--export_version and --training_iteration must be 0 or more")
    target = Path(arguments.export_path) / f"{arguments.export_version:08d}"
    if target.exists():
        raise SystemExit(f"{target} is there already: remove it, or give a higher --export_version")
    train_and_export(
        handwritten_digits.load(arguments.data, arguments.work_dir),
        arguments.training_iteration,
        arguments.export_version,
        arguments.export_path,
    )


if __name__ == "__main__":
    main()
