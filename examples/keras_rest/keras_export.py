"""Train and export Keras models for TensorFlow Serving's REST API: a Sequential one, and a class of one's own.

python -m keras_rest.keras_export --model=sequential /tmp/saved/1
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

import handwritten_digits
from handwritten_digits import CLASSES, PIXELS, SIDE, Digits

EPOCHS = 20
HIDDEN = 100
IMAGE = tf.TensorSpec([None, SIDE, SIDE, 1], tf.float32)


class MLP(tf.keras.Model):
    """Two dense layers, as a class."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = tf.keras.layers.Flatten()
        self.dense1 = tf.keras.layers.Dense(HIDDEN, activation="relu")
        self.dense2 = tf.keras.layers.Dense(CLASSES)
        # Keras 3 makes a layer's variables when it is first called: too late for a tf.function, which would neither
        # train them nor save them.
        self.dense1.build([None, PIXELS])
        self.dense2.build([None, HIDDEN])

    @tf.function(input_signature=[IMAGE])
    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Scores [n, 10] that sum to 1."""
        return tf.nn.softmax(self.dense2(self.dense1(self.flatten(inputs))))


def sequential() -> tf.keras.Model:
    """The same two layers, in a row."""
    return tf.keras.Sequential(
        [
            tf.keras.Input([SIDE, SIDE, 1]),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(HIDDEN, activation="relu"),
            tf.keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def train(model: tf.keras.Model, digits: Digits, epochs: int) -> None:
    """Fit a model to the training images, and print how often it is wrong about the others."""
    images = digits.train_images.reshape(-1, SIDE, SIDE, 1)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(images, digits.train_labels, epochs=epochs, verbose=0)
    scores = model.predict(digits.test_images.reshape(-1, SIDE, SIDE, 1), verbose=0)
    wrong = float(np.mean(np.argmax(scores, axis=1) != digits.test_labels))
    print(f"{epochs} epochs, {wrong:.1%} of the test images wrong")


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("sequential", "class"), default="sequential")
    parser.add_argument("--export", choices=("export", "save"), default="export")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    handwritten_digits.add_arguments(parser)
    parser.add_argument("directory", type=Path, help="the version's folder, such as /tmp/saved/1")
    arguments = parser.parse_args()
    tf.keras.utils.set_random_seed(0)
    model = MLP() if arguments.model == "class" else sequential()
    train(model, handwritten_digits.load(arguments.data, arguments.work_dir), arguments.epochs)
    directory = str(arguments.directory)
    if arguments.export == "export":
        model.export(directory, verbose=False)
    elif arguments.model == "class":
        tf.saved_model.save(model, directory, signatures={"call": model.call})
    else:
        tf.saved_model.save(model, directory)
    print("Exported", directory)


if __name__ == "__main__":
    main()
