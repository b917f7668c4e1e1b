"""The same two heads today: a Keras model, and an ExportArchive with an endpoint for each signature."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from estimator_export.iris import FEATURES, SPECIES, load
from estimator_export.receivers import FEATURE_SPEC

EPOCHS = 120


def train_and_export(directory: Path) -> float:
    """Train, and write one version; return the share of errors."""
    features, species, widths = load()
    tf.keras.utils.set_random_seed(0)
    flowers = np.stack([features[name] for name in FEATURES], axis=1)
    inputs = tf.keras.Input([len(FEATURES)])
    scaled = tf.keras.layers.Normalization()
    scaled.adapt(flowers)
    hidden = tf.keras.layers.Dense(16, activation="relu")(scaled(inputs))
    scores = tf.keras.layers.Dense(len(SPECIES), activation="softmax", name="species")(hidden)
    width = tf.keras.layers.Dense(1, name="width")(hidden)
    model = tf.keras.Model(inputs, [scores, width])
    model.compile(optimizer="adam", loss=["sparse_categorical_crossentropy", "mse"])
    model.fit(flowers, [species, widths], epochs=EPOCHS, batch_size=10, verbose=0)

    def heads(examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(examples, FEATURE_SPEC)
        return model(tf.stack([parsed[name] for name in FEATURES], axis=1))

    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, _ = heads(inputs)
        return {"classes": tf.tile([SPECIES], [tf.shape(scores)[0], 1]), "scores": scores}

    def regress(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": heads(inputs)[1]}

    serialized = tf.TensorSpec([None], tf.string, name="inputs")
    archive = tf.keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", classify, input_signature=[serialized])
    archive.add_endpoint("petal_width", regress, input_signature=[serialized])
    archive.write_out(str(directory), verbose=False)
    return float(np.mean(np.argmax(model.predict(flowers, verbose=0)[0], axis=1) != species))
