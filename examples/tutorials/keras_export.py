"""Export two Keras models: a Sequential one, and a class of one's own with a signature named `call`.

python -m tutorials.keras_export DIRECTORY
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

from digits.train import load

EPOCHS = 20
SIDE = 8


def sequential() -> tf.keras.Model:
    """Layers in a row."""
    return tf.keras.Sequential(
        [
            tf.keras.Input([SIDE, SIDE, 1]),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(100, activation="relu"),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )


class MLP(tf.keras.Model):
    """The same as a class."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = tf.keras.layers.Flatten()
        self.hidden = tf.keras.layers.Dense(100, activation="relu")
        self.scores = tf.keras.layers.Dense(10, activation="softmax")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Scores [n, 10]."""
        return self.scores(self.hidden(self.flatten(inputs)))


def trained(model: tf.keras.Model) -> tf.keras.Model:
    """Fit a model to the training images."""
    digits = load()
    images = digits.train_images.reshape(-1, SIDE, SIDE, 1)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    tf.keras.utils.set_random_seed(0)
    model.fit(images, digits.train_labels, epochs=EPOCHS, verbose=0)
    answers = np.argmax(model.predict(digits.test_images.reshape(-1, SIDE, SIDE, 1), verbose=0), 1)
    print(type(model).__name__, f"{np.mean(answers != digits.test_labels):.1%} wrong")
    return model


def main() -> None:
    """Train and export both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    trained(sequential()).export(arguments.directory / "saved" / "1", verbose=False)
    mlp = trained(MLP())
    archive = tf.keras.export.ExportArchive()
    archive.track(mlp)
    images = tf.TensorSpec([None, SIDE, SIDE, 1], tf.float32, name="inputs")
    archive.add_endpoint("call", mlp.call, input_signature=[images])
    archive.write_out(arguments.directory / "saved_with_signature" / "1", verbose=False)


if __name__ == "__main__":
    main()
