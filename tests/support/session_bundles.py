"""Legacy SessionBundles, laid out as the exporter of TensorFlow 1 laid them out, made with the TensorFlow of today.

NNNNNNNN/checkpoint            a stray file of the saver's
         export.meta           MetaGraphDef with the bundle's collections
         export…               variables in one of three formats
         assets/
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from slipway_server.wire.session_bundle_pb2 import AssetFile, Signature, Signatures


class Format(Enum):
    """How variables are stored: (version of the format, in shards)."""

    V1 = (1, False)
    V1_SHARDS = (1, True)
    V2 = (2, False)
    V2_SHARDS = (2, True)


def regression(inputs: str, outputs: str) -> Signature:
    signature = Signature()
    signature.regression_signature.input.tensor_name = inputs
    signature.regression_signature.output.tensor_name = outputs
    return signature


def classification(inputs: str, classes: str = "", scores: str = "") -> Signature:
    signature = Signature()
    signature.classification_signature.input.tensor_name = inputs
    if classes:
        signature.classification_signature.classes.tensor_name = classes
    if scores:
        signature.classification_signature.scores.tensor_name = scores
    return signature


def generic(**tensors: str) -> Signature:
    signature = Signature()
    for alias, name in tensors.items():
        signature.generic_signature.map[alias].tensor_name = name
    return signature


def packed(message: Message) -> AnyMessage:
    box = AnyMessage()
    box.Pack(message)
    return box


def export_bundle(
    base: Path,
    version: int,
    build: Callable[[Any], Mapping[str, Any]],
    *,
    default: Signature | None = None,
    named: Mapping[str, Signature] | None = None,
    variables: Format = Format.V1_SHARDS,
    serving_graph: bool = False,
) -> Path:
    """Write a bundle.

    Args:
        build: gets `tf.compat.v1`, builds the graph and returns what belongs to the export: optionally `init_op` (an
            operation) and `assets` (file → constant tensor with its path).
        serving_graph: put the graph into its collection, without devices, as `clear_devices` did.
    """
    import tensorflow.compat.v1 as tf

    target = base / f"{version:08d}"
    unfinished = base / f"{version:08d}-tmp"
    unfinished.mkdir(parents=True)
    format_version, shards = variables.value
    # Shards come from devices: a saver writes one for each.
    devices = tf.ConfigProto(device_count={"CPU": 2})
    with tf.Graph().as_default() as graph, tf.Session(graph=graph, config=devices) as session:
        parts = build(tf)
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        saver = tf.train.Saver(sharded=shards, write_version=format_version)
        if serving_graph:
            definition = graph.as_graph_def()
            for node in definition.node:
                node.device = ""
            tf.add_to_collection("serving_graph", packed(definition))
        if "init_op" in parts:
            tf.add_to_collection("serving_init_op", parts["init_op"])
        signatures = Signatures(named_signatures=named or {})
        if default is not None:
            signatures.default_signature.CopyFrom(default)
        tf.add_to_collection("serving_signatures", packed(signatures))
        for path, tensor in parts.get("assets", {}).items():
            asset = AssetFile(filename=path.name)
            asset.tensor_binding.tensor_name = tensor.name
            tf.add_to_collection("serving_assets", packed(asset))
            (unfinished / "assets").mkdir(exist_ok=True)
            shutil.copy(path, unfinished / "assets" / path.name)
            path.unlink()  # what is served must come from the export
        saver.save(session, str(unfinished / "export"), meta_graph_suffix="meta")
    unfinished.rename(target)
    return target


HALF_PLUS_TWO = {
    "default": regression("tf_example:0", "y:0"),
    "named": {"inputs": generic(x="x:0"), "outputs": generic(y="y:0")},
}
"""The signatures of the classic example: what is regressed comes in examples, what is predicted in tensors."""


def half_plus_two(tf: Any, *, resource: bool = False) -> Mapping[str, Any]:
    """Build `y = x / 2 + 2` over examples with a feature x, a vector of one."""
    with tf.device("/cpu:0"):
        half = tf.get_variable("a", initializer=0.5, use_resource=resource)
    with tf.device("/cpu:1"):
        two = tf.get_variable("b", initializer=2.0, use_resource=resource)
    serialized = tf.placeholder(tf.string, [None], name="tf_example")
    features = tf.parse_example(serialized, {"x": tf.FixedLenFeature([1], tf.float32)})
    x = tf.identity(features["x"], name="x")
    tf.add(tf.multiply(half, x), two, name="y")
    return {}


def save_half_plus_two(base: Path, version: int, variables: Format) -> Path:
    """Write the classic example."""
    return export_bundle(
        base,
        version,
        half_plus_two,
        default=HALF_PLUS_TWO["default"],  # type: ignore[arg-type]
        named=HALF_PLUS_TWO["named"],  # type: ignore[arg-type]
        variables=variables,
        serving_graph=variables is Format.V1_SHARDS,
    )


def save_words_bundle(base: Path, words: Path) -> Path:
    """Write a bundle with a table that its init op fills from an asset; it classifies and predicts."""
    words.write_text("ape\nbee\n")

    def build(tf: Any) -> Mapping[str, Any]:
        tf.get_variable("unused", initializer=1.0, use_resource=False)
        asset = tf.constant(str(words), name="words")
        table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                asset,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            -1,
        )
        serialized = tf.placeholder(tf.string, [None], name="tf_example")
        features = tf.parse_example(serialized, {"word": tf.FixedLenFeature([1], tf.string)})
        word = tf.identity(features["word"], name="word")
        found = tf.identity(table.lookup(word), name="id")
        tf.identity(word, name="classes")
        tf.cast(found, tf.float32, name="scores")
        return {"init_op": tf.tables_initializer("make_tables"), "assets": {words: asset}}

    return export_bundle(
        base,
        7,
        build,
        default=classification("tf_example:0", "classes:0", "scores:0"),
        named={
            "inputs": generic(word="word:0"),
            "outputs": generic(id="id:0"),
            "scores_only": classification("tf_example:0", scores="scores:0"),
            "stray": generic(word="word:0"),
        },
        variables=Format.V2,
    )
