"""Train a softmax classifier on handwritten digits and export it as a numbered SavedModel.

    PYTHONPATH=examples python -m digits.train --steps 100 --version 1 /tmp/digits

The digits are scikit-learn's bundled 1 797 images of 8×8 pixels: 797 to train, 1 000 to test.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

TEST_IMAGES = 1000
PIXELS = 64
CLASSES = 10
LEARNING_RATE = 0.02
BATCH = 50


class Digits(NamedTuple):
    """Images as float32 [n, 64] in [0, 1], labels as int64 [n]."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load() -> Digits:
    """The digits, always split in the same way."""
    digits = load_digits()
    images = (digits.data / 16.0).astype(np.float32)
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return Digits(
        images[TEST_IMAGES:], labels[TEST_IMAGES:], images[:TEST_IMAGES], labels[:TEST_IMAGES]
    )


class Classifier(tf.Module):
    """Softmax regression: one weight for each pixel and class."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.zeros([PIXELS, CLASSES]), name="weights")
        self.bias = tf.Variable(tf.zeros([CLASSES]), name="bias")

    @tf.function(input_signature=[tf.TensorSpec([None, PIXELS], tf.float32, name="images")])
    def predict(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores [n, 10] that sum to 1, and the digit [n] with the highest one."""
        scores = tf.nn.softmax(images @ self.weights + self.bias)
        return {"scores": scores, "digit": tf.argmax(scores, axis=1)}

    @tf.function
    def step(self, images: tf.Tensor, labels: tf.Tensor) -> None:
        """One step of gradient descent on a batch."""
        with tf.GradientTape() as tape:
            logits = images @ self.weights + self.bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        variables = [self.weights, self.bias]
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(LEARNING_RATE * gradient)


def train(digits: Digits, steps: int) -> Classifier:
    """Train from nothing for so many steps; the same steps give the same weights."""
    classifier = Classifier()
    random = np.random.default_rng(1)
    for _ in range(steps):
        batch = random.integers(0, len(digits.train_images), BATCH)
        classifier.step(
            tf.constant(digits.train_images[batch]), tf.constant(digits.train_labels[batch])
        )
    return classifier


def export(classifier: Classifier, directory: Path) -> None:
    """Write a SavedModel whose serving_default signature takes images."""
    signatures = {"serving_default": classifier.predict}
    tf.saved_model.save(classifier, str(directory), signatures=signatures)


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("directory", type=Path, help="gets the version as a numbered folder")
    arguments = parser.parse_args()
    digits = load()
    classifier = train(digits, arguments.steps)
    target = arguments.directory / str(arguments.version)
    export(classifier, target)
    answers = classifier.predict(tf.constant(digits.test_images))["digit"].numpy()
    wrong = float(np.mean(answers != digits.test_labels))
    print(f"{target}: {arguments.steps} steps, {wrong:.1%} of the test images wrong")


if __name__ == "__main__":
    main()
