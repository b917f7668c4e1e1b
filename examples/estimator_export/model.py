"""A model with two heads over the same features, as an Estimator's `model_fn` would have it."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from estimator_export.iris import FEATURES, SPECIES, load

v1 = tf.compat.v1
utils = v1.saved_model.signature_def_utils

LEARNING_RATE = 0.1
STEPS = 200


def model_fn(features: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return scores of the species before softmax [n, 3], and the width of the petals [n]."""
    known, _, _ = load()
    columns = [(features[name] - known[name].mean()) / known[name].std() for name in FEATURES]
    flowers = tf.stack(columns, axis=1)
    weights = v1.get_variable("species/weights", [len(FEATURES), len(SPECIES)])
    bias = v1.get_variable("species/bias", initializer=tf.zeros([len(SPECIES)]))
    width_weights = v1.get_variable("width/weights", [len(FEATURES), 1])
    width_bias = v1.get_variable("width/bias", initializer=1.0)
    logits = tf.matmul(flowers, weights) + bias
    return logits, tf.squeeze(tf.matmul(flowers, width_weights), axis=1) + width_bias


def export_outputs(
    receiver: dict[str, tf.Tensor], logits: tf.Tensor, width: tf.Tensor
) -> dict[str, object]:
    """Return a signature for each head: same inputs, other outputs. The default one answers who names none.

    Classify and Regress send tf.Examples, so they need a receiver that parses them; Predict works with any.
    """
    scores = tf.nn.softmax(logits)
    names = tf.tile(tf.constant([SPECIES]), [tf.shape(scores)[0], 1])
    guess = tf.gather(tf.constant(SPECIES), tf.argmax(scores, axis=1))
    predict = utils.predict_signature_def(
        receiver, {"species": guess, "scores": scores, "petal_width": width}
    )
    if "examples" not in receiver:
        return {"serving_default": predict}
    examples = receiver["examples"]
    return {
        "serving_default": utils.classification_signature_def(examples, names, scores),
        "petal_width": utils.regression_signature_def(examples, width),
        "predict": predict,
    }


def train(model_dir: Path) -> float:
    """Train for some steps more, from the newest checkpoint on, and write the next; return the share of errors."""
    features, species, widths = load()
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(0)
        logits, width = model_fn({name: tf.constant(of) for name, of in features.items()})
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=species, logits=logits)
        ) + tf.reduce_mean(tf.square(width - widths))
        step = v1.train.GradientDescentOptimizer(LEARNING_RATE).minimize(loss)
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        if checkpoint := tf.train.latest_checkpoint(model_dir):
            saver.restore(session, checkpoint)
        for _ in range(STEPS):
            session.run(step)
        saver.save(session, str(model_dir / "model.ckpt"))
        return float(np.mean(np.argmax(session.run(logits), axis=1) != species))
