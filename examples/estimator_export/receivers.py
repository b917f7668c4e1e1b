"""Serving input receivers: what a request may look like, and how the model's features come out of it.

Each adds placeholders to the graph, which the server feeds, and returns them with the features.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from estimator_export.iris import FEATURES

v1 = tf.compat.v1

FEATURE_SPEC = {name: tf.io.FixedLenFeature([], tf.float32) for name in FEATURES}
"""What a tf.Example holds. Labels are not in it: nobody knows them when the model is asked."""


class ServingInputReceiver(NamedTuple):
    """Features [n] by name, and the placeholders that requests fill, by the names that requests give them."""

    features: dict[str, tf.Tensor]
    receiver_tensors: dict[str, tf.Tensor]


def parsing() -> ServingInputReceiver:
    """Serialized tf.Examples: what Classify and Regress send."""
    serialized = v1.placeholder(tf.string, [None], name="input_example_tensor")
    return ServingInputReceiver(
        tf.io.parse_example(serialized, FEATURE_SPEC), {"examples": serialized}
    )


def raw() -> ServingInputReceiver:
    """A tensor for each feature: what Predict sends; nothing is parsed."""
    features = {name: v1.placeholder(tf.float32, [None], name=name) for name in FEATURES}
    return ServingInputReceiver(features, features)


def csv() -> ServingInputReceiver:
    """Lines of text, passed through as they are and parsed in the graph: `5.1,3.5,1.4`."""
    lines = v1.placeholder(tf.string, [None], name="csv")
    columns = tf.io.decode_csv(lines, [[0.0]] * len(FEATURES))
    return ServingInputReceiver(dict(zip(FEATURES, columns, strict=True)), {"csv": lines})


def json() -> ServingInputReceiver:
    """tf.Examples in JSON, likewise: `{"features": {"feature": {"sepal_length": {"floatList": …}}}}`."""
    lines = v1.placeholder(tf.string, [None], name="json")
    features = tf.io.parse_example(tf.io.decode_json_example(lines), FEATURE_SPEC)
    return ServingInputReceiver(features, {"json": lines})


RECEIVERS: dict[str, Callable[[], ServingInputReceiver]] = {
    "parsing": parsing,
    "raw": raw,
    "csv": csv,
    "json": json,
}
