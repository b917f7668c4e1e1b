"""Train a softmax classifier and export it as a SessionBundle, the format from before SavedModel.

    python -m tutorials.mnist_export --training_iteration=100 --export_version=1 DIRECTORY

Nobody should write this format any more; many still have such exports. The digits are scikit-learn's
8x8 pixel ones, so that nothing needs to be downloaded.
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.any_pb2 import Any as AnyMessage
from tensorflow.core.protobuf import meta_graph_pb2

from digits.train import BATCH, CLASSES, PIXELS, Digits, load
from slipway_server.wire import session_bundle_pb2

LEARNING_RATE = 0.1
v1 = tf.compat.v1


def signatures(inputs: tf.Tensor, image: tf.Tensor, scores: tf.Tensor) -> AnyMessage:
    """The bundle's manifest: Classify by default, and named tensors for Predict."""
    manifest = session_bundle_pb2.Signatures()
    default = manifest.default_signature.classification_signature
    default.input.tensor_name = inputs.name
    default.scores.tensor_name = scores.name
    for key, alias, tensor in (("inputs", "images", image), ("outputs", "scores", scores)):
        bound = manifest.named_signatures[key].generic_signature.map[alias]
        bound.tensor_name = tensor.name
    packed = AnyMessage()
    packed.Pack(manifest)
    return packed


def export(session: tf.compat.v1.Session, manifest: AnyMessage, directory: Path) -> None:
    """Write `checkpoint`, `export-?????-of-?????` and `export.meta`, as the Exporter of 2016 did."""
    saver = v1.train.Saver(sharded=True, write_version=v1.train.SaverDef.V1)
    draft = directory.with_name(directory.name + "-tmp")
    draft.mkdir(parents=True)
    saver.save(session, str(draft / "export"), write_meta_graph=False)
    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.graph_def.CopyFrom(session.graph.as_graph_def())
    meta_graph.saver_def.CopyFrom(saver.as_saver_def())
    meta_graph.collection_def["serving_signatures"].any_list.value.append(manifest)
    (draft / "export.meta").write_bytes(meta_graph.SerializeToString())
    draft.rename(directory)


def train_and_export(digits: Digits, steps: int, directory: Path) -> None:
    """Train for so many steps and write one version directory."""
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        feature = tf.io.FixedLenFeature([PIXELS], tf.float32)
        parsed = tf.io.parse_example(serialized, {"x": feature})
        x = tf.identity(parsed["x"], name="x")
        labels = v1.placeholder(tf.int64, [None])
        weights = v1.Variable(tf.zeros([PIXELS, CLASSES]), name="weights", use_resource=False)
        bias = v1.Variable(tf.zeros([CLASSES]), name="bias", use_resource=False)
        logits = tf.matmul(x, weights) + bias
        y = tf.nn.softmax(logits, name="y")
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        step = v1.train.GradientDescentOptimizer(LEARNING_RATE).minimize(tf.reduce_mean(losses))
        session.run(v1.global_variables_initializer())
        random = np.random.default_rng(1)
        for _ in range(steps):
            batch = random.integers(0, len(digits.train_images), BATCH)
            session.run(step, {x: digits.train_images[batch], labels: digits.train_labels[batch]})
        export(session, signatures(serialized, x, y), directory)


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training_iteration", type=int, default=1000)
    parser.add_argument("--export_version", type=int, default=1)
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    target = arguments.directory / f"{arguments.export_version:08d}"
    print("Training model...")
    target.parent.mkdir(parents=True, exist_ok=True)
    train_and_export(load(), arguments.training_iteration, target)
    print("Exported", target)


if __name__ == "__main__":
    main()
